"""The studies whose whole runs are kept: minutes, seeds and protocol."""

import shutil
from dataclasses import replace
from unittest.mock import Mock

import pytest

from enn_book.paper.claims import largest_rise
from enn_book.studies.minutes.study import STUDY as MINUTES
from enn_book.studies.study import load, module
from enn_lib import load_run
from enn_lib.runs import SHIPPED
from enn_lib.training import train

PAPER = 0.00118  # eV/Å


def component(record, kind="network"):
    return record["test"][kind]["rmsd_component"]


@pytest.fixture
def small(small_config, monkeypatch):
    """The study minutes with one training that takes no time."""
    config = replace(small_config, iterations=40, checkpoint_every=5)
    return replace(MINUTES, plan=lambda records, length: {"tiny": config})


def test_a_run_is_trained_measured_and_kept(small, tmp_path):
    records = small.repeat(tmp_path)
    assert records["tiny"]["iteration"] == 40
    assert records["tiny"].seconds > 0
    assert component(records["tiny"]) == component(load_run(tmp_path / "tiny").metrics)


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(small, tmp_path):
    (config,) = small.plan({}, None).values()
    assert train(config, tmp_path / "cut" / "tiny", max_minutes=0).iteration == 1
    cut, whole = (small.repeat(tmp_path / name)["tiny"].path for name in ("cut", "whole"))
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_run_that_was_killed_before_it_was_measured_is_measured(small, tmp_path):
    (config,) = small.plan({}, None).values()
    train(config, tmp_path / "tiny")
    assert small.repeat(tmp_path)["tiny"]["iteration"] == 40


@pytest.mark.parametrize("name", [*load("minutes"), *load("seeds"), *load("protocol")])
def test_a_run_that_a_study_keeps_is_found_by_its_name(name):
    assert load_run(name).name == name


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("long_run", lambda study: study.force_field("reference-s4")),
        ("seeds", lambda study: study.STUDY.plan({}, None)),
        ("tail", lambda study: study.run_tail(study.Tail("reference"))),
        ("velocities", lambda study: study.run_sets(study.Sets("reference"))),
    ],
)
def test_a_study_takes_the_shipped_run_wherever_it_is_repeated(name, use, small_run, tmp_path, monkeypatch):
    shutil.copytree(small_run, tmp_path / "reference")
    monkeypatch.chdir(tmp_path)
    load_run = Mock(side_effect=LookupError)
    monkeypatch.setattr(f"enn_book.studies.{name}.study.load_run", load_run)
    with pytest.raises(LookupError):
        use(module(name))
    assert load_run.call_args.args[0] == SHIPPED / "reference"


def test_the_verdict_on_minutes_holds():
    """Per component from all ten; per vector from the softened five, and from all ten over S4."""
    runs, strict = load("minutes"), PAPER / 3**0.5
    five, two = ([runs[n] for n in runs if n.startswith(kind)] for kind in ("five-minutes", "two-minutes"))
    assert all(strict < component(run) <= PAPER for run in five)
    assert all(component(run) <= strict for run in two)
    assert all(component(run, "s4_average") <= strict for run in runs.values())
    assert max(map(component, two)) / strict == pytest.approx(1 - 0.004, abs=5e-4)
    above = [run["validation"]["network"]["rmsd_component"] > strict for run in two]
    assert above == [False, False, False, True, False]


def test_the_motion_of_minutes_is_worse_than_that_of_the_reference():
    alone, over_s4 = (
        [run["dynamics"][kind]["rmsd_positions"][1] for run in load("minutes").values()]
        for kind in ("network", "s4_average")
    )
    assert (min(alone), max(alone)) == pytest.approx((0.44, 1.33), abs=5e-3)
    assert (min(over_s4), max(over_s4)) == pytest.approx((0.10, 0.51), abs=5e-3)
    reference = load_run("reference").metrics["dynamics"]["s4_average"]["rmsd_positions"][1]
    assert (min(over_s4) / reference, max(over_s4) / reference) == pytest.approx((1.5, 7.4), abs=0.05)


@pytest.mark.parametrize(
    ("kind", "optimiser", "seconds"),
    [("five-minutes", "muon", (204, 213, 253)), ("two-minutes", "soap", (83, 93, 113))],
)
def test_the_runs_of_minutes_are_of_two_cores_and_differ_in_seed_and_data(kind, optimiser, seconds):
    runs = [record for name, record in load("minutes").items() if name.startswith(kind)]
    from_seed = [(run.config["seed"], run.config["data_seed"]) for run in runs]
    assert from_seed == [(seed, 2208 + seed) for seed in range(5)]
    assert {run.config["optimiser"] for run in runs} == {optimiser}
    assert {(run["provenance"]["hardware"]["cores"], run["n_test"]) for run in runs} == {(2, 20_000)}
    assert len({run["provenance"]["hardware"]["processor"] for run in runs}) == 1
    taken = sorted(run.seconds for run in runs)
    assert (taken[0], taken[2], taken[4]) == pytest.approx(seconds, abs=0.5)
    assert max(record.table("history")["seconds"][1] for record in runs) < 6  # compiled before


def test_the_verdict_on_seeds_holds():
    records = load("seeds")
    for name, errors, moved in (
        ("reference", (1.9e-4, 1.8e-4), (0.069, 0.18)),
        ("softened", (4.4e-5, 5.3e-5), (0.012, 0.021)),
    ):
        two = (load_run(name).metrics, records[f"{name}-1"])
        assert [component(r, "s4_average") for r in two] == pytest.approx(errors, rel=0.03)
        ends = [r["dynamics"]["s4_average"]["rmsd_positions"][1] for r in two]
        assert ends == pytest.approx(moved, rel=0.04)
        assert 1.5 < ends[1] / ends[0] < 3
    assert records["softened-1"]["dynamics"]["s4_average"]["rmsd_energy"][1] <= 4e-5  # eV


def test_the_verdict_on_the_protocol_holds():
    records = load("protocol")
    paper, again, few = (records[name].table("history") for name in ("paper", "paper-again", "paper-600"))
    assert (paper["iteration"][-1], again["iteration"][-1], few["iteration"][-1]) == (27_202, 7514, 1e6)
    assert component(records["paper"]) / PAPER == pytest.approx(9, abs=0.2)
    assert paper["validation_loss"][-1] == min(paper["validation_loss"])
    assert few["training_loss"][-1] == pytest.approx(2.7e-8, rel=0.02)
    assert few["validation_loss"][-1] == pytest.approx(0.34, abs=5e-3)
    assert largest_rise(paper["training_loss"]) == pytest.approx(0.15, abs=5e-3)
    assert largest_rise(again["training_loss"]) < 0.01


@pytest.mark.parametrize("name", ["paper", "paper-again", "paper-600"])
def test_the_runs_of_fire_follow_the_paper_s_protocol(name):
    """FIRE on the whole batch, the printed settings but the velocity first, and no augmentation."""
    config = load_run(name).config
    assert (config.optimiser, config.fire_order, config.batch_size) == ("fire", "semi_implicit", None)
    assert (config.training_size, config.relabel) == (600 if name == "paper-600" else 60_000, False)
    assert (config.fire_dt, config.fire_dt_max, config.fire_mass) == (0.001, 0.01, 0.1)
    assert config.widths == (6, 50, 90, 100, 80, 50, 4)
