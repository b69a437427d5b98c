"""Sums and graph layers (Eq. 28 to 31, 33 to 35), and the force field made of them."""

import math

import ase
import pytest
import torch
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.activations import VectorSoftsign
from enn_lib.argon import ARGON, sample_positions
from enn_lib.graph import PermutationSum, ScalarGraphLayer, VectorGraphLayer
from enn_lib.graph_force_field import GraphForceField, fit_graph_force_field
from enn_lib.groups import assert_equivariant
from enn_lib.network import ENN
from enn_lib.radial import GaussianRadial, cosine_cutoff

CUTOFF = 5.0
ETA, CENTRES = [0.3, 1.0, 4.0], [0.0, 2.0, 3.5]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def radial(**kwargs):
    return GaussianRadial(ETA, CENTRES, CUTOFF, **kwargs)


def nodes(*shape, dtype=torch.float64, seed=0):
    return 2 * torch.randn(shape, dtype=dtype, generator=generator(seed))


def columns(layer, v=None):
    """A graph layer as a function of columns, for `assert_equivariant`: (n, nodes) -> (nodes, n, M)."""
    return lambda x: layer(x.mT, v)


# Sums


def test_the_sum_of_one_kind_is_equation_28():
    layer = PermutationSum(1, dtype=torch.float64, generator=generator(0))
    x = nodes(3, 5)
    torch.testing.assert_close(layer(x).squeeze(-1), sum(x[:, i] for i in range(5)) * layer.weight.squeeze())


def test_the_sum_over_kinds_is_equation_29_written_letter_by_letter():
    layer = PermutationSum(2, kinds=3, dtype=torch.float64, generator=generator(0))
    x, kind = nodes(3, 5), [0, 1, 0, 2, 1]
    v = torch.eye(3, dtype=torch.float64)[kind]
    expected = torch.zeros(3, 2, dtype=torch.float64)
    for i in range(5):
        for delta in range(3):
            for alpha in range(2):
                expected[:, alpha] += x[:, i] * v[i, delta] * layer.weight[delta, alpha]
    torch.testing.assert_close(layer(x, v), expected)


@given(count=st.integers(1, 8), seed=st.integers(0, 1000))
def test_the_sum_does_not_depend_on_the_order_within_a_kind(count, seed):
    """Eq. 26: both parts are permuted, each in itself."""
    layer = PermutationSum(4, kinds=2, dtype=torch.float64, generator=generator(seed))
    x = nodes(3, 2 * count, seed=seed)
    v = torch.eye(2, dtype=torch.float64).repeat_interleave(count, dim=0)
    order = torch.cat([
        torch.randperm(count, generator=generator(seed)),
        count + torch.randperm(count, generator=generator(seed + 1)),
    ])  # fmt: skip
    torch.testing.assert_close(layer(x[:, order], v), layer(x, v))


def test_the_sum_tells_kinds_apart():
    layer = PermutationSum(1, kinds=2, dtype=torch.float64, generator=generator(0))
    x, v = nodes(3, 2), torch.eye(2, dtype=torch.float64)
    assert not torch.allclose(layer(x, v), layer(x.flip(-1), v))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_the_sum_commutes_with_every_unitary_operator(dtype):
    layer = PermutationSum(4, dtype=dtype, generator=generator(0))
    assert_equivariant(layer, nodes(2, 3, 5, dtype=dtype))


# The graph layers


def by_loops(positions, layer, v):
    """Eq. 30 and 31 with every sum written out."""
    count, n = positions.shape
    w = layer.weight
    scalars = torch.zeros(count, w.shape[2], dtype=torch.float64)
    vectors = torch.zeros(count, n, w.shape[2], dtype=positions.dtype)
    for i in range(count):
        for j in range(count):
            if i == j:
                continue
            u = positions[j] - positions[i]
            r = torch.linalg.vector_norm(u)
            e = layer.radial(r)
            for beta in range(w.shape[0]):
                for delta in range(w.shape[1]):
                    for alpha in range(w.shape[2]):
                        term = e[beta] * v[j, delta] * w[beta, delta, alpha]
                        scalars[i, alpha] += term
                        vectors[i, :, alpha] += u / r * term
    return scalars, vectors


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_graph_layers_are_equations_30_and_31_written_letter_by_letter(n):
    positions, v = nodes(4, n), nodes(4, 2, seed=1)
    options = {"node_features": 2, "dtype": torch.float64}
    scalar = ScalarGraphLayer(radial(), 3, activation=torch.nn.Tanh(), generator=generator(2), **options)
    vector = VectorGraphLayer(radial(), 3, activation=VectorSoftsign(), generator=generator(2), **options)
    scalars, vectors = by_loops(positions, scalar, v)
    torch.testing.assert_close(scalar(positions, v), scalars.tanh())
    torch.testing.assert_close(vector(positions, v), VectorSoftsign()(vectors))


