"""Radial functions with smooth cutoffs, and the graph layers made of them (Eq. 30 to 35)."""

import math
import re
from itertools import permutations, product

import ase
import pytest
import torch
from ase.neighborlist import neighbor_list
from examples import all_dtypes, generator, normal
from hypothesis import given
from hypothesis import strategies as st
from torch.func import jacrev

from enn_lib.activations import VectorSoftsign
from enn_lib.graph import GaussianRadial, ScalarGraphLayer, VectorGraphLayer, polynomial_cutoff
from enn_lib.groups import assert_equivariant

CUTOFF = 5.0
ETA, CENTRES = [0.3, 1.0, 4.0], [0.0, 2.0, 3.5]
KINDS = (ScalarGraphLayer, VectorGraphLayer)


def radial(**kwargs):
    return GaussianRadial(ETA, CENTRES, CUTOFF, **kwargs)


def cosine_cutoff(distance, cutoff):
    """That of Behler and Parrinello (2007), whose second derivative jumps by pi^2 / (2 r_c^2)."""
    return torch.where(distance < cutoff, 0.5 * (torch.cos(torch.pi * distance / cutoff) + 1), 0.0)


def nodes(*shape, dtype=torch.float64, seed=0):
    return 2 * normal(*shape, dtype=dtype, seed=seed)


smooth = pytest.mark.parametrize("power", [3, 4, 6])
both_layers = pytest.mark.parametrize(
    "layer", [kind(radial(), dtype=torch.float64) for kind in KINDS], ids=KINDS
)


# Radial functions


def derivatives(function, distance):
    """The value of a function of one number and its first two derivatives, by autograd."""
    slope = jacrev(function)
    x = torch.tensor(distance, dtype=torch.float64)
    return torch.stack([function(x), slope(x), jacrev(slope)(x)])


def around_the_cutoff(function):
    """The same just inside the cutoff distance, and just outside."""
    return [derivatives(function, CUTOFF + side) for side in (-1e-9, 1e-9)]


def jumps(function):
    """How far the value and each derivative jump across the cutoff distance."""
    inside, outside = around_the_cutoff(function)
    return (outside - inside).abs()


@smooth
def test_the_cutoff_is_one_at_zero_and_zero_from_the_cutoff_on(power):
    r = torch.tensor([0.0, CUTOFF, 1.5 * CUTOFF], dtype=torch.float64)
    torch.testing.assert_close(
        polynomial_cutoff(r, CUTOFF, power), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    )


@smooth
def test_value_and_two_derivatives_of_the_cutoff_are_continuous_at_the_cutoff_distance(power):
    """What sec. 3.5 asks of f_c: they vanish on both sides."""
    inside, outside = around_the_cutoff(lambda r: polynomial_cutoff(r, CUTOFF, power))
    assert inside.abs().max() < 1e-6
    assert (outside == 0).all()


@smooth
def test_the_derivatives_that_autograd_takes_are_those_of_differences(power):
    """Also where the polynomial does not vanish: a derivative that is zero everywhere would not do."""

    def f(r):
        return polynomial_cutoff(r, CUTOFF, power)

    h, r = 1e-3, 0.7 * CUTOFF
    before, here, after = f(torch.tensor([r - h, r, r + h], dtype=torch.float64)).tolist()
    _, slope, curvature = derivatives(f, r).tolist()
    assert slope == pytest.approx((after - before) / (2 * h), rel=1e-5)
    assert curvature == pytest.approx((after - 2 * here + before) / h**2, rel=1e-4)
    assert slope < -0.1


def test_with_power_three_the_cutoff_is_the_quintic_smooth_step():
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(
        polynomial_cutoff(t * CUTOFF, CUTOFF), 1 - t**3 * (10 - 15 * t + 6 * t * t), atol=1e-14, rtol=0
    )


