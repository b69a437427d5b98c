"""The network seen as a source of forces."""

import pytest
import torch

from enn_lib.activations import VectorSoftsign
from enn_lib.argon import ARGON, Scales, sample_positions
from enn_lib.force_field import ForceField, NetworkForceField
from enn_lib.groups import assert_equivariant
from enn_lib.network import ENN
from enn_lib.permutation import PermutationAverage

SCALES = Scales(position=4.5, force=0.13)


def make(dtype=torch.float64, **options):
    options = {"activation": VectorSoftsign(0.3)} | options
    net = ENN((6, 7, 4), dtype=dtype, generator=torch.Generator().manual_seed(0), **options)
    with torch.no_grad():
        for layer in net.layers:
            layer.bias.normal_(generator=torch.Generator().manual_seed(1))
    return NetworkForceField(net, SCALES)


@pytest.fixture(scope="module")
def positions():
    return sample_positions(20, seed=3)


def test_the_potential_the_network_and_the_average_are_all_force_fields():
    field = make()
    for source in (ARGON, field, PermutationAverage(field)):
        assert isinstance(source, ForceField)
    assert not isinstance(SCALES, ForceField)


def test_positions_go_in_scaled_and_relative_and_forces_come_out_in_units(positions):
    """F_a = s_F net(r_ij / s_r)_a (Eq. 41, 42), one configuration and one pair at a time."""
    field = make()
    for r, actual in zip(positions, field.forces(positions), strict=True):
        columns = [r[j] - r[i] for i in range(4) for j in range(i + 1, 4)]
        out = field.network(torch.stack(columns, dim=1) / 4.5)
        torch.testing.assert_close(actual, 0.13 * out.T.detach())


def test_forces_turn_with_the_atoms_and_do_not_feel_translations(positions):
    assert_equivariant(make().forces, positions, group="O", action="rows")
    assert_equivariant(make().forces, positions, group="T", action="rows", output_action="invariant")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forces_have_the_dtype_of_the_positions_whatever_the_network_s(dtype, positions):
    assert make(torch.float32).forces(positions.to(dtype)).dtype == dtype


def test_a_batch_of_any_shape_is_the_single_results_put_together(positions):
    field = make()
    single = torch.stack([field.forces(p) for p in positions])
    torch.testing.assert_close(field.forces(positions.reshape(2, 10, 4, 3)).reshape(20, 4, 3), single)


def test_in_another_dtype_it_is_the_same_network(positions):
    """With activations and softening too, and a copy: the first one keeps its parameters."""
    low = make(torch.float32, output_activation=VectorSoftsign(0.2), softening=0.4)
    high = low.to(torch.float64)
    assert high.network.dtype == torch.float64
    torch.testing.assert_close(high.forces(positions), low.forces(positions), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        high.network.layers[0].stacked.zero_()
    assert (low.network.layers[0].weight != 0).all()


def test_no_gradients_are_kept(positions):
    assert not make().forces(positions).requires_grad


@pytest.mark.parametrize("shape", [(5, 3), (4, 2), (3, 3), (4,)])
def test_anything_but_four_atoms_is_refused(shape):
    with pytest.raises(ValueError, match=r"positions: got shape .*, wanted \(..., 4, 3\)"):
        make().forces(torch.ones(shape))


def test_positions_that_are_not_finite_are_refused(positions):
    broken = positions.clone()
    broken[0, 1, 2] = float("inf")
    with pytest.raises(ValueError, match="positions: got 1 entries that are NaN or infinite"):
        make().forces(broken)


def test_a_network_of_other_widths_is_refused():
    with pytest.raises(ValueError, match=r"network: got n = 3 and widths \(5, 4\), wanted n = 3"):
        NetworkForceField(ENN((5, 4)), SCALES)
    with pytest.raises(ValueError, match=r"network: got n = 2 and widths \(6, 4\), wanted n = 3"):
        NetworkForceField(ENN((6, 4), n=2), SCALES)
