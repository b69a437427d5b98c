"""Training: the gradient it follows, its history, and resuming bit for bit."""

import contextlib
import itertools
import json
import math
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from enn_lib.argon import ARGON, generate_data
from enn_lib.distributed import Workers
from enn_lib.fire import FIRE
from enn_lib.settings import Config, _with_plain_errors, build_network
from enn_lib.storage import load_state, load_tensors, read_csv, save_state
from enn_lib.training import (
    HISTORY_COLUMNS,
    Trainer,
    _check_finite,
    _processor,
    compile_if_possible,
    logged_iterations,
    provenance,
    train,
)

OPTIMISERS = ("fire", "adam", "muon", "soap")


def configure(config, optimiser):
    """`config` with another optimiser; SOAP only where its package is."""
    if optimiser == "soap":
        pytest.importorskip("pytorch_optimizer")
    return replace(config, optimiser=optimiser, batch_size=None if optimiser == "fire" else config.batch_size)


def make_trainer(config, **changes):
    return Trainer(replace(config, **changes), generate_data(200))


def gradients(trainer):
    return [p.grad for p in trainer.network.parameters()]


def weights(folder):
    return load_tensors(folder / "model.safetensors")[0]


def assert_same_run(folder, other):
    """The same weights and the same history, but for the seconds, bit for bit."""
    histories = [read_csv(f / "history.csv") for f in (folder, other)]
    for history in histories:
        del history["seconds"]
    assert histories[0] == histories[1]
    torch.testing.assert_close(weights(folder), weights(other), rtol=0, atol=0)


@pytest.fixture(scope="module")
def data():
    """The data of `small_config`."""
    return generate_data(200)


@pytest.fixture
def folder(tmp_path):
    """Where a test trains, in a folder that is not there yet either."""
    return tmp_path / "runs" / "run"


@pytest.fixture
def stopped(small_config, folder):
    """The folder of a training of `small_config` that was stopped after one iteration."""
    train(small_config, folder, max_minutes=0)
    return folder


# The loss and its gradient


@pytest.mark.parametrize(("loss", "divisor"), [("mean", 120 * 12), ("sum", 120)])
def test_the_loss_is_equation_43_written_out(small_config, data, loss, divisor):
    """The squared error over configurations and components, of the two readings of Eq. 43."""
    trainer = make_trainer(small_config, batch_size=None, relabel=False, loss=loss)
    total = 0.0
    for r, f in zip(data.train.positions, data.train.forces, strict=True):
        x = torch.stack([(r[j] - r[i]) for i in range(4) for j in range(i + 1, 4)], dim=1)
        predicted = trainer.network((x / data.scales.position).float())
        total += (predicted - (f.T / data.scales.force).float()).square().sum().item()
    assert trainer.step() == pytest.approx(total / divisor, rel=1e-5)


@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_a_batch_in_chunks_has_the_gradient_of_the_whole(small_config, loss):
    config = replace(small_config, batch_size=None, dtype="float64", loss=loss)
    whole, chunked = (make_trainer(config, chunk_size=c) for c in (120, 7))
    assert whole.step() == pytest.approx(chunked.step(), rel=1e-12)
    assert all(gradient.abs().max() > 0 for gradient in gradients(whole))
    torch.testing.assert_close(gradients(chunked), gradients(whole), rtol=1e-11, atol=1e-14)


def test_the_compiled_gradient_is_the_eager_one(small_config):
    """To rounding. The smallest network with a hidden layer, because compiling takes longest of all tests."""
    config = replace(small_config, widths=(6, 2, 4), relabel=False)
    eager = make_trainer(config)
    with warnings.catch_warnings():
        # What torch's compiler warns of inside itself is not ours to mend; that it fell back would be.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*without torch.compile")
        compiled = make_trainer(config, compile=True)
        loss = compiled.step()
    assert loss == pytest.approx(eager.step(), rel=1e-5)
    torch.testing.assert_close(gradients(compiled), gradients(eager), rtol=1e-4, atol=1e-6)


def test_what_is_compiled_sees_one_size_of_batch(small_config, monkeypatch):
    """That of a step, here of the second of two processes; another would be compiled anew."""
    monkeypatch.setattr(Workers, "add_up", lambda self, tensors: None)
    trainer = Trainer(small_config, generate_data(200), Workers(1, 2))
    trainer._squared_error = Mock(wraps=trainer._squared_error)
    trainer.step()
    trainer.record()
    assert {len(call.args[0]) for call in trainer._squared_error.call_args_list} == {25}
    assert len(trainer._squared_error.call_args_list) == 1 + 60 // 25, "20 of validation are too few"


def test_what_is_compiled_is_for_the_device_of_the_process(small_config, monkeypatch):
    monkeypatch.setattr("enn_lib.training.compile_if_possible", compile := Mock())
    device = torch.device("meta")
    trainer = Trainer(replace(small_config, compile=True), generate_data(200), Workers(device=device))
    compile.assert_called_once_with(trainer._eager_squared_error, True, device)


def test_pieces_of_a_loss_are_added_up_in_double_precision(small_config):
    """Single precision would lose a 1 after 2^24."""
    trainer = make_trainer(small_config, chunk_size=1)
    trainer._squared_error = Mock(side_effect=map(torch.tensor, (2.0**24, 1.0, 1.0)))
    assert trainer.mean_squared_error(torch.zeros(3, 3, 6), torch.zeros(3, 3, 4)) == (2**24 + 2) / 36