@smooth
def test_in_float32_the_cutoff_keeps_its_digits_where_it_is_about_to_vanish(power):
    r = CUTOFF * (1 - torch.logspace(-1, -3, 20, dtype=torch.float64)).float()
    exact = polynomial_cutoff(r.double(), CUTOFF, power).float()
    torch.testing.assert_close(polynomial_cutoff(r, CUTOFF, power), exact, rtol=1e-3, atol=0)


@given(power=st.integers(3, 9), scale=st.floats(0.1, 100))
def test_the_cutoff_falls_and_depends_on_the_ratio_of_distance_and_cutoff_alone(power, scale):
    t = torch.linspace(0, 1.2, 50, dtype=torch.float64)
    values = polynomial_cutoff(t, 1.0, power)
    assert (values.diff() <= 1e-13).all()
    torch.testing.assert_close(polynomial_cutoff(scale * t, scale, power), values, atol=1e-9, rtol=0)


def test_the_radial_functions_are_equation_32_written_letter_by_letter():
    eta, centres = [0.5, 2.0, 0.0], [1.0, 3.0, 0.0]
    r = 2.3
    f_c = 1 - 10 * (r / 6) ** 3 + 15 * (r / 6) ** 4 - 6 * (r / 6) ** 5
    expected = [math.exp(-e * (r - c) ** 2) * f_c for e, c in zip(eta, centres, strict=True)]
    features = GaussianRadial(eta, centres, 6.0)(torch.tensor(r, dtype=torch.float64))
    torch.testing.assert_close(features.tolist(), expected)


def test_two_derivatives_of_every_radial_function_are_continuous_at_the_cutoff_distance():
    assert jumps(GaussianRadial.geometric(8, 2.0, CUTOFF)).max() < 1e-5


def test_geometric_centres_grow_by_one_ratio_and_widths_with_them():
    features = GaussianRadial.geometric(4, 2.0, 32.0)
    torch.testing.assert_close(features.centres, torch.tensor([2.0, 4.0, 8.0, 16.0], dtype=torch.float64))
    torch.testing.assert_close(features.eta.rsqrt(), features.centres)


def test_the_radial_functions_keep_shape_and_dtype():
    features = GaussianRadial.geometric(5, 1.0, CUTOFF)(torch.ones(2, 3, dtype=torch.float32))
    assert features.shape == (2, 3, 5)
    assert features.dtype == torch.float32


# The graph layers


def by_loops(positions, layer, v):
    """Eq. 30 and 31 with every sum written out."""
    count, n = positions.shape
    w = layer.weight
    scalars = torch.zeros(count, w.shape[2], dtype=torch.float64)
    vectors = torch.zeros(count, n, w.shape[2], dtype=positions.dtype)
    for i, j in permutations(range(count), 2):
        u = positions[j] - positions[i]
        r = torch.linalg.vector_norm(u)
        e = layer.radial(r)
        for beta, delta, alpha in product(*map(range, w.shape)):
            term = e[beta] * v[j, delta] * w[beta, delta, alpha]
            scalars[i, alpha] += term
            vectors[i, :, alpha] += u / r * term
    return scalars, vectors


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_graph_layers_are_equations_30_and_31_written_letter_by_letter(n, dtype):
    positions, v = nodes(4, n, dtype=dtype), nodes(4, 2, seed=1)
    options = {"node_features": 2, "dtype": torch.float64}
    scalar = ScalarGraphLayer(radial(), 3, activation=torch.nn.Tanh(), generator=generator(2), **options)
    vector = VectorGraphLayer(radial(), 3, activation=VectorSoftsign(), generator=generator(2), **options)
    scalars, vectors = by_loops(positions, scalar, v)
    torch.testing.assert_close(scalar(positions, v), scalars.tanh())
    torch.testing.assert_close(vector(positions, v), VectorSoftsign()(vectors))


