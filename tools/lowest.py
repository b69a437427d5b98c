"""Whether the library works from its wheel with the oldest versions that it allows, and nothing else there.

    python tools/lowest.py                  with the torch of constraints.txt
    python tools/lowest.py --torch lowest   with its lower bound, too

The wheel goes into a virtual environment that was empty, with the lower bounds of ``pyproject.toml``. There
the library is used without matplotlib, ASE, git and a compiler; then ASE and pytest come, and its own tests
run. On Linux pip takes a build of torch for GPUs, of several GB, unless the version is one that has none; so
the version of ``constraints.txt`` is tried unless another is asked for.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from notebooks import tracked_copy
from pages import ROOT, pinned, venv_python

USE = """
import importlib.util, pathlib, shutil
assert not any(map(importlib.util.find_spec, ("matplotlib", "ase"))), "more is installed than asked for"
assert not any(map(shutil.which, ("git", "g++", "clang++"))), "git or a compiler is on the path"
import torch
from enn_lib import ENN, Config, load_run, simulate, train
from enn_lib.dynamics import paper_initial_conditions
from enn_lib.evaluation import write_metrics
from enn_lib.groups import assert_equivariant
assert_equivariant(ENN([6, 50, 4]), torch.randn(10, 3, 6))
for name in ("reference", "softened"):
    path = simulate(load_run(name).force_field, *paper_initial_conditions(2), 20)
    assert path.positions.isfinite().all()
folder = pathlib.Path("run")
train(Config(n_configurations=200, widths=(6, 5, 4), batch_size=50, iterations=20), folder)
metrics = write_metrics(load_run(folder))
assert 0 < metrics["test"]["network"]["rmsd_component"] < 1
"""
"""What a practitioner does: import, load, check, simulate, train and measure."""


def lower_bounds(requirements: list[str]) -> list[str]:
    """The oldest versions that some requirements of ``pyproject.toml`` allow, as pins."""
    return [re.sub(r"[>=]=([\d.]+).*", r"==\1", requirement) for requirement in requirements]


def check(torch: str) -> None:
    """Raise CalledProcessError if a step fails."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = lower_bounds(project["dependencies"])
    if torch == "pinned":
        core = [pin for pin in core if not pin.startswith("torch==")] + pinned("torch")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        copy = tracked_copy(place / "checkout")
        subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
        python = venv_python(place / "venv")
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", place, copy], check=True)
        (wheel,) = place.glob("*.whl")
        print("with", ", ".join(core), flush=True)
        subprocess.run([*pip, "install", "--quiet", wheel, *core], check=True)
        quiet = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"TQDM_DISABLE": "1"}
        alone = quiet | {"PATH": str(place / "nothing")}
        warned = ["-W", "ignore:no C:UserWarning"]  # that it trains without a compiler
        subprocess.run([python, *warned, "-c", USE], cwd=place, env=alone, check=True)
        print("used without matplotlib, ASE, git and a compiler", flush=True)
        tools = pinned("pytest", "pytest-xdist", "hypothesis")
        ase = lower_bounds(project["optional-dependencies"]["ase"])
        subprocess.run([*pip, "install", "--quiet", *ase, *core, *tools], check=True)
        shutil.rmtree(copy / "enn_lib")  # what is tested is what is installed
        shutil.rmtree(copy / "enn_book")
        # What an old version warns of is not ours to mend.
        tests = ["-q", "-n", "2", "-W", "default", "-p", "no:cacheprovider", "tests/enn_lib"]
        subprocess.run([python, "-m", "pytest", *tests], cwd=copy, env=quiet, check=True)


def main() -> None:
    """Run the command line; the exit status is 1 if a step fails."""
    parser = argparse.ArgumentParser(description="Try the library with the oldest versions that it allows.")
    parser.add_argument("--torch", choices=("pinned", "lowest"), default="pinned", help="which torch")
    try:
        check(parser.parse_args().torch)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: exit status {error.returncode} of {error.cmd[1:4]}")


if __name__ == "__main__":
    main()