def test_without_a_compiler_training_warns_and_works(small_config, folder, small_run, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler no-such-compiler .*: training without"):
        train(replace(small_config, compile=True), folder)
    assert_same_run(folder, small_run)


@pytest.mark.skipif(os.name != "posix", reason="the broken compiler is a script of a shell")
def test_with_a_broken_compiler_training_warns_and_works(
    small_config, folder, small_run, monkeypatch, tmp_path
):
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho broken >&2\nexit 1\n", encoding="utf-8")
    compiler.chmod(0o755)
    monkeypatch.setattr(
        "torch._inductor.config.cpp.cxx", (None, str(compiler))
    )  # read from CXX when imported
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    torch.compiler.reset()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # what torch's compiler warns of inside itself must not be an error
        train(replace(small_config, compile=True), folder)
    assert any("training without torch.compile" in str(warning.message) for warning in caught)
    assert_same_run(folder, small_run)


def test_a_function_that_shall_not_be_compiled_is_left_alone(monkeypatch):
    assert compile_if_possible(math.sin, wanted=False) is math.sin
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compile_if_possible(math.sin, wanted=False) is math.sin, "without a warning"


@pytest.mark.parametrize(
    ("system", "compiler"), [("linux", "g++"), ("darwin", "clang++"), ("win32", "cl"), ("freebsd14", "g++")]
)
def test_the_compiler_is_that_of_the_system(system, compiler, monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("enn_lib.training.sys.platform", system)
    said = f"no C++ compiler {compiler} or no Python.h: training without torch.compile"
    with pytest.warns(UserWarning, match=f"^{re.escape(said)}$") as caught:
        assert compile_if_possible(math.sin) is math.sin
    assert Path(caught[0].filename).name != "training.py", "the line is the caller's"


@pytest.mark.skipif(os.name != "posix", reason="what can be executed is known by its name")
def test_a_compiler_without_the_headers_of_python_is_not_enough(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr("sysconfig.get_path", {"include": str(tmp_path)}.__getitem__)
    with pytest.warns(UserWarning, match="or no Python.h: training without"):
        assert compile_if_possible(math.sin) is math.sin
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr("torch.compile", Mock())
    assert compile_if_possible(math.sin) is not math.sin


@pytest.mark.parametrize("module", ["torch._inductor.exc", "torch._dynamo.exc", "builtins"])
def test_only_what_the_compiler_itself_raises_is_worked_around(module, monkeypatch):
    """An error of the function stays one."""
    error = type("Broken", (Exception,), {"__module__": module})
    compiled = Mock(side_effect=error("\ncannot compile\n\nand more"))
    monkeypatch.setattr("torch.compile", compile := Mock(return_value=compiled))
    monkeypatch.setattr("enn_lib.training.find_spec", lambda name: name == "triton")
    call = compile_if_possible(math.sin, device=torch.device("cuda"))
    compile.assert_called_once_with(math.sin, dynamic=False)
    if module == "builtins":
        with pytest.raises(error):
            call(1.0)
        return
    with pytest.warns(UserWarning, match=r"^cannot compile: training without torch\.compile$") as caught:
        assert call(1.0) == math.sin(1.0)
    assert caught[0].filename == __file__, "the line is the caller's"
    assert call(2.0) == math.sin(2.0), "and now without a warning"
    assert compiled.call_count == 1


# Batches


def test_an_epoch_sees_every_configuration_once(small_config, data):
    trainer = make_trainer(small_config, batch_size=30, relabel=False)
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


def test_relabelled_batches_are_still_true_forces(small_config, data):
    trainer = make_trainer(small_config, dtype="float64")
    for _ in range(5):
        inputs, targets = trainer._batch()
        trainer.iteration += 1
        # The first three relative vectors are the positions seen from atom 1.
        positions = torch.cat([torch.zeros(50, 3, 1), inputs[..., :3] * data.scales.position], dim=-1).mT
        torch.testing.assert_close(ARGON.forces(positions.double()), targets.mT * data.scales.force)


def test_relabelling_changes_the_batches_and_without_it_they_are_the_data(small_config, data):
    config = replace(small_config, batch_size=None, relabel=False)
    plain = make_trainer(config)._batch()[0]
    relabelled = [make_trainer(config, relabel=True, seed=seed)._batch()[0] for seed in range(3)]
    assert plain.equal(data.train.inputs(data.scales))
    assert not all(batch.equal(plain) for batch in relabelled)


def test_fewer_configurations_are_the_first_ones(small_config, data):
    few = make_trainer(small_config, n_train=10, batch_size=None, relabel=False)
    assert few._batch()[0].equal(data.train.inputs(data.scales)[:10])


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_share_of_a_batch_is_drawn_by_a_power_of_the_largest_distance(small_config, data, share):
    settings = {"relabel": False, "sampling_power": 4.0, "sampling_share": share}
    trainer = make_trainer(small_config, n_train=20, batch_size=20, **settings)
    chances = torch.cdist(*2 * [data.train.positions[:20]]).amax(dim=(-1, -2)) ** -4
    inputs = data.train.inputs(data.scales)[:20].flatten(1)
    counts = torch.zeros(20)
    for _ in range(1000):
        drawn = trainer._batch()[0].flatten(1)
        counts += (drawn.unsqueeze(1) == inputs).all(dim=-1).sum(dim=0)
        trainer.iteration += 1
    assert counts.sum() == 20_000
    expected = 20_000 * (share * chances / chances.sum() + (1 - share) / 20)
    assert (expected.max() / expected.min()) > 2  # five times Poisson's standard deviation are seen below
    assert ((counts - expected).abs() < 5 * expected.sqrt()).all()


def test_where_rounding_leaves_the_sum_of_the_chances_below_what_is_drawn_the_last_one_comes(
    small_config, data
):
    trainer = make_trainer(small_config, relabel=False, sampling_power=4.0)
    trainer._cumulative.zero_()
    assert (trainer._batch()[0] == data.train.inputs(data.scales)[-1]).all()


def test_what_is_drawn_does_not_depend_on_torch_s_default_dtype(small_config, request):
    request.addfinalizer(partial(torch.set_default_dtype, torch.get_default_dtype()))
    batches = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        batches.append(make_trainer(small_config, sampling_power=4.0)._batch()[0])
    assert batches[0].equal(batches[1])


def test_one_configuration_is_enough(small_config):
    trainer = make_trainer(small_config, n_train=1, batch_size=1)
    assert trainer.step() > 0
    assert trainer.batches_per_epoch == 1


def test_a_drawn_configuration_keeps_its_forces(small_config, data):
    inputs, targets = make_trainer(small_config, relabel=False, sampling_power=4.0)._batch()
    which = (inputs.flatten(1).unsqueeze(1) == data.train.inputs(data.scales).flatten(1)).all(dim=-1)
    assert which.sum(dim=1).eq(1).all()
    assert targets.equal(data.train.targets(data.scales)[which.int().argmax(dim=1)])


# The optimisers and their rates


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_training_with_every_optimiser_lowers_both_losses(small_config, optimiser, folder):
    config = replace(small_config, widths=(6, 20, 20, 4), iterations=60, softening=0.3)
    trainer = train(configure(replace(config, fire_dt=0.02, fire_dt_max=0.1), optimiser), folder)
    history = read_csv(folder / "history.csv")
    assert history["training_loss"][-1] < 0.9 * history["training_loss"][0]
    assert history["validation_loss"][-1] < history["validation_loss"][0]
    assert trainer.iteration == 60


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("cosine", [0.2 * (1 + math.cos(math.pi * k / 4)) for k in range(5)]), ("constant", [0.4] * 5)],
    ids=["cosine", "constant"],
)
def test_the_rate_falls_along_a_cosine_to_zero_or_stays(small_config, schedule, expected):
    trainer = make_trainer(small_config, learning_rate=0.4, iterations=100, schedule=schedule)
    for trainer.iteration, rate in zip((0, 25, 50, 75, 100), expected, strict=True):
        assert trainer.learning_rate() == pytest.approx(rate, rel=1e-14)


def test_the_settings_of_fire_reach_it(small_config):
    config = configure(replace(small_config, fire_dt=0.002, fire_dt_max=0.03, fire_mass=0.4), "fire")
    optimiser = make_trainer(config, fire_order="ase").optimiser
    assert isinstance(optimiser, FIRE)
    group = optimiser.param_groups[0]
    assert (group["dt"], group["lr"], group["mass"], group["order"]) == (0.002, 0.03, 0.4, "ase")


def test_the_schedule_of_the_rate_leaves_the_largest_time_step_of_fire_alone(small_config):
    trainer = make_trainer(configure(small_config, "fire"), fire_dt_max=0.02)
    trainer.step()
    assert trainer.optimiser.param_groups[0]["lr"] == 0.02


@pytest.mark.parametrize("name", ["Adam", "Muon", "SOAP"])
def test_the_other_optimisers_have_the_rate_of_the_configuration_and_no_decay(small_config, name):
    optimiser = make_trainer(configure(small_config, name.lower()), learning_rate=0.03).optimiser
    assert type(optimiser).__name__ == name
    assert (optimiser.param_groups[0]["lr"], optimiser.param_groups[0]["weight_decay"]) == (0.03, 0)


@pytest.mark.parametrize(("n_train", "expected"), [(None, 120), (7, 7)])
def test_sixty_percent_train_unless_fewer_are_wanted(small_config, n_train, expected):
    config = replace(small_config, n_train=n_train)
    assert config.training_size == expected
    assert make_trainer(config, batch_size=5).batches_per_epoch == expected // 5


def test_the_network_is_that_of_the_configuration(small_config):
    changes = {"a": 0.7, "softening": 0.2, "output_activation": "softsign", "dtype": "float64"}
    network = make_trainer(small_config, **changes).network
    assert (network.widths, network.n, network.dtype) == ((6, 5, 4), 3, torch.float64)
    assert (network.activation.a, network.output_activation.a) == (0.7, 0.7)
    assert {layer.softening for layer in network.layers} == {0.2}


def test_without_its_package_soap_is_refused(small_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    said = (
        r"optimiser: got 'soap', wanted its package, pip install 'enn-lib\[soap\]' \(.*pytorch_optimizer.*\)"
    )
    with pytest.raises(ValueError, match=f"^{said}$"):
        make_trainer(small_config, optimiser="soap")


# What a run leaves behind


def test_a_finished_run_has_three_files_and_no_checkpoint(small_run):
    names = {p.name for p in small_run.iterdir()}
    assert names == {"config.json", "history.csv", "model.safetensors"}


def test_the_configuration_on_disk_is_the_one_given_with_its_provenance(small_run, small_config):
    values = json.loads((small_run / "config.json").read_text(encoding="utf-8"))
    assert Config.from_dict(values) == small_config
    assert values["provenance"].keys() == {"versions", "hardware", "git_commit", "date"}
    assert values["provenance"]["versions"]["torch"] == metadata.version("torch")


def git_in(folder):
    """Runs git there, and returns what it says."""

    def git(*words):
        name = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        command = ["git", *name, *words]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8").stdout

    git("init", "--quiet")
    return git


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_the_commit_is_written_out_and_says_whether_something_was_changed(monkeypatch, tmp_path):
    source = tmp_path / "training.py"
    source.write_text("", encoding="utf-8")
    monkeypatch.setattr("enn_lib.training.__file__", str(source))
    git = git_in(tmp_path)
    assert provenance()["git_commit"] is None
    git("add", "training.py")
    git("commit", "--quiet", "--no-gpg-sign", "--message", "A commit")
    commit = git("rev-parse", "HEAD").strip()
    assert provenance()["git_commit"] == commit
    source.write_text("changed = True\n", encoding="utf-8")
    assert provenance()["git_commit"] == f"{commit}-dirty"


def test_the_provenance_has_versions_hardware_and_the_date(monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_name", {torch.device("cuda", 1): "a GPU"}.get)
    clocks = {UTC: datetime(2026, 3, 1, 0, 30)}
    monkeypatch.setattr("enn_lib.training.datetime", SimpleNamespace(now=clocks.__getitem__))
    found = provenance(Workers(size=3, device=torch.device("cuda", 1)))
    names = ("torch", "numpy", "enn-lib")
    assert found["versions"] == {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in names},
    }
    assert found["hardware"].pop("processor")
    assert found["hardware"] == {
        "cores": os.cpu_count(),
        "system": platform.system(),
        "processes": 3,
        "device": "a GPU",
    }
    assert provenance()["hardware"]["device"] == "cpu"
    assert found["date"] == "2026-03-01"


def test_the_processor_is_named_as_linux_or_python_names_it(monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Engine: No. 1 \nmodel name\t: other\n", encoding="utf-8")
    monkeypatch.setattr("enn_lib.training.Path", {"/proc/cpuinfo": file}.__getitem__)
    assert _processor() == "Engine: No. 1"
    file.unlink()
    for named, expected in (("Engine", "Engine"), ("", platform.machine())):
        monkeypatch.setattr("platform.processor", lambda named=named: named)
        assert _processor() == expected


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_without_git_or_outside_its_repository_no_commit_is_claimed(monkeypatch, tmp_path):
    elsewhere = tmp_path / "site-packages" / "enn_lib" / "training.py"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text("", encoding="utf-8")
    git = git_in(tmp_path)  # of something else
    neighbour = elsewhere.with_name("of_something_else.py")
    neighbour.write_text("", encoding="utf-8")
    git("add", neighbour)
    git("commit", "--quiet", "--no-gpg-sign", "--message", "A commit")
    with monkeypatch.context() as patch:
        patch.setattr("enn_lib.training.__file__", str(elsewhere))
        assert provenance()["git_commit"] is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance()["git_commit"] is None


def test_the_history_counts_iterations_epochs_and_gradient_evaluations(small_run, small_config):
    history = read_csv(small_run / "history.csv")
    assert tuple(history) == HISTORY_COLUMNS
    assert history["iteration"] == sorted(logged_iterations(30, small_config.points_per_decade))
    assert history["gradient_evaluations"] == [50 * k for k in history["iteration"]]
    assert history["epoch"] == pytest.approx([50 / 120 * k for k in history["iteration"]])
    assert history["seconds"] == sorted(history["seconds"])


def test_the_last_losses_are_those_of_the_stored_weights(small_run, small_config, data):
    trainer = make_trainer(small_config)
    trainer.network.load_state_dict(weights(small_run))
    history = read_csv(small_run / "history.csv")
    for name, part in (("training_loss", data.train), ("validation_loss", data.validation)):
        error = trainer.network(part.inputs(data.scales)) - part.targets(data.scales)
        assert history[name][-1] == pytest.approx(error.square().mean().item(), rel=1e-5)


def test_stored_weights_say_of_which_iteration_they_are_and_their_scales(stopped, data):
    assert load_tensors(stopped / "model.safetensors")[1] == {
        "iteration": "1",
        "position_scale": repr(data.scales.position),
        "force_scale": repr(data.scales.force),
    }


def test_the_same_configuration_gives_the_same_run_and_another_seed_another(
    small_config, small_run, tmp_path
):
    train(small_config, tmp_path / "again")
    assert_same_run(tmp_path / "again", small_run)
    for change in ({"seed": 1}, {"data_seed": 1}):
        other = tmp_path / f"another {next(iter(change))}"
        train(replace(small_config, **change), other)
        assert not weights(other)["layers.0.stacked"].equal(weights(small_run)["layers.0.stacked"])


def test_the_lines_of_the_history_are_evenly_spaced_in_the_logarithm():
    assert logged_iterations(20, 3) == {0, 1, 2, 5, 10, 20}


@given(iterations=st.integers(1, 10**7), per_decade=st.integers(1, 30))
def test_the_history_has_the_start_the_end_and_some_lines_a_decade(iterations, per_decade):
    logged = logged_iterations(iterations, per_decade)
    assert 1 in logged
    assert (min(logged), max(logged)) == (0, iterations)
    decades = math.log10(max(iterations, 2))
    assert len(logged) <= per_decade * decades + 4
    for start in range(1, math.floor(math.log10(iterations))):
        inside = [k for k in logged if 10**start <= k < 10 ** (start + 1)]
        assert len(inside) >= min(per_decade, 9 * 10**start) / 2


# Resuming


@pytest.mark.parametrize(
    ("optimiser", "power"),
    [*((optimiser, 0.0) for optimiser in OPTIMISERS), ("muon", 6.0)],
    ids=[*OPTIMISERS, "drawn batches"],
)
def test_training_stopped_after_every_iteration_ends_bit_for_bit_where_one_never_stopped_does(
    small_config, optimiser, power, tmp_path
):
    config = configure(replace(small_config, iterations=8, sampling_power=power), optimiser)
    train(config, tmp_path / "straight")
    sessions = 1
    while train(config, tmp_path / "stopped", max_minutes=0).iteration < config.iterations:
        sessions += 1
    assert sessions == 8
    torch.testing.assert_close(weights(tmp_path / "stopped"), weights(tmp_path / "straight"), rtol=0, atol=0)


def test_a_run_that_was_stopped_can_be_used_and_keeps_its_checkpoint(small_config, folder):
    trainer = train(small_config, folder, max_minutes=0)
    assert trainer.iteration == 1
    assert read_csv(folder / "history.csv")["iteration"] == [0, 1]
    assert (folder / "checkpoint" / "state.pt").exists()
    assert weights(folder)["layers.0.stacked"].equal(trainer.network.layers[0].stacked)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_state_that_was_read_goes_on_bit_for_bit_for_hundreds_of_steps(small_config, optimiser, tmp_path):
    """Tensors that lie in memory otherwise than torch puts its own make SOAP's products round otherwise."""
    config = configure(replace(small_config, widths=(6, 20, 20, 4), iterations=400), optimiser)
    trainer, resumed = make_trainer(config), make_trainer(config)
    for _ in range(100):
        trainer.step()
    save_state(tmp_path / "state", trainer.state_dict())
    resumed.load_state_dict(load_state(tmp_path / "state"))
    assert [resumed.step() for _ in range(300)] == [trainer.step() for _ in range(300)]


def test_a_line_of_the_history_has_the_learning_rate_or_the_time_step_of_fire(small_config):
    for optimiser, name, rate in (("muon", "lr", 0.01), ("fire", "dt", 0.001)):
        trainer = make_trainer(configure(small_config, optimiser))
        trainer.step()
        trainer.seconds = 1.26
        trainer.record()
        row = dict(zip(HISTORY_COLUMNS, trainer.history[-1], strict=True))
        assert row["rate"] == trainer.optimiser.param_groups[0][name] == rate
        assert row["seconds"] == 1.3
        assert row["epoch"] == trainer.batch_size / 120
        assert row["gradient_evaluations"] == trainer.batch_size


@pytest.mark.parametrize("part", ["_train", "_validation"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_of_either_part_that_is_not_finite_is_not_recorded(small_config, part, value):
    trainer = make_trainer(small_config)
    getattr(trainer, part)[1][0] = value
    with pytest.raises(
        FloatingPointError, match=r"^the loss or a weight is not finite at iteration 0: training"
    ):
        trainer.record()
    assert trainer.history == []


def test_the_time_is_up_after_so_many_minutes_and_no_later(small_config, folder, monkeypatch):
    """By a clock that stands at an hour and moves on by a second whenever it is read."""
    clock = itertools.count(3600)
    monkeypatch.setattr("enn_lib.training.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    trainer = train(replace(small_config, iterations=500), folder, max_minutes=2)
    assert 119 <= trainer.seconds <= 120
    assert trainer.history[-1][0] == trainer.iteration


@pytest.mark.parametrize("minutes", [-1, math.nan])
def test_minutes_that_are_none_are_refused(minutes, small_config, folder):
    with pytest.raises(ValueError, match=f"^max_minutes: got {minutes}, wanted at least 0$"):
        train(small_config, folder, max_minutes=minutes)
    assert not folder.exists()


def test_making_a_line_of_the_history_takes_time_too(small_config, folder, monkeypatch):
    """By a clock that only it moves on."""
    clock = [3600.0]
    monkeypatch.setattr("enn_lib.training.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    record = Trainer.record

    def slow(self):
        record(self)
        clock[0] += 7

    monkeypatch.setattr(Trainer, "record", slow)
    assert train(replace(small_config, iterations=2), folder).seconds == 21


def test_a_bar_shows_the_iterations_and_the_losses(small_config, folder, monkeypatch, capsys):
    monkeypatch.setattr("enn_lib.training.tqdm", partial(tqdm, disable=False))  # whatever TQDM_DISABLE says
    trainer = train(replace(small_config, iterations=2), folder)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "| 2/2 [" in last
    assert "it/s" in last
    assert re.search(rf"loss=[\d.e-]+, validation={trainer.history[-1][4]:.3g}\]", last)


def test_the_bar_of_a_run_that_goes_on_begins_where_it_stopped(small_config, stopped, monkeypatch, capsys):
    monkeypatch.setattr("enn_lib.training.tqdm", partial(tqdm, disable=False))
    capsys.readouterr()
    train(small_config, stopped)
    assert "| 1/30 [" in capsys.readouterr().err.split("\r")[1]


@pytest.mark.parametrize("max_minutes", [None, 0])
def test_of_several_processes_only_the_first_writes_and_shows_a_bar(
    max_minutes, small_config, folder, monkeypatch, capsys
):
    """The second of two, which hears from the first that the folder is as it should be, and new."""
    monkeypatch.setattr("enn_lib.training.tqdm", partial(tqdm, disable=False))
    monkeypatch.setattr(Workers, "from_first", lambda self, function: None)
    monkeypatch.setattr(Workers, "first_says", lambda self, answer: answer)
    monkeypatch.setattr(Workers, "add_up", lambda self, tensors: None)
    train(small_config, folder, max_minutes=max_minutes, workers=Workers(1, 2))
    assert not folder.exists()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("threads", "per_machine", "expected"), [(5, 1, 5), (5, 2, 2), (1, 2, 1)])
def test_the_processes_of_a_machine_share_the_threads(
    threads, per_machine, expected, small_config, folder, monkeypatch
):
    monkeypatch.setattr("torch.set_num_threads", threads_set := Mock())
    workers = Workers(per_machine=per_machine)
    train(replace(small_config, iterations=1, threads=threads), folder, workers=workers)
    threads_set.assert_called_once_with(expected)


def test_seconds_add_up_over_sessions(small_config, folder):
    first, second = (train(small_config, folder, max_minutes=0).seconds for _ in range(2))
    assert second > first > 0


def test_metrics_of_weights_that_change_are_removed(small_config, stopped):
    (stopped / "metrics.json").write_text("{}", encoding="utf-8")
    train(small_config, stopped)
    assert not (stopped / "metrics.json").exists()


class Killed(BaseException):
    """What a test raises where a process would end."""


@pytest.mark.parametrize("writes", range(1, 20))
def test_killed_at_any_write_it_resumes_bit_for_bit(writes, small_config, small_run, folder, monkeypatch):
    """Of the 16 files that a run of 30 iterations renames, each in turn is the one it dies before.

    As after a real kill, the half-written file stays where it is.
    """
    rename, renames = Path.replace, itertools.count(1)

    def dying(self, target):
        if next(renames) == writes:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        try:
            train(small_config, folder)
        except Killed:
            assert writes <= 16
        else:
            assert writes > 16
            return
    train(small_config, folder)
    assert_same_run(folder, small_run)
    assert {p.name for p in folder.iterdir()} == {p.name for p in small_run.iterdir()}


def hear_all():
    """Not as a shell has it for what runs in its background, or nohup, where these signals do nothing."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def stop_a_process(config, place, stop):
    """Train into ``place / "stopped"`` in another process, stopped by a signal after its first checkpoint.

    Returns the process, its standard output and its standard error.
    """
    (place / "config.json").write_text(json.dumps(asdict(config)), encoding="utf-8")
    command = [sys.executable, "-m", "enn_lib", "train", "--config", "config.json", "--out", "stopped"]
    with subprocess.Popen(
        command,
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "TQDM_DISABLE": "1"},
        preexec_fn=hear_all if os.name == "posix" else None,
    ) as process:
        while not (place / "stopped" / "checkpoint" / "state.pt").exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
                break
        process.send_signal(stop)
        return process, *process.communicate()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_killed_with_sigkill_resumes_bit_for_bit(small_config, tmp_path):
    """The real thing: another process, killed once its first checkpoint is there."""
    config = replace(small_config, iterations=1500, checkpoint_every=100)
    process, _, _ = stop_a_process(config, tmp_path, signal.SIGKILL)
    killed, straight = tmp_path / "stopped", tmp_path / "straight"
    assert process.returncode == -signal.SIGKILL, "it ended by itself"
    assert 0 < load_state(killed / "checkpoint" / "state.pt")["iteration"] < config.iterations

    train(config, killed)
    train(config, straight)
    assert_same_run(killed, straight)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere no program can send another these signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_process_that_is_asked_to_stop_saves_where_it_is_and_says_so_in_a_line(
    name, small_config, tmp_path
):
    """Where it is: not where the last checkpoint was, as few are made."""
    config = replace(small_config, iterations=20_000, checkpoint_every=100, points_per_decade=1)
    process, out, err = stop_a_process(config, tmp_path, getattr(signal, name))
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    (iteration,) = re.search(
        r"^stopped: stopped and saved at iteration (\d+)\n\Z", err, re.MULTILINE
    ).groups()
    stopped = tmp_path / "stopped"
    assert load_state(stopped / "checkpoint" / "state.pt")["iteration"] == int(iteration) < config.iterations

    assert train(config, stopped, max_minutes=0).iteration == int(iteration) + 1


def ask_to_stop(monkeypatch, *numbers):
    """Makes a training raise signals in its eleventh iteration."""
    step = Trainer.step

    def asked(self):
        if self.iteration == 10:
            for number in numbers:
                signal.raise_signal(number)
        return step(self)

    monkeypatch.setattr(Trainer, "step", asked)


def hear(number, request, handler=signal.default_int_handler):
    """Handle a signal in a test, as if it were not ignored, as a shell ignores SIGINT in its background."""
    earlier = signal.signal(number, handler)
    request.addfinalizer(lambda: signal.signal(number, earlier))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_a_training_ends_its_iteration_and_saves_and_goes_on_from_there(
    number, small_config, small_run, folder, monkeypatch, request
):
    hear(number, request)
    with monkeypatch.context() as patch:
        ask_to_stop(patch, number)
        said = f"{folder}: stopped and saved at iteration 11"
        with pytest.raises(KeyboardInterrupt, match=f"^{re.escape(said)}$"):
            train(small_config, folder)
    assert load_state(folder / "checkpoint" / "state.pt")["iteration"] == 11
    train(small_config, folder)
    torch.testing.assert_close(weights(folder), weights(small_run), rtol=0, atol=0)


def test_asked_twice_a_training_ends_at_once_with_the_last_checkpoint(
    small_config, folder, monkeypatch, request
):
    hear(signal.SIGINT, request)
    ask_to_stop(monkeypatch, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        train(small_config, folder)
    assert load_state(folder / "checkpoint" / "state.pt")["iteration"] == 7


def test_handlers_of_signals_are_as_they_were_after_a_training(small_config, folder):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(small_config, folder, max_minutes=0)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_is_ignored_stays_so(small_config, small_run, folder, monkeypatch, request):
    """As a shell has SIGINT for what runs in its background, and nohup SIGHUP."""
    hear(signal.SIGINT, request, handler=signal.SIG_IGN)
    ask_to_stop(monkeypatch, signal.SIGINT)
    train(small_config, folder)
    assert_same_run(folder, small_run)


def test_the_folder_of_a_training_may_be_a_string(small_config, small_run, folder):
    train(small_config, str(folder))
    assert_same_run(folder, small_run)


def test_training_works_in_a_thread_where_no_handler_can_be_set(small_config, small_run, folder):
    with ThreadPoolExecutor() as pool:
        pool.submit(train, small_config, folder).result()
    assert_same_run(folder, small_run)


# Refusals


def test_a_folder_with_another_configuration_is_refused_and_left_alone(small_config, stopped):
    before = {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()}
    said = (
        f"{stopped}: holds a run of another configuration "
        "(a: got 0.2, the folder has 0.1; seed: got 1, the folder has 0)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        train(replace(small_config, seed=1, a=0.2), stopped)
    assert {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()} == before


def test_a_configuration_without_a_checkpoint_is_compared_too(small_config, stopped):
    """As a kill before the first checkpoint leaves it."""
    for name in ("checkpoint/state.pt", "model.safetensors", "history.csv"):
        (stopped / name).unlink()
    with pytest.raises(ValueError, match=r"another configuration \(seed: got 1, the folder has 0\)"):
        train(replace(small_config, seed=1), stopped)


def test_a_foreign_folder_is_refused_and_left_alone(small_config, tmp_path):
    for name in ("thesis.tex", "letter.txt"):
        (tmp_path / name).write_text("precious", encoding="utf-8")
    said = f"{tmp_path}: got a folder that holds letter.txt, thesis.tex, wanted a run or nothing"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        train(small_config, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["letter.txt", "thesis.tex"]


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", ".nfs0001"])
def test_files_that_systems_leave_behind_are_in_nobody_s_way(name, small_config, stopped):
    (stopped / name).write_text("", encoding="utf-8")
    assert train(small_config, stopped).iteration == small_config.iterations


def test_a_folder_in_which_another_process_trains_is_refused_at_once_and_left_alone(
    small_config, stopped, monkeypatch
):
    before = (stopped / "checkpoint" / "state.pt").read_bytes()
    with monkeypatch.context() as patch, FileLock(stopped / ".lock"):
        patch.setattr("time.sleep", Mock(side_effect=AssertionError("it waits")))
        said = f"{stopped}: another process trains in it, wanted a folder of its own"
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            train(small_config, stopped)
    assert (stopped / "checkpoint" / "state.pt").read_bytes() == before
    assert train(small_config, stopped).iteration == small_config.iterations


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the file of a lock that is held cannot be removed")
def test_a_training_whose_lock_somebody_removes_ends_as_any(small_config, small_run, folder, monkeypatch):
    step = Trainer.step

    def tidied(self):
        (folder / ".lock").unlink(missing_ok=True)
        return step(self)

    monkeypatch.setattr(Trainer, "step", tidied)
    train(small_config, folder)
    assert_same_run(folder, small_run)


def test_a_checkpoint_without_its_configuration_is_refused(small_config, stopped):
    """It might be of another one."""
    (stopped / "config.json").unlink()
    with pytest.raises(ValueError, match=r"got a checkpoint without its config\.json, wanted both"):
        train(small_config, stopped)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("optimiser"),
        lambda state: state["network"].popitem(),
        lambda state: state.update(network={"layers.0.stacked": torch.zeros(3)}),
        lambda state: state.update(generator=torch.zeros(3)),
        lambda state: state.update(optimiser={}),
    ],
    ids=["no optimiser", "a weight less", "other weights", "another generator", "an empty optimiser"],
)
def test_a_checkpoint_that_does_not_fit_is_named(damage, small_config, stopped):
    path = stopped / "checkpoint" / "state.pt"
    state = load_state(path)
    damage(state)
    save_state(path, state)
    with pytest.raises(ValueError, match=r"state\.pt: does not fit config\.json"):
        train(small_config, stopped)


def test_a_finished_run_is_not_trained_again(small_config, small_run):
    with pytest.raises(ValueError, match="holds a finished run; wanted a new folder"):
        train(small_config, small_run)


def test_a_damaged_checkpoint_is_named(small_config, stopped):
    path = stopped / "checkpoint" / "state.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"state\.pt: not a whole saved state"):
        train(small_config, stopped)


def diverge(config, folder, *, wild_from, noticed_at):
    """Train with a rate that goes wild at an iteration; returns the last checkpoint."""
    rate = Trainer.learning_rate

    def wild(self):
        return rate(self) if self.iteration < wild_from else 1e30

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "learning_rate", wild)
        with pytest.raises(FloatingPointError, match=f"at iteration {noticed_at}: training diverged"):
            train(config, folder)
    return load_state(folder / "checkpoint" / "state.pt")


def test_training_that_diverges_stops_and_leaves_the_last_checkpoint(small_config, small_run, folder):
    """With a sane rate the run goes on from before."""
    config = replace(small_config, checkpoint_every=1)
    assert diverge(config, folder, wild_from=5, noticed_at=6)["iteration"] == 5
    train(config, folder)
    assert_same_run(folder, small_run)


def test_divergence_is_noticed_between_two_lines_of_the_history_too(small_config, folder):
    """So that no checkpoint ever holds weights that are not finite."""
    config = replace(small_config, checkpoint_every=1, points_per_decade=1)
    state = diverge(config, folder, wild_from=3, noticed_at=5)
    assert state["iteration"] == 4
    assert all(value.isfinite().all() for value in state["network"].values())


def test_a_weight_may_be_as_large_as_a_number_can_be(small_config):
    """Its square is not finite in single precision."""
    trainer = make_trainer(small_config)
    with torch.no_grad():
        trainer.network.layers[0].stacked[0, 0] = 1e30
    _check_finite(1.0, trainer)


def test_errors_of_any_class_that_pydantic_checks_are_in_plain_words():
    """Where an entry of a list of lists is meant, by both its places."""

    @_with_plain_errors
    @dataclass
    class Table:
        rows: list[list[int]]

    assert Table(rows=[[1, 2], [3, 4]]).rows == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match=r"^rows\[0\]\[1\]: got 'x', wanted a valid integer") as caught:
        Table(rows=[[1, "x"]])
    assert type(caught.value) is ValueError


@pytest.mark.parametrize("name", [f.name for f in fields(Config)])
def test_a_value_of_a_wrong_kind_is_named(name):
    with pytest.raises(ValueError, match=rf"^{name}: got \{{'a': 1\}}, wanted "):
        Config.from_dict({name: {"a": 1}})


LARGEST = dict.fromkeys(
    ("n_configurations", "n_train", "batch_size", "chunk_size", "iterations", "checkpoint_every"), 10**9
)
LARGEST |= dict.fromkeys(("a", "softening", "fire_dt", "fire_dt_max", "fire_mass"), 10**15)
LARGEST |= {"points_per_decade": 1000, "threads": 1024, "sampling_power": 100}


@pytest.mark.parametrize("seed", [-(2**63), 2**64 - 1])
def test_every_seed_that_torch_takes_is_taken(seed):
    build_network(Config(seed=seed))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"rate": 0.1},
            f"config: got unknown key rate; wanted some of {', '.join(f.name for f in fields(Config))}$",
        ),
        ({"optimiser": "sgd"}, "optimiser: got 'sgd', wanted 'fire', 'adam', 'muon' or 'soap'"),
        ({"dtype": "float16"}, "dtype: got 'float16', wanted 'float32' or 'float64'"),
        ({"iterations": 0}, "iterations: got 0, wanted greater than 0"),
        ({"iterations": 10.5}, r"iterations: got 10\.5, wanted a valid integer"),
        ({"iterations": True}, "iterations: got True, wanted a valid integer"),
        ({"compile": 1}, "compile: got 1, wanted a valid boolean"),
        ({"a": "0.1"}, r"a: got '0\.1', wanted a valid number"),
        ({"learning_rate": 1e31}, "learning_rate: got 1e.31, wanted less than or equal to 10{30}$"),
        ({"learning_rate": float("nan")}, "learning_rate: got nan, wanted a finite number"),
        ({"batch_size": "all"}, "batch_size: got 'all', wanted a valid integer or null"),
        ({"widths": [6]}, r"widths: got \(6,\), wanted 6 relative vectors in and 4 forces out"),
        ({"widths": [5, 5, 4]}, r"widths: got \(5, 5, 4\), wanted 6 relative vectors in and 4 forces out"),
        ({"widths": [6, 5, 3]}, r"widths: got \(6, 5, 3\), wanted 6 relative vectors in and 4 forces out"),
        ({"widths": [6, 2.5, 4]}, r"widths\[1\]: got 2\.5, wanted a valid integer"),
        ({"widths": 6}, "widths: got 6, wanted a valid list"),
        ({"widths": [6, 0, 4]}, r"widths\[1\]: got 0, wanted greater than 0"),
        ({"n_train": 0}, "n_train: got 0, wanted greater than 0 or null"),
        ({"batch_size": 0}, "batch_size: got 0, wanted greater than 0 or null"),
        *(
            ({name: most + 1}, rf"{name}: got {most + 1}, wanted less than or equal to {most}( or null)?$")
            for name, most in LARGEST.items()
        ),
        ({"widths": [6, 10_001, 4]}, r"widths\[1\]: got 10001, wanted less than or equal to 10000"),
        ({"seed": 2**64}, f"seed: got {2**64}, wanted less than {2**64}"),
        ({"seed": -(2**63) - 1}, f"seed: got {-(2**63) - 1}, wanted greater than or equal to {-(2**63)}"),
        ({"sampling_power": -101}, "sampling_power: got -101, wanted greater than or equal to -100"),
        ({"softening": -1.0}, r"softening: got -1\.0, wanted greater than or equal to 0"),
        (
            {"iterations": "x", "a": "y"},
            "a: got 'y', wanted a valid number; iterations: got 'x', wanted a valid integer$",
        ),
        (
            {"optimiser": "fire"},
            "batch_size: got 500, wanted null with FIRE, which needs the whole batch$",
        ),
        (
            {"batch_size": None, "sampling_power": 4.0},
            "sampling_power: got 4, wanted 0 with the whole batch, all of it",
        ),
    ],
)
def test_a_key_or_a_value_that_is_not_allowed_is_named_with_what_is(values, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Config.from_dict(values)


def test_a_network_of_one_layer_is_a_network():
    assert build_network(Config(widths=(6, 4))).widths == (6, 4)


def test_null_is_allowed_where_it_means_all():
    config = Config.from_dict({"batch_size": None, "n_train": None})
    assert (config.batch_size, config.n_train) == (None, None)


@pytest.mark.parametrize(("name", "largest"), [("n_train", "120"), ("batch_size", "n_train = 120")])
def test_a_setting_that_does_not_fit_the_data_is_named(small_config, name, largest):
    with pytest.raises(ValueError, match=f"^{name}: got 121, wanted 1 to {largest}$"):
        make_trainer(small_config, **{name: 121})
