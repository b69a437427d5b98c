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


@pytest.fixture(scope="module", params=[True, False], ids=["average", "alone"])
def exported(request, tmp_path_factory):
    """The softened run, averaged, as without further words, or alone; written and read back. And itself."""
    file, run = tmp_path_factory.mktemp("export") / "softened.pt2", load_run("softened")
    if request.param:
        return torch.export.load(export_run(run, file)).module(), PermutationAverage(run.force_field)
    return torch.export.load(export_run(run, file, average=False)).module(), run.force_field


@pytest.mark.parametrize("batch", [1, 2, 3, 50])
def test_a_file_read_back_gives_the_same_forces(exported, batch):
    positions, (module, field) = sample_positions(batch, seed=4), exported
    torch.testing.assert_close(module(positions), field.forces(positions), rtol=1e-12, atol=1e-14)


def test_the_weights_are_parameters_that_can_be_read(exported):
    weights = load_run("softened").force_field.network.named_parameters()
    wanted = {f"network.{name}": weight for name, weight in weights}
    torch.testing.assert_close(dict(exported[0].named_parameters()), wanted)


def test_it_keeps_the_symmetries(exported):
    module, field = exported
    for group in ("O", "S") if isinstance(field, PermutationAverage) else ("O",):
        assert_equivariant(module, sample_positions(5, seed=4), group=group, action="rows")


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


@pytest.mark.parametrize("option", [[], ["--alone"]])
def test_the_command_writes_the_average_unless_the_network_alone_is_wanted(option, tmp_path):
    file, field = tmp_path / "a.pt2", load_run("softened").force_field
    assert main(["export", "softened", str(file), *option]) == 0
    positions = sample_positions(2, seed=4)
    wanted = (field if option else PermutationAverage(field)).forces(positions)
    torch.testing.assert_close(torch.export.load(file).module()(positions), wanted, rtol=1e-12, atol=1e-14)


def test_the_command_says_where_the_file_is_and_how_it_is_read(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("enn_lib.__main__.export_run", lambda run, file, average: file)
    file = tmp_path / "a b's.pt2"
    assert main(["export", "softened", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: positions (batch, 4, 3) in Å, float64, to forces in eV/Å",
        f"read it with: torch.export.load({str(file)!r}).module()",
    ]


def test_the_file_may_be_a_string(tmp_path):
    file = tmp_path / "a.pt2"
    assert export_run(load_run("softened"), str(file), average=False) == file
    assert file.exists()


def test_another_suffix_is_refused(tmp_path, capsys):
    assert main(["export", "softened", str(tmp_path / "a.onnx")]) == 2
    assert "file: got 'a.onnx', wanted a name that ends in .pt2" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
