"""A run's force field as one file that needs torch alone: positions in, forces out, by ``torch.export``."""

from pathlib import Path

import torch
from torch import Tensor, nn

from enn_lib.argon import sample_positions
from enn_lib.permutation import PermutationAverage
from enn_lib.runs import Run
from enn_lib.storage import replacing


class _Module(nn.Module):
    """The forces of a run as a module, which can be traced."""

    def __init__(self, run: Run, average: bool):
        super().__init__()
        self.network = (field := run.force_field).network  # so that its parameters are the module's
        self.field = PermutationAverage(field) if average else field

    def forward(self, positions: Tensor) -> Tensor:
        return self.field.forces(positions)


def export_run(run: Run, path: str | Path, *, average: bool = True) -> Path:
    """Write the force field of a run as a ``.pt2`` file, for any number of configurations at a time.

    Read it back, where this package is not installed, with ``torch.export.load(path).module()``: it maps
    positions ``(batch, 4, 3)`` in Å, float64, to forces in eV/Å.

    Args:
        run: any run.
        path: of the file; written beside and renamed.
        average: over the 24 permutations of the atoms.

    Returns:
        The path.

    Raises:
        ValueError: if the name does not end in ``.pt2``.
    """
    path = Path(path)
    if path.suffix != ".pt2":
        raise ValueError(f"file: got {path.name!r}, wanted a name that ends in .pt2")
    example = sample_positions(2, seed=0)
    any_number = torch.export.Dim("batch")
    program = torch.export.export(_Module(run, average), (example,), dynamic_shapes=({0: any_number},))
    # torch insists on the suffix .pt2, which a part does not have; a stream has no name.
    with replacing(path) as part, open(part, "wb") as file:
        torch.export.save(program, file)
    return path
