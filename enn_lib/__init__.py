"""A feedforward unitary equivariant neural network (Ma and Chan 2023), and what its paper does with it."""

from importlib import import_module
from typing import TYPE_CHECKING

from enn_lib.activations import Gate, Identity, VectorSoftsign
from enn_lib.argon import ARGON, ARGON_MASS, LennardJones, generate_data
from enn_lib.dynamics import Trajectory, VelocityVerlet, simulate
from enn_lib.fire import FIRE
from enn_lib.force_field import ForceField, NetworkForceField
from enn_lib.layers import EquivariantLinear
from enn_lib.network import ENN, PAPER_WIDTHS
from enn_lib.permutation import PermutationAverage
from enn_lib.scalar_features import ScalarFeatureENN

if TYPE_CHECKING:
    from enn_lib.runs import Run, load_run, shipped_runs
    from enn_lib.settings import Config
    from enn_lib.training import train

__all__ = [
    "ARGON",
    "ARGON_MASS",
    "ENN",
    "FIRE",
    "PAPER_WIDTHS",
    "Config",
    "EquivariantLinear",
    "ForceField",
    "Gate",
    "Identity",
    "LennardJones",
    "NetworkForceField",
    "PermutationAverage",
    "Run",
    "ScalarFeatureENN",
    "Trajectory",
    "VectorSoftsign",
    "VelocityVerlet",
    "generate_data",
    "load_run",
    "shipped_runs",
    "simulate",
    "train",
]

_LATER = dict.fromkeys(("Run", "load_run", "shipped_runs"), "runs")
_LATER |= {"Config": "settings", "train": "training"}


def __getattr__(name: str):
    """Import what needs pydantic only when it is asked for: that takes a tenth of a second."""
    if name in _LATER:
        return getattr(import_module(f"enn_lib.{_LATER[name]}"), name)
    raise AttributeError(f"module 'enn_lib' has no attribute {name!r}")