def test_with_the_kronecker_delta_the_scalars_are_those_of_behler_and_parrinello():
    """Eq. 33 with the cutoff of 2007; neighbours and distances from ASE."""
    positions = nodes(7, 3, seed=3)
    i, distances = neighbor_list("id", ase.Atoms("Ar7", positions.numpy()), CUTOFF)
    i, distances = torch.from_numpy(i), torch.from_numpy(distances)
    f_c = 0.5 * (torch.cos(torch.pi * distances / CUTOFF) + 1)
    expected = torch.zeros(7, 3, dtype=torch.float64)
    for alpha, (eta, r_s) in enumerate(zip(ETA, CENTRES, strict=True)):
        expected[:, alpha].index_add_(0, i, torch.exp(-eta * (distances - r_s) ** 2) * f_c)
    layer = ScalarGraphLayer(radial(cutoff_function=cosine_cutoff), dtype=torch.float64)
    torch.testing.assert_close(layer(positions), expected)
    assert len(distances) < 7 * 6, "no pair beyond the cutoff: the test would not see it"


def test_with_the_kronecker_delta_the_vectors_are_equation_34():
    """Neighbours and their vectors from ASE."""
    positions = nodes(7, 3, seed=3)
    i, distances, vectors = map(
        torch.from_numpy, neighbor_list("idD", ase.Atoms("Ar7", positions.numpy()), CUTOFF)
    )
    layer = VectorGraphLayer(radial(), dtype=torch.float64)
    terms = (vectors / distances.unsqueeze(-1)).unsqueeze(-1) * layer.radial(distances).unsqueeze(-2)
    expected = torch.zeros(7, 3, 3, dtype=torch.float64).index_add(0, i, terms)
    torch.testing.assert_close(layer(positions), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
@pytest.mark.parametrize("n", [1, 3, 4])
def test_vector_descriptors_commute_with_every_unitary_operator(n, dtype):
    """Eq. 35, and Eq. 27 in C^n."""
    layer = VectorGraphLayer(radial(), 4, dtype=dtype, activation=VectorSoftsign(), generator=generator(0))
    assert_equivariant(columns(layer), nodes(n, 5, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_scalar_descriptors_do_not_change_under_unitary_operators(dtype):
    layer = ScalarGraphLayer(radial(), 4, dtype=torch.float64, generator=generator(0))
    assert_equivariant(columns(layer), nodes(3, 5, dtype=dtype), output_action="invariant")


@pytest.mark.parametrize("kind", [ScalarGraphLayer, VectorGraphLayer])
def test_descriptors_do_not_change_under_translations(kind):
    layer = kind(radial(), dtype=torch.float64)
    assert_equivariant(layer, nodes(5, 3), group="T", action="rows", output_action="invariant")


@pytest.mark.parametrize("kind", [ScalarGraphLayer, VectorGraphLayer])
def test_renumbering_the_nodes_renumbers_the_descriptors(kind):
    layer = kind(radial(), 4, node_features=2, dtype=torch.float64, generator=generator(0))
    assert_equivariant(
        lambda x, v: layer(x, v).flatten(1),
        nodes(6, 3),
        nodes(6, 2, seed=1),
        group="S",
        action="rows",
    )


@pytest.mark.parametrize("kind", [ScalarGraphLayer, VectorGraphLayer])
def test_a_batch_is_its_configurations_one_by_one(kind):
    layer = kind(radial(), dtype=torch.float64)
    positions = nodes(2, 3, 5, 3)
    torch.testing.assert_close(layer(positions)[1, 2], layer(positions[1, 2]))


@pytest.mark.parametrize("kind", [ScalarGraphLayer, VectorGraphLayer])
def test_a_node_beyond_the_cutoff_is_not_seen(kind):
    layer = kind(radial(), dtype=torch.float64)
    positions = nodes(4, 3)
    far = torch.cat([positions, torch.full((1, 3), 100.0, dtype=torch.float64)])
    torch.testing.assert_close(layer(far)[:4], layer(positions))
    assert (layer(far)[4] == 0).all()


@pytest.mark.parametrize("kind", [ScalarGraphLayer, VectorGraphLayer])
def test_second_derivatives_of_descriptors_are_right(kind):
    """By differences; a wrong second derivative would spoil training on forces from energies."""
    layer = kind(radial(), dtype=torch.float64)
    positions = nodes(3, 3).requires_grad_()
    assert torch.autograd.gradcheck(layer, positions)
    assert torch.autograd.gradgradcheck(layer, positions)


def across_the_cutoff(layer):
    """The largest jump of the descriptors' second derivatives as one atom leaves another's cutoff."""

    def curvature(distance):
        x = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
        zero = torch.zeros_like(x)
        descriptors = layer(torch.stack([torch.stack([zero, zero, zero]), torch.stack([x, zero, zero])]))
        second = []
        for component in descriptors[:, 0].flatten():
            (slope,) = torch.autograd.grad(component, x, create_graph=True)
            second.append(torch.autograd.grad(slope, x, retain_graph=True)[0])
        return torch.stack(second)

    return (curvature(CUTOFF + 1e-9) - curvature(CUTOFF - 1e-9)).abs().max().item()


def test_second_derivatives_of_vector_descriptors_are_continuous_where_an_atom_leaves():
    """Sec. 3.5's condition, on what it is for; with the cutoff of 2007 it fails."""
    assert across_the_cutoff(VectorGraphLayer(radial(), dtype=torch.float64)) < 1e-6
    cosine = radial(cutoff_function=cosine_cutoff)
    jump = (
        math.pi**2
        / (2 * CUTOFF**2)
        * math.exp(-min(e * (CUTOFF - c) ** 2 for e, c in zip(ETA, CENTRES, strict=True)))
    )
    found = across_the_cutoff(VectorGraphLayer(cosine, dtype=torch.float64))
    assert found == pytest.approx(jump, rel=1e-4)


def test_coincident_nodes_give_no_nan_and_no_direction():
    positions = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    vectors = VectorGraphLayer(radial(), dtype=torch.float64)(positions)
    assert (vectors == 0).all()
    scalars = ScalarGraphLayer(radial(), dtype=torch.float64)(positions)
    torch.testing.assert_close(scalars[0], radial()(torch.zeros((), dtype=torch.float64)))
    (vectors.sum() + scalars.sum()).backward()
    assert positions.grad.isfinite().all()


def test_one_node_alone_has_descriptors_zero():
    assert (VectorGraphLayer(radial(), dtype=torch.float64)(nodes(1, 3)) == 0).all()
    assert (ScalarGraphLayer(radial(), dtype=torch.float64)(nodes(1, 3)) == 0).all()


# A force field for any number of atoms


@pytest.fixture(scope="module")
def small_field():
    """Trained for a moment on four atoms."""
    layer = VectorGraphLayer(GaussianRadial.geometric(12, 2.6, 9.0), dtype=torch.float64)
    network = ENN((12, 8, 1), softening=1.0, dtype=torch.float64, generator=generator(0))
    positions = sample_positions(300, 0)
    return fit_graph_force_field(layer, network, positions, ARGON.forces(positions), steps=300)


@pytest.mark.parametrize("n_atoms", [2, 3, 5, 7])
@pytest.mark.parametrize(("group", "output_action"), [("O", "rows"), ("S", "rows"), ("T", "invariant")])
def test_forces_have_every_symmetry_for_any_number_of_atoms(small_field, n_atoms, group, output_action):
    field, _ = small_field
    positions = sample_positions(3, 1, n_atoms=n_atoms)
    assert_equivariant(field.forces, positions, group=group, action="rows", output_action=output_action)


@pytest.mark.parametrize("n_atoms", [3, 4, 5, 13])
def test_a_short_training_on_four_atoms_beats_predicting_zero_for_other_numbers(small_field, n_atoms):
    field, losses = small_field
    assert losses[-1] < 0.1 < losses[0]
    positions = sample_positions(50, 2, n_atoms=n_atoms)
    forces = ARGON.forces(positions)
    assert (field.forces(positions) - forces).square().mean() < 0.05 * forces.square().mean()


def test_forces_on_atoms_out_of_reach_are_zero(small_field):
    field, _ = small_field
    positions = torch.tensor([[0.0, 0, 0], [9.01, 0, 0]], dtype=torch.float64)
    assert (field.forces(positions) == 0).all()


def test_softened_unit_vectors_keep_the_forces_continuous_at_the_cutoff_and_hard_ones_do_not():
    """A unit vector has length one however short its vector is: it undoes the cutoff."""
    layer = VectorGraphLayer(GaussianRadial.geometric(4, 2.6, CUTOFF), dtype=torch.float64)

    def jump(softening):
        network = ENN((4, 5, 1), softening=softening, dtype=torch.float64, generator=generator(0))
        with torch.no_grad():
            network.layers[0].bias.copy_(network.layers[0].weight)
        field = GraphForceField(layer, network, torch.ones(4, dtype=torch.float64), 1.0)
        pair = torch.tensor([[0.0, 0, 0], [CUTOFF, 0, 0]], dtype=torch.float64)
        return (field.forces(pair * (1 - 1e-4)) - field.forces(pair * (1 + 1e-4))).abs().max().item()

    assert jump(0.5) < 1e-6
    assert jump(0.0) > 0.1


def test_the_scales_are_root_mean_squares_over_all_atoms_and_directions():
    layer = VectorGraphLayer(GaussianRadial.geometric(3, 2.6, 9.0), dtype=torch.float64)
    network = ENN((3, 1), dtype=torch.float64, generator=generator(0))
    positions = sample_positions(20, 0)
    forces = ARGON.forces(positions)
    field, _ = fit_graph_force_field(layer, network, positions, forces, steps=1)
    expected = (layer(positions) ** 2).reshape(-1, 3).mean(dim=0).sqrt()
    torch.testing.assert_close(field.descriptor_scales, expected)
    assert field.force_scale == pytest.approx((forces**2).mean().item() ** 0.5)


def test_a_descriptor_that_no_data_reach_stays_zero():
    layer = VectorGraphLayer(GaussianRadial([1e6, 1.0], [0.0, 3.0], 9.0), dtype=torch.float64)
    network = ENN((2, 1), dtype=torch.float64, generator=generator(0))
    positions = sample_positions(10, 0)
    field, losses = fit_graph_force_field(layer, network, positions, ARGON.forces(positions), steps=2)
    assert field.descriptor_scales[0] == 1.0
    assert torch.tensor(losses).isfinite().all()


# Bad input


def linear(widths):
    return ENN(widths, dtype=torch.float64, generator=generator(0))


def field(widths, scales=3):
    layer = VectorGraphLayer(radial(), dtype=torch.float64)
    return GraphForceField(layer, linear(widths), torch.ones(scales), 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PermutationSum(0), "out_vectors: got 0"),
        (lambda: PermutationSum(1, kinds=0), "kinds: got 0"),
        (lambda: PermutationSum(1, kinds=2)(torch.ones(3, 4)), "v: got None"),
        (lambda: PermutationSum(1, kinds=2)(torch.ones(3, 4), torch.ones(3, 2)), r"v: got shape \(3, 2\)"),
        (lambda: VectorGraphLayer(radial(), 0), "out_features: got 0"),
        (lambda: VectorGraphLayer(radial(), 1, node_features=0), "node_features: got 0"),
        (lambda: VectorGraphLayer(radial(), node_features=2), "node_features: got 2, wanted 1"),
        (lambda: VectorGraphLayer(radial())(torch.ones(3)), r"positions: got shape \(3,\)"),
        (lambda: field((2, 1)), r"network, descriptor_scales: got widths \(2, 1\)"),
        (lambda: field((3, 2)), r"network, descriptor_scales: got widths \(3, 2\)"),
        (lambda: field((3, 1), scales=2), r"network, descriptor_scales: .* shape \(2,\)"),
        (lambda: field((3, 1)).forces(torch.full((2, 3), torch.nan)), "positions: got 6 entries"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_training_names_forces_of_another_shape_and_trainable_descriptors():
    positions = sample_positions(4, 0)
    fixed = VectorGraphLayer(radial(), dtype=torch.float64)
    with pytest.raises(ValueError, match="forces: got shape"):
        fit_graph_force_field(fixed, linear((3, 1)), positions, positions[:2], steps=1)
    trainable = VectorGraphLayer(radial(), 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="layer: got trainable weights"):
        fit_graph_force_field(trainable, linear((3, 1)), positions, positions, steps=1)
