"""A force field as one file: read back by torch alone, it gives the same forces for any batch."""

import subprocess
import sys

import pytest
import torch

from enn_lib.__main__ import main
from enn_lib.argon import sample_positions
from enn_lib.export import export_run
from enn_lib.groups import assert_equivariant
from enn_lib.permutation import PermutationAverage
from enn_lib.runs import load_run


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The softened run, averaged, as without further words, and alone; written and read back."""
    file, run = tmp_path_factory.mktemp("export") / "softened.pt2", load_run("softened")
    return {
        average: torch.export.load(export_run(run, file, **options)).module()
        for average, options in ((True, {}), (False, {"average": False}))
    }


@pytest.mark.parametrize("batch", [1, 2, 3, 50])
@pytest.mark.parametrize("average", [True, False])
def test_a_file_read_back_gives_the_same_forces(exported, average, batch):
    positions = sample_positions(batch, seed=4)
    field = load_run("softened").force_field
    wanted = (PermutationAverage(field) if average else field).forces(positions)
    torch.testing.assert_close(exported[average](positions), wanted, rtol=1e-12, atol=1e-14)


def test_the_weights_are_parameters_that_can_be_read(exported):
    network = load_run("softened").force_field.network
    weights = {f"network.{name}": weight for name, weight in network.named_parameters()}
    for module in exported.values():
        torch.testing.assert_close(dict(module.named_parameters()), weights)


def test_it_keeps_the_symmetries(exported):
    positions = sample_positions(5, seed=4)
    for group in ("O", "S"):
        assert_equivariant(exported[True], positions, group=group, action="rows")


def test_it_is_read_as_the_command_says_where_this_package_cannot_be_imported(tmp_path, capsys):
    assert main(["export", "softened", str(tmp_path / "softened.pt2")]) == 0
    said = capsys.readouterr().out.split("read it with: ")[1]
    assert said.startswith("torch.export.load(")
    code = (
        f"import sys, torch; sys.modules['enn_lib'] = None; forces = {said}"
        "x = 3 * torch.eye(4, 3, dtype=torch.float64)[None]; print(forces(x).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=tmp_path)
    assert done.stdout.strip() == "torch.Size([1, 4, 3])", done.stderr
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(("option", "average"), [([], True), (["--alone"], False)])
def test_the_command_writes_the_average_unless_the_network_alone_is_wanted(
    option, average, exported, tmp_path
):
    file = tmp_path / "a.pt2"
    assert main(["export", "softened", str(file), *option]) == 0
    forces, positions = torch.export.load(file).module(), sample_positions(2, seed=4)
    torch.testing.assert_close(forces(positions), exported[average](positions), rtol=1e-12, atol=1e-14)


def test_the_command_says_where_the_file_is_and_how_it_is_read(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("enn_lib.__main__.export_run", lambda run, file, average: file)
    file = tmp_path / "a b's.pt2"
    assert main(["export", "softened", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: positions (batch, 4, 3) in Å, float64, to forces in eV/Å",
        f"read it with: torch.export.load({str(file)!r}).module()",
    ]


def test_another_suffix_is_refused(tmp_path, capsys):
    assert main(["export", "softened", str(tmp_path / "a.onnx")]) == 2
    assert "file: got 'a.onnx', wanted a name that ends in .pt2" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
