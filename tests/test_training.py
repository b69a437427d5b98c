"""Training: the gradient it follows, its history, and resuming bit for bit."""

import contextlib
import json
import math
import signal
import subprocess
import sys
import warnings
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.argon import ARGON, generate_data
from enn_lib.fire import FIRE
from enn_lib.storage import load_state, load_tensors, read_csv
from enn_lib.training import (
    HISTORY_COLUMNS,
    Config,
    Trainer,
    compile_if_possible,
    logged_iterations,
    train,
)

OPTIMISERS = ("fire", "adam", "muon", "soap")
every_optimiser = pytest.mark.parametrize("optimiser", OPTIMISERS)


def configure(config, optimiser):
    """`config` with another optimiser; SOAP only where its package is."""
    if optimiser == "soap":
        pytest.importorskip("pytorch_optimizer")
    return replace(config, optimiser=optimiser, batch_size=None if optimiser == "fire" else config.batch_size)


def make_trainer(config):
    return Trainer(config, generate_data(config.n_configurations, config.data_seed))


def weights(folder):
    return load_tensors(folder / "model.safetensors")[0]


def assert_same_weights(folder, other):
    one, two = weights(folder), weights(other)
    assert one.keys() == two.keys()
    assert all(one[name].equal(two[name]) for name in one)


def assert_same_history(folder, other):
    """But for the seconds."""
    one, two = (read_csv(f / "history.csv") for f in (folder, other))
    assert {k: v for k, v in one.items() if k != "seconds"} == {
        k: v for k, v in two.items() if k != "seconds"
    }


# The loss and its gradient


@pytest.mark.parametrize(("loss", "divisor"), [("mean", 120 * 12), ("sum", 120)])
def test_the_loss_is_equation_43_written_out(small_config, loss, divisor):
    """The squared error over configurations and components, of the two readings of Eq. 43."""
    trainer = make_trainer(replace(small_config, batch_size=None, relabel=False, loss=loss))
    data = generate_data(200)
    total = 0.0
    for r, f in zip(data.train.positions, data.train.forces, strict=True):
        x = torch.stack([(r[j] - r[i]) for i in range(4) for j in range(i + 1, 4)], dim=1)
        predicted = trainer.network((x / data.scales.position).float())
        total += (predicted - (f.T / data.scales.force).float()).square().sum().item()
    assert trainer.step() == pytest.approx(total / divisor, rel=1e-5)


@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_a_batch_in_chunks_has_the_gradient_of_the_whole(small_config, loss):
    config = replace(small_config, batch_size=None, dtype="float64", loss=loss)
    whole, chunked = (make_trainer(replace(config, chunk_size=c)) for c in (120, 7))
    assert whole.step() == pytest.approx(chunked.step(), rel=1e-12)
    for p, q in zip(whole.network.parameters(), chunked.network.parameters(), strict=True):
        assert p.grad.abs().max() > 0
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-11, atol=1e-14)


def test_the_compiled_gradient_is_the_eager_one(small_config):
    """To rounding. The smallest network with a hidden layer, because compiling takes longest of all tests."""
    config = replace(small_config, widths=(6, 2, 4), relabel=False)
    eager = make_trainer(config)
    with warnings.catch_warnings():
        # What torch's compiler warns of inside itself is not ours to mend; that it fell back would be.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*without torch.compile")
        compiled = make_trainer(replace(config, compile=True))
        loss = compiled.step()
    assert loss == pytest.approx(eager.step(), rel=1e-5)
    for p, q in zip(eager.network.parameters(), compiled.network.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-4, atol=1e-6)


