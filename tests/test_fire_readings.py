"""The study of FIRE's readings: that it can be repeated, and that it shows what the book says of it."""

from dataclasses import asdict, replace
from itertools import pairwise

import pytest

from enn_lib.__main__ import main
from enn_lib.argon import generate_data
from enn_lib.fire_readings import (
    COLUMNS,
    DECISIVE,
    EVEN_RISE,
    ON_ALL,
    PRINTED,
    READINGS,
    RECOMMENDED,
    SHIPPED_ON_ALL,
    SHIPPED_STUDY,
    descend,
    largest_rise,
    load_study,
    reading,
    run_study,
)
from enn_lib.runs import load_run
from enn_lib.storage import read_csv
from enn_lib.training import Trainer

SMALL = {"n_configurations": 100, "iterations": 5, "compile": False}


@pytest.fixture(scope="module")
def study():
    return load_study()


# The shipped study


@pytest.mark.parametrize("name", ["printed", "semi-implicit", "soft-ase-sum"])
def test_the_first_rows_of_the_shipped_study_come_out_again(name, study):
    """As far as float32 goes: the shipped ones were compiled, these are not."""
    rows = descend(reading(name, 1, iterations=25, compile=False))
    for k, column in enumerate(COLUMNS):
        again = [row[k] for row in rows[:-1]]  # 25 itself is logged only because it is the last
        tolerance = 0.03 if column == "smallest_norm" else 1e-3
        assert study[name][1][column][: len(again)] == pytest.approx(again, rel=tolerance), column


def test_the_shipped_study_is_whole_and_small(study):
    assert list(study) == list(READINGS)
    assert all(set(study[name]) == ({0, 1, 2} if name in DECISIVE else {0}) for name in READINGS)
    assert sum(file.stat().st_size for file in SHIPPED_STUDY.iterdir()) < 1_000_000


def test_velocity_first_with_the_power_after_the_push_ends_far_below_the_printed_order(study):
    """In every seed, with the sum and with the mean, with the literal unit vectors."""
    for one, other in (("semi-implicit", "printed"), ("semi-implicit-sum", "sum")):
        for seed in range(3):
            ours, printed = (study[name][seed]["training_loss"][-1] for name in (one, other))
            assert ours < 0.1 * printed


def test_only_softened_unit_vectors_descend_evenly_and_far(study):
    even = {
        name
        for name, seeds in study.items()
        if all(
            largest_rise(h["training_loss"]) < 0.02 and h["training_loss"][-1] < 0.5 for h in seeds.values()
        )
    }
    assert "soft-0.3-ase" in even
    assert all(reading(name).softening > 0 for name in even)


def test_with_hard_unit_vectors_the_order_of_ase_is_caught_in_the_cusp(study):
    for seed in range(3):
        assert study["ase"][seed]["dt"][-1] < 1e-2 * PRINTED.fire_dt_max
        assert study["ase"][seed]["training_loss"][-1] > 0.5
        assert (
            study["ase"][seed]["smallest_norm"][-1] < 0.1 * study["semi-implicit"][seed]["smallest_norm"][-1]
        )


def test_the_two_runs_of_the_paper_s_protocol_begin_alike_and_go_apart():
    """They differ in rounding only: in the processor, the processes and the chunks."""
    run, again = load_run("paper"), load_run("paper-again")
    assert replace(run.config, chunk_size=again.config.chunk_size) == again.config
    losses, others = (
        dict(zip(r.history["iteration"], r.history["training_loss"], strict=True)) for r in (run, again)
    )
    assert all(losses[k] == pytest.approx(others[k], rel=1e-6) for k in losses if k <= 100)
    assert any(losses[k] < 0.6 * others[k] for k in losses.keys() & others.keys())
    assert any(others[k] < 0.5 * losses[k] for k in losses.keys() & others.keys())


@pytest.fixture(scope="module")
def on_all():
    return load_study(SHIPPED_ON_ALL)


def test_the_study_on_all_data_has_three_seeds_of_both_readings(on_all):
    assert list(on_all) == list(RECOMMENDED)
    for seeds in on_all.values():
        assert set(seeds) == {0, 1, 2}
        assert all(h["iteration"][-1] == ON_ALL["iterations"] for h in seeds.values())


def test_the_first_rows_on_all_data_come_out_again(on_all):
    changes = ON_ALL | {"iterations": 3, "compile": False}
    rows = descend(reading("soft-0.3-ase", 1, **changes))
    for k, column in enumerate(COLUMNS):
        tolerance = 0.03 if column == "smallest_norm" else 1e-3
        shipped = on_all["soft-0.3-ase"][1][column][: len(rows)]
        assert shipped == pytest.approx([row[k] for row in rows], rel=tolerance), column


