"""Several processes that train one network: torchrun starts two, which must do what one does alone."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import chain
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from enn_lib.argon import generate_data
from enn_lib.distributed import (
    ALONE,
    Workers,
    choose_device,
    is_first_process,
    join,
    started_by_torchrun,
)
from enn_lib.settings import build_network
from enn_lib.storage import load_tensors, read_csv, read_json
from enn_lib.training import Trainer, compile_if_possible, train

SCRIPT = r"""
import json
import sys

from enn_lib.__main__ import main
from enn_lib.distributed import join

with join():
    for command in json.load(open("commands.json")):
        sys.stdout.write(f"{main(command)}\n")  # whole lines, whoever else writes
"""


@pytest.fixture(scope="module")
def configs(small_config):
    """FIRE on 119 configurations, which two cannot share evenly, in chunks; and Muon on batches.

    In float64, so that only a true difference grows beyond the tolerance.
    """
    base = replace(small_config, dtype="float64", softening=0.3)
    return {
        "fire": replace(base, optimiser="fire", batch_size=None, n_train=119, chunk_size=25, fire_dt=0.01),
        "muon": base,
    }


@pytest.fixture(scope="module")
def together(configs, tmp_path_factory):
    """What two processes left behind, and what they said: FIRE; Muon, stopped and resumed; a refusal."""
    if sys.platform == "win32":
        pytest.skip("torchrun asks for libuv, which torch for Windows is built without")
    folder = tmp_path_factory.mktemp("together")
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(asdict(config)), encoding="utf-8")
    fire, muon = (["train", "--config", f"{name}.json", "--out", name] for name in configs)
    commands = [fire, [*muon, "--max-minutes", "0"], muon, muon]
    (folder / "commands.json").write_text(json.dumps(commands), encoding="utf-8")
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, "script.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(folder=folder, out=done.stdout, err=done.stderr)


@pytest.mark.parametrize("name", ["fire", "muon"])
def test_two_processes_end_where_one_does_to_rounding(name, configs, together, tmp_path):
    train(configs[name], tmp_path / "alone")
    start = build_network(configs[name]).state_dict()
    folders = (tmp_path / "alone", together.folder / name)
    one, two = (load_tensors(folder / "model.safetensors")[0] for folder in folders)
    assert min((weights - start[key]).abs().max() for key, weights in one.items()) > 1e-3, "it did not move"
    torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-11)
    one, two = (read_csv(folder / "history.csv") | {"seconds": []} for folder in folders)
    torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-12)


def test_one_of_two_processes_writes_and_speaks(together):
    assert sorted(os.listdir(together.folder / "muon")) == ["config.json", "history.csv", "model.safetensors"]
    assert together.out.count("muon: 1 of 30 iterations") == 1
    assert together.out.count("muon: 30 of 30 iterations") == 1
    assert read_json(together.folder / "muon" / "config.json")["provenance"]["hardware"]["processes"] == 2


def test_a_refusal_reaches_every_process_and_the_reader_once(together):
    """No process waits for one that has ended: all four commands end in both, the last with status 2."""
    statuses = [line for line in together.out.splitlines() if line in ("0", "2")]
    assert sorted(statuses) == ["0"] * 6 + ["2"] * 2
    assert together.err.count("error: muon: holds a finished run; wanted a new folder") == 1


# The parts


@pytest.mark.parametrize(("n", "size"), [(60_000, 8), (119, 2), (7, 3), (2, 2)])
def test_shares_are_the_rows_once_each_and_differ_by_one_at_most(n, size):
    rows = list(range(n))
    shares = [rows[Workers(rank, size).share(n)] for rank in range(size)]
    assert list(chain(*shares)) == rows
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_gradients_and_losses_of_the_shares_add_up_to_those_of_the_whole(small_config, monkeypatch):
    """Three trainers in one process; what each would send is kept instead."""
    config = replace(small_config, dtype="float64", batch_size=50)
    sent = []
    monkeypatch.setattr(Workers, "add_up", lambda self, tensors: sent.extend(t.clone() for t in tensors))
    for workers in (ALONE, *(Workers(rank, 3) for rank in range(3))):
        trainer = Trainer(config, generate_data(200), workers)
        trainer.validation_loss()
        trainer.step()
    assert len(sent) == 4 * 4, "two losses, and the gradients of two layers"
    whole, *shares = (sent[k : k + 4] for k in range(0, 16, 4))
    for parts, of_all in zip(zip(*shares, strict=True), whole, strict=True):
        torch.testing.assert_close(sum(parts), of_all, rtol=1e-12, atol=1e-14)


def test_more_processes_than_configurations_in_a_batch_are_refused(small_config):
    with pytest.raises(ValueError, match=r"batch_size: got 2, wanted 3 to n_train = 120"):
        Trainer(replace(small_config, batch_size=2), generate_data(200), Workers(0, 3))


def test_one_process_alone_exchanges_nothing():
    tensor = torch.ones(3)
    ALONE.add_up([tensor])
    assert tensor.equal(torch.ones(3))
    assert ALONE.from_first(lambda: 7) == 7
    assert ALONE.first_says(True)
    assert ALONE.is_first
    with join("cpu") as workers:
        assert workers == ALONE


class TwoInTurn:
    """Stands in for torch.distributed: two processes take turns, and the second hears what the first said."""

    def __init__(self):
        self.rank, self.said = 0, []

    def all_reduce(self, message):
        """As if the other had the same."""
        message.mul_(2)

    def broadcast(self, message, src):
        assert src == 0
        if self.rank == 0:
            self.said.append(message.clone())
        else:
            message.copy_(self.said.pop(0))

    def broadcast_object_list(self, objects, src, device):
        assert (src, device) == (0, torch.device("cpu"))
        if self.rank == 0:
            self.said.append(list(objects))
        else:
            objects[:] = self.said.pop(0)


@pytest.fixture
def turns(monkeypatch):
    """The workers of two processes, the second one's turn after the first one's."""
    dist = TwoInTurn()
    monkeypatch.setattr("enn_lib.distributed.dist", dist)

    def take():
        for dist.rank in range(2):
            yield Workers(dist.rank, 2, 2)

    return take


def test_each_tensor_becomes_its_sum_over_two_processes(turns):
    for workers in turns():
        tensors = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor(5.0), torch.ones(3)]
        workers.add_up(tensors)
        assert [t.tolist() for t in tensors] == [[[2, 4], [6, 8]], 10, [2, 2, 2]]


@pytest.mark.parametrize("answer", [True, False])
def test_the_second_of_two_processes_says_what_the_first_says(turns, answer):
    assert [workers.first_says(answer == workers.is_first) for workers in turns()] == [answer, answer]


def test_a_function_of_the_first_of_two_processes_is_called_once_and_its_result_is_in_both(turns):
    calls = iter([{"a": 1}])
    assert [workers.from_first(lambda: next(calls)) for workers in turns()] == [{"a": 1}] * 2


def test_an_error_of_the_first_of_two_processes_is_raised_in_both(turns):
    for workers in turns():
        with pytest.raises(ZeroDivisionError):
            workers.from_first(lambda: 1 / 0)


def test_what_processes_say_is_on_their_device(monkeypatch):
    monkeypatch.setattr("enn_lib.distributed.dist", dist := Mock())
    device = torch.device("meta")
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
        Workers(0, 2, device=device).first_says(True)
    assert dist.broadcast.call_args.args[0].device == device


def test_two_processes_meet_and_part_once_however_many_trainings_they_join(monkeypatch):
    dist = Mock(get_rank=lambda: 1, get_world_size=lambda: 2)
    dist.is_initialized.side_effect = [False, True]
    monkeypatch.setattr("enn_lib.distributed.dist", dist)
    be_the_second_of(2, monkeypatch)
    with join("cpu") as workers, join("cpu") as inner:
        assert workers == inner == Workers(1, 2, 2, torch.device("cpu"))
        dist.destroy_process_group.assert_not_called()
    dist.init_process_group.assert_called_once_with("gloo")
    dist.destroy_process_group.assert_called_once_with()


def be_the_second_of(size, monkeypatch):
    """What torchrun says to a process."""
    for name, value in (("WORLD_SIZE", size), ("LOCAL_RANK", 1), ("LOCAL_WORLD_SIZE", size), ("RANK", 1)):
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("missing", ["WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "RANK"])
def test_a_process_that_lacks_a_word_of_torchrun_s_is_alone(missing, monkeypatch):
    be_the_second_of(2, monkeypatch)
    assert started_by_torchrun()
    monkeypatch.delenv(missing)
    assert not started_by_torchrun()


def test_only_the_first_process_speaks(monkeypatch):
    assert is_first_process()
    be_the_second_of(2, monkeypatch)
    assert not is_first_process()
    monkeypatch.setenv("RANK", "0")
    assert is_first_process()


# Devices


def test_the_device_is_a_gpu_of_its_own_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")  # a word that somebody left, without torchrun's others
    assert choose_device() == choose_device("cuda") == torch.device("cuda", 0)
    be_the_second_of(3, monkeypatch)
    assert choose_device() == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_where_gpus_are_too_few_every_process_says_so_and_not_only_those_that_nobody_hears(rank, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    be_the_second_of(3, monkeypatch)
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    said = f"device: got 'auto' for process {rank} of this machine, wanted a GPU for each; there are 2"
    with pytest.raises(ValueError, match=f"^{said}$"):
        choose_device()


def test_without_a_gpu_the_device_is_the_cpu_unless_a_gpu_is_wanted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device() == torch.device("cpu")
    said = "device: got 'cuda' for process 0 of this machine, wanted a GPU for each; there are 0"
    with pytest.raises(ValueError, match=f"^{said}$"):
        choose_device("cuda")
    with pytest.raises(ValueError, match=r"^device: got 'tpu', wanted auto, cpu or cuda$"):
        choose_device("tpu")


def test_on_a_gpu_without_triton_training_is_not_compiled(monkeypatch):
    monkeypatch.setattr("enn_lib.training.find_spec", lambda name: None)
    with pytest.warns(UserWarning, match="no Triton: training without torch.compile"):
        assert compile_if_possible(abs, device=torch.device("cuda")) is abs


@pytest.mark.parametrize("optimiser", ["fire", "adam", "muon"])
def test_everything_a_step_computes_with_is_on_the_device(small_config, optimiser):
    """On torch's `meta` device, which has shapes and no numbers, up to where a number is asked for."""
    batch_size = None if optimiser == "fire" else 50
    config = replace(small_config, optimiser=optimiser, batch_size=batch_size, chunk_size=20)
    trainer = Trainer(config, generate_data(200), Workers(device=torch.device("meta")))
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
        trainer.step()
    assert all(p.grad.device.type == "meta" for p in trainer.network.parameters())
