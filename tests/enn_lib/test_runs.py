"""A run on disk: loaded whole or refused with a reason; the shipped ones hold what they claim."""

import json
import shutil
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import enn_lib
from enn_lib.argon import Configurations, generate_data, sample_positions, smallest_distance
from enn_lib.evaluation import dynamics_errors, force_errors, predict
from enn_lib.permutation import PermutationAverage
from enn_lib.runs import SHIPPED, load_run, shipped_runs
from enn_lib.storage import load_tensors, save_tensors
from enn_lib.training import HISTORY_COLUMNS, train


@pytest.fixture
def run_folder(small_run, tmp_path):
    """A copy of the small run, to be damaged."""
    return Path(shutil.copytree(small_run, tmp_path / "copy"))


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


# Loading


def test_a_run_in_the_present_folder_has_its_name(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)
    assert load_run(".").name == run_folder.name


def test_the_force_field_of_a_run_is_that_of_its_network_as_it_is_now(run_folder):
    run, positions = load_run(run_folder), sample_positions(2, seed=0)
    before = run.force_field.forces(positions)
    with torch.no_grad():
        run.network.layers[-1].stacked.mul_(2)
    torch.testing.assert_close(run.force_field.forces(positions), 2 * before, rtol=1e-5, atol=1e-7)


def test_a_run_comes_back_as_it_was_trained(small_config, tmp_path):
    trainer = train(small_config, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.name == "run"
    assert run.config == small_config
    assert run.scales == trainer.scales == generate_data(200).scales
    assert run.history["iteration"][-1] == 30
    assert run.metrics == {}
    assert run.provenance["versions"]["torch"] == metadata.version("torch")
    torch.testing.assert_close(run.network.state_dict(), trainer.network.state_dict(), rtol=0, atol=0)


def test_the_force_field_of_a_run_is_its_network_in_double_precision(small_run):
    run = load_run(small_run)
    positions = sample_positions(5, seed=0)
    assert run.network.dtype == torch.float32
    assert run.force_field.network.dtype == torch.float64
    x = torch.stack([positions[:, j] - positions[:, i] for i in range(4) for j in range(i + 1, 4)], dim=-1)
    expected = run.network((x / run.scales.position).float()).mT * run.scales.force
    torch.testing.assert_close(run.force_field.forces(positions).float(), expected)


@pytest.mark.parametrize("settings", [{"softening": 0.3}, {"output_activation": "softsign"}, {"a": 0.9}])
def test_settings_of_the_network_reach_the_force_field(settings, run_folder):
    """They are in the configuration alone, not among the weights."""
    positions = sample_positions(5, seed=0)
    before = load_run(run_folder).force_field.forces(positions)
    edit_config(run_folder, **settings)
    after = load_run(run_folder).force_field.forces(positions)
    assert (after - before).abs().max() > 1e-6


def test_a_path_may_be_a_string(small_run):
    assert load_run(str(small_run)).path == small_run


def test_a_configuration_of_one_s_own_has_no_provenance(run_folder):
    path = run_folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["provenance"]
    path.write_text(json.dumps(values), encoding="utf-8")
    assert load_run(run_folder).provenance == {}


def test_a_run_folder_in_the_present_folder_comes_before_a_shipped_run_of_its_name(
    small_run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reference").mkdir()
    assert load_run("reference").path == SHIPPED / "reference", "a folder that is no run is in nobody's way"
    shutil.copytree(small_run, tmp_path / "reference", dirs_exist_ok=True)
    assert load_run("reference").path == Path("reference")


def test_the_metrics_are_read_where_there_are_some(run_folder):
    (run_folder / "metrics.json").write_text('{"n_test": 40}', encoding="utf-8")
    assert load_run(run_folder).metrics == {"n_test": 40}


# Runs that other packages ship


@pytest.fixture
def provide(monkeypatch):
    """Stand in for the packages that are installed, each with the folders of its runs."""

    def stand_in(*packages):
        points = [SimpleNamespace(load=lambda folders=folders: lambda: folders) for folders in packages]
        monkeypatch.setattr(
            "enn_lib.runs.entry_points", lambda group: points if group == "enn_lib.runs" else []
        )

    return stand_in


def test_the_runs_of_every_package_that_names_an_entry_point_are_found(provide, small_run, tmp_path):
    theirs = [shutil.copytree(small_run, tmp_path / name) for name in ("amber", "basalt", "chalk")]
    provide(theirs[:2], theirs[2:])
    assert [load_run(folder.name).path for folder in theirs] == theirs
    assert shipped_runs() == ["amber", "basalt", "chalk", "reference", "softened"]
    with pytest.raises(FileNotFoundError) as caught:
        load_run("referense")
    assert str(caught.value) == (
        "run: got 'referense', wanted a run folder or one of amber, basalt, chalk, reference, softened"
    )


def test_a_run_of_this_package_wins_over_another_of_its_name(provide, small_run, tmp_path):
    provide([shutil.copytree(small_run, tmp_path / "reference")])
    assert load_run("reference").path == SHIPPED / "reference"


@pytest.mark.parametrize("name", [None, 5, b"reference", "a" * 300, "\0", ["reference"]], ids=repr)
def test_what_is_no_name_is_no_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^run: got ") as caught:
        load_run(name)
    assert str(caught.value).startswith(f"run: got {str(name)!r}, wanted a run folder or one of ")


def test_without_another_package_the_error_says_where_the_runs_of_the_book_are(provide):
    provide()
    assert shipped_runs() == ["reference", "softened"]
    with pytest.raises(FileNotFoundError) as caught:
        load_run("paper")
    assert str(caught.value) == (
        "run: got 'paper', wanted a run folder or one of reference, softened; "
        "the runs of the book come with the package enn_book"
    )


# The names of the package


def test_what_is_imported_later_is_there_and_what_is_not_is_named():
    assert enn_lib.load_run is load_run
    assert enn_lib.train is train
    with pytest.raises(AttributeError, match=r"^module 'enn_lib' has no attribute 'nothing'$"):
        _ = enn_lib.nothing


# Refusals


FILES = ["config.json", "history.csv", "model.safetensors"]


@pytest.mark.parametrize("names", [*([name] for name in FILES), FILES], ids=", ".join)
def test_missing_files_are_named(names, run_folder):
    for name in names:
        (run_folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"copy: not a run, {', '.join(names)} missing$"):
        load_run(run_folder)


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a JSON file"),
        (b"\xff", "not a JSON file"),
        (b"[1, 2]", "got a list, wanted a JSON object"),
    ],
)
def test_a_foreign_json_file_is_named(name, content, message, run_folder):
    (run_folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        load_run(run_folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_speed": 3}, "config: got unknown key learning_speed; wanted some of"),
        ({"widths": [6, 0, 4]}, r"widths\[1\]: got 0, wanted"),
        ({"widths": [6, 5, 5]}, r"widths: got \(6, 5, 5\), wanted"),
        ({"widths": "wide"}, "widths: got 'wide', wanted"),
    ],
)
def test_a_setting_that_is_none_is_named_with_its_file(changes, message, run_folder):
    edit_config(run_folder, **changes)
    with pytest.raises(ValueError, match=rf"config\.json: {message}"):
        load_run(run_folder)