def test_on_all_data_softened_unit_vectors_descend_evenly_and_further_from_every_seed(on_all):
    hard, soft = (on_all[name].values() for name in RECOMMENDED)
    assert all(largest_rise(h["training_loss"]) < EVEN_RISE for h in soft)
    assert any(largest_rise(h["training_loss"]) > EVEN_RISE for h in hard)
    assert max(h["training_loss"][-1] for h in soft) < min(h["training_loss"][-1] for h in hard)


def test_seed_0_on_all_data_begins_as_the_run_of_the_paper_s_protocol(on_all):
    history = load_run("paper").history
    losses = dict(zip(history["iteration"], history["training_loss"], strict=True))
    found = on_all["semi-implicit"][0]
    for done, loss in zip(found["iteration"], found["training_loss"], strict=True):
        if done <= 100 and done in losses:
            assert loss == pytest.approx(losses[done], rel=1e-5)


@pytest.mark.parametrize(("softening", "grows"), [(0.0, True), (0.3, False)])
def test_rounding_grows_with_hard_unit_vectors_only(softening, grows):
    changes = {"softening": softening, "n_configurations": 500, "iterations": 160, "compile": False}
    one, other = (descend(reading("semi-implicit", chunk_size=size, **changes))[-1][1] for size in (1000, 50))
    assert (abs(one / other - 1) > 1e-3) == grows
    assert one == pytest.approx(other, rel=1e-5) or grows


# The parts


def test_every_reading_is_another_one():
    settings = [tuple(sorted(map(str, asdict(reading(name)).items()))) for name in READINGS]
    assert len(set(settings)) == len(READINGS)
    assert reading("printed") == PRINTED


def test_a_seed_changes_network_and_data():
    assert (reading("sum", 2).seed, reading("sum", 2).data_seed) == (2, 2210)


def test_an_unknown_reading_is_refused():
    with pytest.raises(ValueError, match="name: got 'product', wanted one of printed, sum"):
        reading("product")


def test_another_optimiser_is_refused():
    with pytest.raises(ValueError, match=r"config.optimiser: got 'adam', wanted 'fire'"):
        descend(reading("printed", optimiser="adam", **SMALL))


def test_the_loss_of_a_history_is_the_mean_whatever_is_minimised():
    mean, total = (descend(reading(name, **SMALL))[0] for name in ("printed", "sum"))
    assert mean[1] == total[1]


def test_as_many_stops_are_counted_as_the_time_step_was_halved():
    config = reading("ase", n_configurations=50, iterations=60, compile=False, fire_dt_max=0.5)
    trainer = Trainer(config, generate_data(50, config.data_seed))
    steps = []
    for _ in range(60):
        trainer.step()
        steps.append(trainer.optimiser.param_groups[0]["dt"])
    halved = sum(after == 0.5 * before for before, after in pairwise([config.fire_dt, *steps]))
    assert descend(config)[-1][COLUMNS.index("stops")] == halved > 0


@pytest.mark.parametrize(
    ("losses", "rise"),
    [([1.0, 0.5, 0.6, 0.1, 0.11], 0.2), ([1.0, 0.5, 0.6, 0.75], 0.5), ([3.0, 2.0, 2.0], 0.0), ([1.0], 0.0)],
)
def test_the_largest_rise_is_above_the_lowest_row_before(losses, rise):
    assert largest_rise(losses) == pytest.approx(rise)


def test_a_study_goes_on_with_what_is_missing(tmp_path):
    run_study(tmp_path, ("printed",), **SMALL)
    (tmp_path / "printed.1.csv").unlink()
    (tmp_path / "printed.0.csv").write_text("kept")
    run_study(tmp_path, ("printed",), **SMALL)
    assert (tmp_path / "printed.0.csv").read_text() == "kept"
    assert tuple(read_csv(tmp_path / "printed.1.csv")) == COLUMNS


def test_a_folder_without_histories_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="got no histories, wanted files such as printed"):
        load_study(tmp_path)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("fire-study", "run_study"),
        ("fire-on-all", "run_on_all"),
        ("matched-cost", "run_costs"),
        ("choices", "run_choices"),
    ],
)
def test_the_command_runs_the_study_into_its_folder(command, name, tmp_path, monkeypatch):
    folders = []
    monkeypatch.setattr(f"enn_lib.__main__.{name}", folders.append)
    assert main([command, "--out", str(tmp_path)]) == 0
    assert folders == [tmp_path]
