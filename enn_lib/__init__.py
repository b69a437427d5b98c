"""A feedforward unitary equivariant neural network (Ma and Chan 2023), and what its paper does with it."""

from enn_lib.activations import (
    DirectionalLeakyReLU,
    Gate,
    Identity,
    VectorLeakyReLU,
    VectorReLU,
    VectorSoftsign,
)
from enn_lib.argon import ARGON, ARGON_MASS, LennardJones, generate_data
from enn_lib.dynamics import Trajectory, VelocityVerlet, simulate
from enn_lib.fire import FIRE
from enn_lib.force_field import ForceField, NetworkForceField
from enn_lib.layers import EquivariantLinear
from enn_lib.network import ENN, PAPER_WIDTHS
from enn_lib.permutation import PermutationAverage
from enn_lib.runs import Run, load_run, shipped_runs
from enn_lib.scalar_features import ScalarFeatureENN
from enn_lib.training import Config, train

__all__ = [
    "ARGON",
    "ARGON_MASS",
    "ENN",
    "FIRE",
    "PAPER_WIDTHS",
    "Config",
    "DirectionalLeakyReLU",
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
    "VectorLeakyReLU",
    "VectorReLU",
    "VectorSoftsign",
    "VelocityVerlet",
    "generate_data",
    "load_run",
    "shipped_runs",
    "simulate",
    "train",
]