def test_without_a_compiler_training_warns_and_works(small_config, tmp_path, small_run, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler no-such-compiler .*: training without"):
        train(replace(small_config, compile=True), tmp_path / "run")
    assert_same_weights(tmp_path / "run", small_run)


def test_a_function_that_shall_not_be_compiled_is_left_alone():
    assert compile_if_possible(math.sin, wanted=False) is math.sin


# Batches


def test_an_epoch_sees_every_configuration_once(small_config):
    trainer = make_trainer(replace(small_config, batch_size=30, relabel=False))
    data = generate_data(200)
    everything = data.train.inputs(data.scales).flatten(1).tolist()
    orders = []
    for _ in range(2):
        seen = []
        for _ in range(trainer.batches_per_epoch):
            seen += trainer._batch()[0].flatten(1).tolist()
            trainer.iteration += 1
        assert sorted(seen) == sorted(everything)
        orders.append(seen)
    assert orders[0] != everything, "not shuffled"
    assert orders[0] != orders[1], "not shuffled anew"


def test_relabelled_batches_are_still_true_forces(small_config):
    trainer = make_trainer(replace(small_config, dtype="float64"))
    scales = generate_data(200).scales
    for _ in range(5):
        inputs, targets = trainer._batch()
        trainer.iteration += 1
        # The first three relative vectors are the positions seen from atom 1.
        positions = torch.cat([torch.zeros(50, 3, 1), inputs[..., :3] * scales.position], dim=-1).mT
        torch.testing.assert_close(ARGON.forces(positions.double()), targets.mT * scales.force)


def test_relabelling_changes_the_batches_and_without_it_they_are_the_data(small_config):
    config = replace(small_config, batch_size=None, relabel=False)
    plain = make_trainer(config)._batch()[0]
    relabelled = [make_trainer(replace(config, relabel=True, seed=seed))._batch()[0] for seed in range(3)]
    data = generate_data(200)
    assert plain.equal(data.train.inputs(data.scales))
    assert not all(batch.equal(plain) for batch in relabelled)


def test_fewer_configurations_are_the_first_ones(small_config):
    few = make_trainer(replace(small_config, n_train=10, batch_size=None, relabel=False))
    data = generate_data(200)
    assert few._batch()[0].equal(data.train.inputs(data.scales)[:10])


def test_configurations_are_drawn_by_a_power_of_their_largest_distance(small_config):
    trainer = make_trainer(
        replace(small_config, n_train=20, batch_size=20, relabel=False, sampling_power=4.0)
    )
    data = generate_data(200)
    chances = torch.cdist(*2 * [data.train.positions[:20]]).amax(dim=(-1, -2)) ** -4
    inputs = data.train.inputs(data.scales)[:20].flatten(1)
    counts = torch.zeros(20)
    for _ in range(1000):
        drawn = trainer._batch()[0].flatten(1)
        counts += (drawn.unsqueeze(1) == inputs).all(dim=-1).sum(dim=0)
        trainer.iteration += 1
    assert counts.sum() == 20_000
    expected = 20_000 * chances / chances.sum()
    assert (expected.max() / expected.min()) > 5
    # Poisson's standard deviation, five times
    assert ((counts - expected).abs() < 5 * expected.sqrt()).all()


def test_a_drawn_configuration_keeps_its_forces(small_config):
    data = generate_data(200)
    trainer = make_trainer(replace(small_config, relabel=False, sampling_power=4.0))
    inputs, targets = trainer._batch()
    which = (inputs.flatten(1).unsqueeze(1) == data.train.inputs(data.scales).flatten(1)).all(dim=-1)
    assert which.sum(dim=1).eq(1).all()
    assert targets.equal(data.train.targets(data.scales)[which.int().argmax(dim=1)])


# The optimisers and their rates


@every_optimiser
def test_training_with_every_optimiser_lowers_both_losses(small_config, optimiser, tmp_path):
    config = configure(replace(small_config, widths=(6, 20, 20, 4), iterations=60), optimiser)
    config = replace(config, softening=0.3, fire_dt=0.02, fire_dt_max=0.1)
    trainer = train(config, tmp_path / "run")
    history = read_csv(tmp_path / "run" / "history.csv")
    assert history["training_loss"][-1] < 0.9 * history["training_loss"][0]
    assert history["validation_loss"][-1] < history["validation_loss"][0]
    assert trainer.iteration == 60


def test_the_rate_falls_along_a_cosine_to_zero(small_config):
    trainer = make_trainer(replace(small_config, learning_rate=0.4, iterations=100))
    rates = []
    for trainer.iteration in (0, 25, 50, 75, 100):
        rates.append(trainer.learning_rate())
    expected = [0.2 * (1 + math.cos(math.pi * k / 4)) for k in range(5)]
    assert rates == pytest.approx(expected)


def test_a_constant_rate_stays(small_config):
    trainer = make_trainer(replace(small_config, learning_rate=0.4, schedule="constant"))
    trainer.iteration = 29
    assert trainer.learning_rate() == 0.4


def test_the_settings_of_fire_reach_it(small_config):
    config = configure(replace(small_config, fire_dt=0.002, fire_dt_max=0.03, fire_mass=0.4), "fire")
    optimiser = make_trainer(replace(config, fire_order="ase")).optimiser
    assert isinstance(optimiser, FIRE)
    group = optimiser.param_groups[0]
    assert (group["dt"], group["dt_max"], group["mass"], group["order"]) == (0.002, 0.03, 0.4, "ase")


def test_the_network_is_that_of_the_configuration(small_config):
    config = replace(small_config, a=0.7, softening=0.2, output_activation="softsign", dtype="float64")
    network = make_trainer(config).network
    assert (network.widths, network.n, network.dtype) == ((6, 5, 4), 3, torch.float64)
    assert (network.activation.a, network.output_activation.a) == (0.7, 0.7)
    assert {layer.softening for layer in network.layers} == {0.2}


def test_without_its_package_soap_is_refused(small_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(ValueError, match=r"optimiser: got 'soap', wanted its package, pip install"):
        make_trainer(replace(small_config, optimiser="soap"))


# What a run leaves behind


def test_a_finished_run_has_three_files_and_no_checkpoint(small_run):
    names = {p.name for p in small_run.iterdir()}
    assert names == {"config.json", "history.csv", "model.safetensors"}


def test_the_configuration_on_disk_is_the_one_given_with_its_provenance(small_run, small_config):
    values = json.loads((small_run / "config.json").read_text())
    assert Config.from_dict(values) == small_config
    assert values["provenance"].keys() == {"versions", "hardware", "git_commit"}
    assert values["provenance"]["versions"]["torch"] == torch.__version__


def test_the_history_counts_iterations_epochs_and_gradient_evaluations(small_run):
    history = read_csv(small_run / "history.csv")
    assert tuple(history) == HISTORY_COLUMNS
    assert history["iteration"][0] == 0
    assert history["iteration"][-1] == 30
    assert history["iteration"] == sorted(set(history["iteration"]))
    assert history["gradient_evaluations"] == [50 * k for k in history["iteration"]]
    assert history["epoch"] == pytest.approx([50 / 120 * k for k in history["iteration"]])
    assert history["seconds"] == sorted(history["seconds"])


def test_the_last_losses_are_those_of_the_stored_weights(small_run, small_config):
    trainer = make_trainer(small_config)
    trainer.network.load_state_dict(weights(small_run))
    data, history = generate_data(200), read_csv(small_run / "history.csv")
    for name, part in (("training_loss", data.train), ("validation_loss", data.validation)):
        error = trainer.network(part.inputs(data.scales)) - part.targets(data.scales)
        assert history[name][-1] == pytest.approx(error.square().mean().item(), rel=1e-5)


def test_the_same_configuration_gives_the_same_run_and_another_seed_another(
    small_config, small_run, tmp_path
):
    train(small_config, tmp_path / "again")
    assert_same_weights(tmp_path / "again", small_run)
    assert_same_history(tmp_path / "again", small_run)
    train(replace(small_config, seed=1), tmp_path / "other")
    assert not weights(tmp_path / "other")["layers.0.stacked"].equal(weights(small_run)["layers.0.stacked"])


@given(iterations=st.integers(1, 10**7), per_decade=st.integers(1, 30))
def test_the_history_has_the_start_the_end_and_some_lines_a_decade(iterations, per_decade):
    logged = logged_iterations(iterations, per_decade)
    assert {0, 1, iterations} <= logged
    assert min(logged) == 0
    assert max(logged) == iterations
    decades = math.log10(max(iterations, 2))
    assert len(logged) <= per_decade * decades + 4
    for start in range(1, math.floor(math.log10(iterations))):
        inside = [k for k in logged if 10**start <= k < 10 ** (start + 1)]
        assert len(inside) >= min(per_decade, 9 * 10**start) / 2


# Resuming


@every_optimiser
def test_training_stopped_after_every_iteration_ends_bit_for_bit_where_one_never_stopped_does(
    small_config, optimiser, tmp_path
):
    config = configure(replace(small_config, iterations=8), optimiser)
    train(config, tmp_path / "straight")
    sessions = 1
    while train(config, tmp_path / "stopped", max_minutes=0).iteration < config.iterations:
        sessions += 1
    assert sessions == 8
    assert_same_weights(tmp_path / "stopped", tmp_path / "straight")


def test_stopped_training_with_drawn_batches_ends_bit_for_bit_where_one_never_stopped_does(
    small_config, tmp_path
):
    config = replace(small_config, iterations=8, sampling_power=6.0)
    train(config, tmp_path / "straight")
    while train(config, tmp_path / "stopped", max_minutes=0).iteration < config.iterations:
        pass
    assert_same_weights(tmp_path / "stopped", tmp_path / "straight")


def test_a_run_that_was_stopped_can_be_used_and_keeps_its_checkpoint(small_config, tmp_path):
    trainer = train(small_config, tmp_path / "run", max_minutes=0)
    history = read_csv(tmp_path / "run" / "history.csv")
    assert trainer.iteration == history["iteration"][-1] == 1
    assert (tmp_path / "run" / "checkpoint" / "state.safetensors").exists()
    assert weights(tmp_path / "run")["layers.0.stacked"].equal(trainer.network.layers[0].stacked)


def test_seconds_add_up_over_sessions(small_config, tmp_path):
    first = train(small_config, tmp_path / "run", max_minutes=0).seconds
    assert train(small_config, tmp_path / "run", max_minutes=0).seconds > first > 0


def test_metrics_of_weights_that_change_are_removed(small_config, tmp_path):
    train(small_config, tmp_path / "run", max_minutes=0)
    (tmp_path / "run" / "metrics.json").write_text("{}")
    train(small_config, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()


class Killed(BaseException):
    """What a test raises where a process would end."""


@pytest.mark.parametrize("writes", range(1, 20))
def test_killed_at_any_write_it_resumes_bit_for_bit(writes, small_config, small_run, tmp_path, monkeypatch):
    """Of the 16 files that a run of 30 iterations renames, each in turn is the one it dies before.

    As after a real kill, the half-written file stays where it is.
    """
    renames = 0
    rename = Path.replace

    def dying(self, target):
        nonlocal renames
        renames += 1
        if renames == writes:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        try:
            train(small_config, tmp_path / "run")
        except Killed:
            assert writes <= 16
        else:
            assert writes > 16
            return
    train(small_config, tmp_path / "run")
    assert_same_weights(tmp_path / "run", small_run)
    assert_same_history(tmp_path / "run", small_run)
    assert {p.name for p in (tmp_path / "run").iterdir()} == {p.name for p in small_run.iterdir()}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_killed_with_sigkill_resumes_bit_for_bit(small_config, tmp_path):
    """The real thing: another process, killed once its first checkpoint is there."""
    config = replace(small_config, iterations=1500, checkpoint_every=100)
    (tmp_path / "config.json").write_text(json.dumps(asdict(config)))
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    command = [sys.executable, "-m", "enn_lib", "train", "--config", "config.json", "--out", "killed"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while not (killed / "checkpoint" / "state.safetensors").exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
                break
        process.kill()
    assert process.returncode == -signal.SIGKILL, "it ended by itself"
    assert 0 < load_state(killed / "checkpoint" / "state.safetensors")["iteration"] < config.iterations

    train(config, killed)
    train(config, straight)
    assert_same_weights(killed, straight)
    assert_same_history(killed, straight)


# Refusals


def test_a_folder_with_another_configuration_is_refused_and_left_alone(small_config, tmp_path):
    train(small_config, tmp_path / "run", max_minutes=0)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    said = r"another configuration \(a: got 0\.2, the folder has 0\.1; seed: got 1, the folder has 0\)"
    with pytest.raises(ValueError, match=said):
        train(replace(small_config, seed=1, a=0.2), tmp_path / "run")
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_a_configuration_without_a_checkpoint_is_compared_too(small_config, tmp_path):
    """As a kill before the first checkpoint leaves it."""
    train(small_config, tmp_path / "run", max_minutes=0)
    for name in ("checkpoint/state.safetensors", "model.safetensors", "history.csv"):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(ValueError, match=r"another configuration \(seed: got 1, the folder has 0\)"):
        train(replace(small_config, seed=1), tmp_path / "run")


def test_a_foreign_folder_is_refused_and_left_alone(small_config, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match=r"got a folder that holds thesis\.tex, wanted a run or nothing"):
        train(small_config, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_finished_run_is_not_trained_again(small_config, small_run):
    with pytest.raises(ValueError, match="holds a finished run; wanted a new folder"):
        train(small_config, small_run)


def test_a_damaged_checkpoint_is_named(small_config, tmp_path):
    train(small_config, tmp_path / "run", max_minutes=0)
    path = tmp_path / "run" / "checkpoint" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"state\.safetensors: not a whole safetensors file"):
        train(small_config, tmp_path / "run")


def test_training_that_diverges_stops_and_leaves_the_last_checkpoint(
    small_config, small_run, tmp_path, monkeypatch
):
    """A rate gone wild at iteration 5; with a sane one the run goes on from before."""
    config = replace(small_config, checkpoint_every=1)
    rate = Trainer.learning_rate
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "learning_rate", lambda self: rate(self) if self.iteration < 5 else 1e30)
        with pytest.raises(FloatingPointError, match="not finite at iteration 6: training diverged"):
            train(config, tmp_path / "run")
    assert load_state(tmp_path / "run" / "checkpoint" / "state.safetensors")["iteration"] == 5
    train(config, tmp_path / "run")
    assert_same_weights(tmp_path / "run", small_run)


def test_divergence_is_noticed_between_two_lines_of_the_history_too(small_config, tmp_path, monkeypatch):
    """So that no checkpoint ever holds weights that are not finite."""
    config = replace(small_config, checkpoint_every=1, points_per_decade=1)
    rate = Trainer.learning_rate
    monkeypatch.setattr(Trainer, "learning_rate", lambda self: rate(self) if self.iteration < 3 else 1e30)
    with pytest.raises(FloatingPointError, match="not finite at iteration 5: training diverged"):
        train(config, tmp_path / "run")
    state = load_state(tmp_path / "run" / "checkpoint" / "state.safetensors")
    assert state["iteration"] == 4
    assert all(value.isfinite().all() for value in state["network"].values())


def test_an_unknown_key_is_named_and_the_known_ones_are_listed():
    with pytest.raises(ValueError, match=r"config: got unknown key rate; wanted some of .* learning_rate"):
        Config.from_dict({"rate": 0.1})


def test_a_configuration_survives_json(small_config):
    assert Config.from_dict(json.loads(json.dumps(asdict(small_config)))) == small_config


@pytest.mark.parametrize("name", [f.name for f in fields(Config)])
def test_a_value_of_a_wrong_kind_is_named(name):
    with pytest.raises(ValueError, match=rf"^{name}: got \{{'a': 1\}}, wanted "):
        Config.from_dict({name: {"a": 1}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimiser": "sgd"}, "optimiser: got 'sgd', wanted one of fire, adam, muon, soap"),
        ({"dtype": "float16"}, "dtype: got 'float16', wanted one of float32, float64"),
        ({"iterations": 0}, "iterations: got 0, wanted a whole number of at least 1"),
        ({"iterations": 10.5}, r"iterations: got 10\.5, wanted a whole number"),
        ({"iterations": True}, "iterations: got True, wanted a whole number"),
        ({"compile": 1}, "compile: got 1, wanted true or false"),
        ({"a": "0.1"}, r"a: got '0\.1', wanted a finite number"),
        ({"learning_rate": float("nan")}, "learning_rate: got nan, wanted a finite number"),
        ({"batch_size": "all"}, "batch_size: got 'all', wanted a whole number or null"),
        ({"widths": [6]}, r"widths: got \(6,\), wanted 6 relative vectors in and 4 forces out"),
        ({"widths": [6, 5, 3]}, r"widths: got \(6, 5, 3\), wanted 6 relative vectors in and 4 forces out"),
        ({"widths": [6, 2.5, 4]}, r"widths: got \(6, 2\.5, 4\), wanted a list of whole numbers"),
        ({"optimiser": "fire"}, "batch_size: got 500, wanted null with FIRE"),
        (
            {"batch_size": None, "sampling_power": 4.0},
            "sampling_power: got 4, wanted 0 with the whole batch, all of it",
        ),
    ],
)
def test_a_value_that_is_not_allowed_is_named(values, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Config.from_dict(values)


def test_null_is_allowed_where_it_means_all():
    config = Config.from_dict({"batch_size": None, "n_train": None})
    assert (config.batch_size, config.n_train) == (None, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_train": 121}, "n_train: got 121, wanted 1 to 120"),
        ({"n_train": 0}, "n_train: got 0, wanted 1 to 120"),
        ({"batch_size": 121}, "batch_size: got 121, wanted 1 to n_train = 120"),
        ({"batch_size": 0}, "batch_size: got 0, wanted 1 to n_train = 120"),
        ({"widths": (6, 0, 4)}, "in_vectors, out_vectors: got 6, 0, wanted positive numbers"),
        ({"softening": -1.0}, r"softening: got -1\.0, wanted a length of at least 0"),
    ],
)
def test_a_setting_that_does_not_fit_the_data_is_named(small_config, values, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(replace(small_config, **values))