@pytest.fixture
def seven():
    """Positions of seven nodes; and from ASE, of every node and neighbour: node, distance and vector."""
    positions = nodes(7, 3, seed=3)
    neighbours = neighbor_list("idD", ase.Atoms("Ar7", positions.numpy()), CUTOFF)
    assert len(neighbours[0]) < 7 * 6, "no pair beyond the cutoff: a test would not see it"
    return positions, *map(torch.from_numpy, neighbours)


def test_with_the_kronecker_delta_the_scalars_are_those_of_behler_and_parrinello(seven):
    """Eq. 33 with the cutoff of 2007."""
    positions, i, distances, _ = seven
    r, (eta, r_s) = distances.unsqueeze(-1), torch.tensor([ETA, CENTRES], dtype=torch.float64)
    terms = torch.exp(-eta * (r - r_s) ** 2) * 0.5 * (torch.cos(torch.pi * r / CUTOFF) + 1)
    expected = torch.zeros(7, 3, dtype=torch.float64).index_add(0, i, terms)
    layer = ScalarGraphLayer(radial(cutoff_function=cosine_cutoff), dtype=torch.float64)
    torch.testing.assert_close(layer(positions), expected)


def test_with_the_kronecker_delta_the_vectors_are_equation_34(seven):
    positions, i, distances, vectors = seven
    layer = VectorGraphLayer(radial(), dtype=torch.float64)
    terms = (vectors / distances.unsqueeze(-1)).unsqueeze(-1) * layer.radial(distances).unsqueeze(-2)
    expected = torch.zeros(7, 3, 3, dtype=torch.float64).index_add(0, i, terms)
    torch.testing.assert_close(layer(positions), expected)