@pytest.mark.parametrize("widths", [[6, 7, 4], [6, 5, 5, 4], [6, 4]])
def test_weights_that_do_not_fit_the_widths_are_refused(widths, run_folder):
    edit_config(run_folder, widths=widths)
    with pytest.raises(ValueError, match=r"model\.safetensors: does not fit config\.json \(widths \(6, "):
        load_run(run_folder)


def test_damaged_weights_are_refused(run_folder):
    path = run_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"model\.safetensors: not a whole safetensors file"):
        load_run(run_folder)


@pytest.mark.parametrize(
    "foreign",
    [
        {"tensors": {"encoder.weight": torch.ones(2)}},
        {"metadata": {}},
        {"metadata": {"position_scale": "4.5"}},
        {"metadata": {"position_scale": "x", "force_scale": "1"}},
    ],
    ids=["another model", "no scales", "one scale", "a scale that is no number"],
)
def test_the_weights_of_another_model_or_without_their_scales_are_refused(foreign, run_folder):
    path = run_folder / "model.safetensors"
    tensors, scales = load_tensors(path)
    save_tensors(path, **({"tensors": tensors, "metadata": scales} | foreign))
    with pytest.raises(ValueError, match=r"model\.safetensors: does not fit config\.json"):
        load_run(run_folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("iteration,loss\n0,1\n", r"got columns \('iteration', 'loss'\), wanted \('iteration', 'epoch', "),
        (",".join(HISTORY_COLUMNS) + "\n", "got no rows, wanted at least the start$"),
        ("iteration\nfirst\n", "not a table of numbers"),
    ],
)
def test_a_foreign_history_is_refused(content, message, run_folder):
    (run_folder / "history.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"history\.csv: {message}"):
        load_run(run_folder)


# The runs that ship, with this package and with those that are installed beside it

shipped = pytest.mark.parametrize("name", shipped_runs())


@shipped
def test_a_shipped_run_has_the_errors_that_its_metrics_claim(name):
    """From regenerated data, on all test and validation configurations.

    Both are computed in float64, so that only the order of sums may differ between machines.
    """
    run = load_run(name)
    data = generate_data(run.config.n_configurations, run.config.data_seed)
    assert asdict(run.scales) == pytest.approx(asdict(data.scales), rel=1e-12)
    assert run.metrics["n_test"] == len(data.test) == run.config.n_configurations // 5
    assert run.metrics["iteration"] == run.history["iteration"][-1]
    for part in ("test", "validation"):
        configurations = getattr(data, part)
        errors = force_errors(predict(run.force_field, configurations.positions), configurations)
        torch.testing.assert_close(errors, run.metrics[part]["network"], rtol=1e-8, atol=0)


@shipped
def test_a_shipped_run_has_the_errors_over_s4_that_its_metrics_claim(name):
    """The reference on all test configurations; the others on those with the smallest distances.

    Those rule the error of the whole, which must be the sum over all distances.
    """
    run = load_run(name)
    claimed = run.metrics["test"]["s4_average"]
    average = PermutationAverage(run.force_field)
    test = generate_data(run.config.n_configurations, run.config.data_seed).test
    if name == "reference":
        errors = force_errors(predict(average, test.positions), test)
        torch.testing.assert_close(errors, claimed, rtol=1e-8, atol=0)
        return
    bins = claimed["by_distance"]
    close = smallest_distance(test.positions) < bins[0]["to"]
    part = Configurations(test.positions[close], test.forces[close])
    errors = force_errors(predict(average, part.positions), part)
    torch.testing.assert_close(errors["by_distance"][0], bins[0], rtol=1e-8, atol=0)
    squares = sum(b["n"] * b["rmsd_component"] ** 2 for b in bins)
    assert (squares / len(test)) ** 0.5 == pytest.approx(claimed["rmsd_component"], rel=1e-8)
    assert claimed["rmsd_vector"] == pytest.approx(3**0.5 * claimed["rmsd_component"], rel=1e-8)


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "network") for name in shipped_runs()), ("reference", "s4_average")]
)
def test_a_shipped_run_moves_the_atoms_as_its_metrics_claim(name, kind):
    """After 1,500 steps: atoms that start 1e-12 Å elsewhere change both by 3e-12 of their size."""
    run = load_run(name)
    claimed = run.metrics["dynamics"][kind]
    assert claimed["steps"][0] == 1500
    field = run.force_field if kind == "network" else PermutationAverage(run.force_field)
    errors = dynamics_errors(field, steps=(1500,), n_samples=claimed["n_samples"], seed=claimed["seed"])
    for quantity in ("rmsd_positions", "rmsd_energy"):
        assert errors[quantity][0] == pytest.approx(claimed[quantity][0], rel=1e-6)