@all_dtypes
@pytest.mark.parametrize("n", [1, 3, 4])
def test_vector_descriptors_commute_with_every_unitary_operator(n, dtype):
    """Eq. 35, and Eq. 27 in C^n."""
    layer = VectorGraphLayer(radial(), 4, dtype=dtype, activation=VectorSoftsign(), generator=generator(0))
    assert_equivariant(lambda x: layer(x.mT), nodes(n, 5, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_scalar_descriptors_do_not_change_under_unitary_operators(dtype):
    layer = ScalarGraphLayer(radial(), 4, dtype=torch.float64, generator=generator(0))
    assert_equivariant(lambda x: layer(x.mT), nodes(3, 5, dtype=dtype), output_action="invariant")


@both_layers
def test_descriptors_do_not_change_under_translations(layer):
    assert_equivariant(layer, nodes(5, 3), group="T", action="rows", output_action="invariant")


@pytest.mark.parametrize("kind", KINDS)
def test_renumbering_the_nodes_renumbers_the_descriptors(kind):
    layer = kind(radial(), 4, node_features=2, dtype=torch.float64, generator=generator(0))
    x, v = nodes(6, 3), nodes(6, 2, seed=1)
    assert_equivariant(lambda x, v: layer(x, v).flatten(1), x, v, group="S", action="rows")


@both_layers
def test_a_batch_is_its_configurations_one_by_one(layer):
    positions = nodes(2, 3, 5, 3)
    torch.testing.assert_close(layer(positions)[1, 2], layer(positions[1, 2]))


@both_layers
def test_a_node_beyond_the_cutoff_is_not_seen(layer):
    positions = nodes(4, 3)
    far = torch.cat([positions, torch.full((1, 3), 100.0, dtype=torch.float64)])
    torch.testing.assert_close(layer(far)[:4], layer(positions))
    assert (layer(far)[4] == 0).all()


@both_layers
def test_second_derivatives_of_descriptors_are_right(layer):
    """By differences; a wrong second derivative would spoil training on forces from energies."""
    positions = nodes(3, 3).requires_grad_()
    assert torch.autograd.gradcheck(layer, positions)
    assert torch.autograd.gradgradcheck(layer, positions)


def across_the_cutoff(**options):
    """The largest jump of the descriptors' second derivatives as one atom leaves another's cutoff."""
    layer = VectorGraphLayer(radial(**options), dtype=torch.float64)
    pair = torch.tensor([[0.0, 0, 0], [1, 0, 0]], dtype=torch.float64)
    return jumps(lambda distance: layer(distance * pair).flatten())[2].max().item()


def test_second_derivatives_of_vector_descriptors_are_continuous_where_an_atom_leaves():
    """Sec. 3.5's condition, on what it is for; with the cutoff of 2007 it fails."""
    assert across_the_cutoff() < 1e-6
    highest = max(math.exp(-eta * (CUTOFF - r_s) ** 2) for eta, r_s in zip(ETA, CENTRES, strict=True))
    jump = highest * math.pi**2 / (2 * CUTOFF**2)
    assert across_the_cutoff(cutoff_function=cosine_cutoff) == pytest.approx(jump, rel=1e-4)


@pytest.mark.parametrize("gap", [0.0, 1e-161])  # whose square is known to one or two digits
def test_coincident_nodes_give_no_nan_and_no_direction(gap):
    positions = torch.tensor([[gap, 0, 0], [0, 0, 0]], dtype=torch.float64, requires_grad=True)
    vectors = VectorGraphLayer(radial(), dtype=torch.float64)(positions)
    assert (vectors == 0).all()
    scalars = ScalarGraphLayer(radial(), dtype=torch.float64)(positions)
    torch.testing.assert_close(scalars[0], radial()(torch.zeros((), dtype=torch.float64)))
    (vectors.sum() + scalars.sum()).backward()
    assert positions.grad.isfinite().all()


@both_layers
def test_one_node_alone_has_descriptors_zero(layer):
    assert (layer(nodes(1, 3)) == 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trainable_weight_starts_so_that_each_sum_over_beta_and_delta_has_variance_one(kind, dtype):
    layer = kind(radial(), 5000, node_features=2, dtype=dtype, generator=generator(1))
    terms = len(radial()) * 2
    assert (layer.weight.shape, layer.weight.dtype) == ((len(radial()), 2, 5000), dtype)
    assert layer.weight.abs().square().mean().item() == pytest.approx(1 / terms, rel=0.05)
    assert layer.weight.equal(
        kind(radial(), 5000, node_features=2, dtype=dtype, generator=generator(1)).weight
    )


@all_dtypes
@pytest.mark.parametrize("kind", KINDS)
def test_the_kronecker_delta_has_the_dtype_asked_for(kind, dtype):
    weight = kind(radial(), dtype=dtype).weight
    assert weight.dtype == dtype
    assert weight.squeeze(1).equal(torch.eye(3, dtype=dtype))


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("kind", KINDS)
def test_descriptors_of_single_precision_stay_so_whatever_the_default(kind):
    assert kind(radial(), dtype=torch.float32)(nodes(4, 3).float()).dtype == torch.float32


def test_the_smallest_layer_has_one_value_of_one_node_feature_and_two_radial_functions():
    layer = ScalarGraphLayer(GaussianRadial.geometric(2, 1.0, 6.0), 1, node_features=1)
    assert layer(nodes(4, 3).float()).shape == (4, 1)


def test_a_radial_function_of_width_infinity_is_the_cutoff_alone():
    r = torch.linspace(0, 7, 9, dtype=torch.float64)
    torch.testing.assert_close(GaussianRadial([0.0], [1.0], 6.0)(r).squeeze(-1), polynomial_cutoff(r, 6.0))


def test_the_hyper_parameters_are_kept_in_double_precision_and_not_among_the_weights():
    functions = GaussianRadial([0.1], [0.3], 0.5)
    assert (functions.eta.tolist(), functions.centres.tolist()) == ([0.1], [0.3])
    centres = GaussianRadial.geometric(4, 0.7, 5.0).centres
    ratios = torch.full((3,), (5.0 / 0.7) ** 0.25, dtype=torch.float64)
    torch.testing.assert_close(centres[1:] / centres[:-1], ratios, rtol=1e-14, atol=0)
    assert VectorGraphLayer(radial()).state_dict() == {}
    assert list(VectorGraphLayer(radial(), 2).state_dict()) == ["weight"]


def test_the_cutoff_may_be_another_and_is_of_power_three_unless_it_is_said():
    assert (
        GaussianRadial.geometric(3, 1.0, 5.0, cutoff_function=cosine_cutoff).cutoff_function is cosine_cutoff
    )
    r = torch.linspace(0, 6, 9, dtype=torch.float64)
    assert polynomial_cutoff(r, 5.0).equal(polynomial_cutoff(r, 5.0, power=3))


def test_the_representation_shows_how_many_functions_and_where_they_end():
    said = "GaussianRadial(2, cutoff=6.0, cutoff_function=polynomial_cutoff)"
    assert repr(GaussianRadial([1.0, 2.0], [1.0, 2.0], 6.0)) == said


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: polynomial_cutoff(torch.ones(1), 0.0), "cutoff: got 0.0, wanted a positive length"),
        (lambda: polynomial_cutoff(torch.ones(1), 1.0, 2), "power: got 2, wanted at least 3"),
        (
            lambda: GaussianRadial([1.0], [1.0, 2.0], 6.0),
            "eta, centres: got [1.0] and [1.0, 2.0], wanted finite lists of one length, eta at least 0",
        ),
        (
            lambda: GaussianRadial([], [], 6.0),
            "eta, centres: got [] and [], wanted finite lists of one length, eta at least 0",
        ),
        (
            lambda: GaussianRadial(torch.ones(2, 2), torch.ones(2, 2), 6.0),
            "eta, centres: got [[1.0, 1.0], [1.0, 1.0]] and [[1.0, 1.0], [1.0, 1.0]], "
            "wanted finite lists of one length, eta at least 0",
        ),
        (
            lambda: GaussianRadial([-1.0], [1.0], 6.0),
            "eta, centres: got [-1.0] and [1.0], wanted finite lists of one length, eta at least 0",
        ),
        *(
            (
                lambda eta=eta, centre=centre: GaussianRadial([eta], [centre], 6.0),
                f"eta, centres: got [{eta}] and [{centre}], wanted finite lists of one length, "
                "eta at least 0",
            )
            for eta, centre in ((float("inf"), 1.0), (1.0, float("nan")))
        ),
        (
            lambda: GaussianRadial([1.0], [1.0], float("nan")),
            "cutoff: got nan, wanted a positive length",
        ),
        *(
            (
                lambda numbers=numbers: GaussianRadial.geometric(*numbers),
                f"count, first, cutoff: got {', '.join(map(str, numbers))}, "
                "wanted at least 2 and 0 < first < cutoff",
            )
            for numbers in ((1, 1.0, 6.0), (4, 7.0, 6.0), (4, 6.0, 6.0), (4, 0.0, 6.0))
        ),
        (lambda: VectorGraphLayer(radial(), 0), "out_features: got 0, wanted a positive number"),
        (
            lambda: VectorGraphLayer(radial(), 1, node_features=0),
            "node_features: got 0, wanted a positive number",
        ),
        (
            lambda: VectorGraphLayer(radial(), node_features=2),
            "node_features: got 2, wanted 1 with the Kronecker delta",
        ),
        (
            lambda: VectorGraphLayer(radial())(torch.ones(3)),
            "positions: got shape (3,), wanted (..., nodes, n)",
        ),
        (
            lambda: VectorGraphLayer(radial(), 1, node_features=2)(nodes(4, 3)),
            "v: got None, wanted node features (..., 4, 2)",
        ),
        (
            lambda: VectorGraphLayer(radial())(nodes(4, 3), nodes(3, 1)),
            "v: got shape (3, 1), wanted (..., 4, 1)",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