@shipped
def test_the_history_of_a_shipped_run_ends_where_its_weights_are(name):
    """The last validation loss, without unit, is the stored error in units."""
    run = load_run(name)
    loss = run.history["validation_loss"][-1]
    rmsd = run.metrics["validation"]["network"]["rmsd_component"]
    assert loss**0.5 * run.scales.force == pytest.approx(rmsd, rel=1e-3)


def test_the_reference_run_is_the_paper_s_network_and_reaches_its_error():
    """0.00118 eV/Å per component with unit vectors that are not softened, and less with S4 averaging.

    The test above holds the metrics to the weights.
    """
    run = load_run("reference")
    assert run.config.widths == (6, 50, 90, 100, 80, 50, 4)
    assert run.config.softening == 0
    assert run.config.n_configurations == 100_000
    assert run.config.n_train in (None, 60_000)
    test = run.metrics["test"]
    assert test["network"]["rmsd_component"] <= 0.00118
    assert test["s4_average"]["rmsd_component"] < test["network"]["rmsd_component"]


@pytest.mark.parametrize(
    ("name", "quantity", "bar"),
    [
        ("reference", "rmsd_component", 3.0e-4),
        ("reference", "rmsd_energy", 1.5e-4),
        ("reference", "rmsd_positions", 0.1),
        ("softened", "rmsd_component", 6e-5),
        ("softened", "rmsd_energy", 4e-5),
    ],
)
def test_a_run_keeps_what_the_book_promises_of_it(name, quantity, bar):
    """What the runs are shipped for, over S4: eV/Å on the test data, Å and eV after 4,000 steps of dynamics.

    The tests above hold the metrics to the weights.
    """
    metrics = load_run(name).metrics
    if quantity == "rmsd_component":
        assert metrics["test"]["s4_average"][quantity] <= bar
    else:
        dynamics = metrics["dynamics"]["s4_average"]
        assert dynamics[quantity][dynamics["steps"].index(4000)] <= bar
