"""The groups' actions, and the public check of equivariance: what it accepts, rejects, and says."""

import re

import pytest
import torch
from examples import OneDevice, biased_network, generator, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from enn_lib import ARGON, NetworkForceField, PermutationAverage
from enn_lib.argon import Scales, sample_positions
from enn_lib.groups import (
    TOLERANCES,
    act,
    assert_equivariant,
    equivariance_error,
    random_element,
    random_unitary,
)


def product(group, first, second):
    """The member of the group that does `second` and then `first`."""
    if group == "S":
        return first[second]
    return first + second if group == "T" else first @ second


def vectors(n, m, dtype=torch.float64, seed=0):
    return normal(2, n, m, dtype=dtype, seed=seed)


@settings(max_examples=60)
@given(
    group=st.sampled_from(["U", "O", "SO", "S", "T"]),
    action=st.sampled_from(["columns", "rows", "invariant"]),
    dtype=st.sampled_from(list(TOLERANCES)),
    n=st.integers(1, 6),
    seed=st.integers(0, 2**31),
)
def test_each_action_turns_products_into_compositions(group, action, dtype, n, seed):
    """T_(gh) = T_g T_h: what makes it a group action (sec. 3.1)."""
    x = vectors(n, n, dtype, seed)
    g, h = (random_element(group, n, dtype=dtype, seed=seed + k) for k in range(2))
    once = act(group, product(group, g, h), x, action)
    twice = act(group, g, act(group, h, x, action), action)
    torch.testing.assert_close(once, twice, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


def test_the_operator_multiplies_each_vector():
    """Eq. 2."""
    x, operator = vectors(3, 4, torch.complex128)[0], random_element("U", 3, dtype=torch.complex128, seed=0)
    expected = torch.stack([operator @ vector for vector in x.unbind(dim=1)], dim=1)
    torch.testing.assert_close(act("U", operator, x), expected)
    torch.testing.assert_close(act("U", operator, x.mT, "rows"), expected.mT)


@pytest.mark.parametrize(
    ("group", "n", "dtype"),
    [
        ("O", 1, torch.float64),
        ("O", 3, torch.complex128),
        ("U", 3, torch.float64),
        *((group, n, torch.float64) for group in "OS" for n in (2, 3, 5)),
    ],
)
def test_two_consecutive_seeds_give_both_halves_of_the_orthogonal_group_and_of_the_permutations(
    group, n, dtype
):
    unit = torch.eye(n, dtype=dtype)
    matrices = torch.stack(
        [act(group, random_element(group, n, dtype=dtype, seed=s), unit) for s in range(4)]
    )
    assert torch.linalg.det(matrices).real.round().tolist() == [-1, 1, -1, 1]


def test_the_only_permutation_of_one_vector_is_none():
    assert [random_element("S", 1, seed=s).tolist() for s in range(2)] == [[0], [0]]


@pytest.mark.parametrize("group", ["U", "O", "SO", "T"])
@pytest.mark.parametrize("pair", [(torch.float32, torch.float64), (torch.complex64, torch.complex128)])
def test_a_seed_stands_for_the_same_element_in_either_precision(group, pair):
    low, high = (random_element(group, 3, dtype=dtype, seed=1) for dtype in pair)
    assert low.equal(high.to(low.dtype))


@pytest.mark.parametrize("group", ["U", "SO"])
def test_a_seed_stands_for_the_matrix_that_a_generator_of_that_seed_gives(group):
    for seed in range(4):
        matrix = random_unitary(3, group=group, generator=generator(seed))
        assert random_element(group, 3, dtype=torch.complex128, seed=seed).equal(matrix)


def test_a_seed_stands_for_the_same_permutation_every_time():
    assert random_element("S", 20, seed=1).equal(random_element("S", 20, seed=1))
    assert not random_element("S", 20, seed=1).equal(random_element("S", 20, seed=3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_translations_are_normal_with_imaginary_parts_where_there_are_any_and_of_double_precision(dtype):
    t = random_element("T", 10_000, dtype=dtype, seed=0)
    assert t.dtype == dtype
    parts = torch.view_as_real(t) if dtype.is_complex else t.unsqueeze(-1)
    assert (parts.square().mean(dim=0) * parts.shape[-1] - 1).abs().max() < 0.05
    assert (parts != parts.float()).any(dim=0).all()


def test_a_permutation_moves_vector_i_to_place_element_i():
    element = torch.tensor([2, 0, 1])
    x = torch.tensor([[10.0, 11.0, 12.0]])
    assert act("S", element, x).tolist() == [[11.0, 12.0, 10.0]]
    assert act("S", element, x.mT, "rows").flatten().tolist() == [11.0, 12.0, 10.0]


@pytest.mark.parametrize(
    ("group", "output_action"), [("O", "rows"), ("SO", "rows"), ("S", "rows"), ("T", "invariant")]
)
def test_argon_forces_turn_permute_and_do_not_feel_translations(group, output_action):
    positions = sample_positions(20, seed=0)
    assert_equivariant(ARGON.forces, positions, group=group, action="rows", output_action=output_action)


@pytest.mark.parametrize("group", ["O", "S", "T"])
def test_argon_energy_is_invariant(group):
    positions = sample_positions(20, seed=0)
    assert_equivariant(ARGON.energy, positions, group=group, action="rows", output_action="invariant")


def test_the_cross_product_is_equivariant_under_rotations_only():
    def cross(x):
        return torch.linalg.cross(x[..., :1], x[..., 1:], dim=-2)

    x = vectors(3, 2)
    assert_equivariant(cross, x, group="SO")
    with pytest.raises(AssertionError, match=r"O\(3\)"):
        assert_equivariant(cross, x, group="O", n_operators=1)


def test_a_real_map_that_mixes_real_and_imaginary_parts_is_orthogonal_but_not_unitary():
    x = vectors(3, 2, torch.complex128)
    assert_equivariant(torch.conj, x, group="O")
    with pytest.raises(AssertionError, match=r"U\(3\)"):
        assert_equivariant(torch.conj, x, group="U", n_operators=1)


def test_the_sign_of_a_permutation_is_not_taken_for_an_invariant():
    x = vectors(3, 3)
    with pytest.raises(AssertionError, match=r"S\(3\)"):
        assert_equivariant(torch.linalg.det, x, group="S", output_action="invariant", n_operators=1)


def test_a_mean_is_equivariant_under_translations_and_invariant_under_permutations():
    def mean(x):
        return x.mean(dim=-1, keepdim=True)

    x = vectors(3, 5, torch.complex64)
    assert_equivariant(mean, x, group="T")
    assert_equivariant(mean, x, group="S", output_action="invariant")


def test_several_inputs_and_outputs_each_have_their_action():
    def scale(x, charges):
        return x * charges, charges * x.abs().square().sum(dim=-2, keepdim=True)

    x, charges = vectors(3, 4), vectors(1, 4, seed=1)
    actions = ("columns", "invariant")
    assert_equivariant(scale, x, charges, group="O", action=actions, output_action=actions)
    assert_equivariant(scale, x, charges, group="S", action=("columns", "columns"))
    with pytest.raises(AssertionError, match="output 1"):
        assert_equivariant(scale, x, charges, group="S", output_action=actions)


def test_an_action_of_ones_own_may_be_given():
    """A matrix transforms as U A U^H, and its trace is invariant."""

    def conjugate(u, a):
        return u @ a @ u.mH

    a = vectors(3, 3, torch.complex128)
    assert_equivariant(lambda a: a @ a, a, action=conjugate, n=3)
    assert_equivariant(torch.func.vmap(torch.trace), a, action=conjugate, output_action="invariant", n=3)


def test_the_message_gives_error_tolerance_and_a_seed_that_reproduces_the_error():
    x = vectors(3, 2)
    with pytest.raises(AssertionError, match="random_element") as caught:
        assert_equivariant(torch.tanh, x, group="O", seed=6, n_operators=1)
    error = equivariance_error(torch.tanh, x, operator=random_element("O", 3, seed=6))
    message = str(caught.value)
    assert f"relative error {error:.3g}" in message
    assert "tolerance 1e-10" in message
    assert "seed=6" in message


def test_the_message_gives_what_to_type_to_have_the_element_again():
    with pytest.raises(AssertionError) as caught:
        assert_equivariant(torch.tanh, vectors(3, 2, torch.complex64), seed=6, tolerance=1e-3)
    assert re.fullmatch(
        r"not equivariant under U\(3\): relative error \S+, tolerance 0.001 \(torch.complex64\), for the "
        r"random element with seed 6, random_element\('U', 3, dtype=torch.complex64, seed=6\)",
        str(caught.value),
    )


def test_of_real_vectors_the_message_speaks_of_the_orthogonal_group():
    said = r"not equivariant under O\(3\): .* random_element\('O', 3, dtype=torch.float64, seed=0\)"
    with pytest.raises(AssertionError, match=said):
        assert_equivariant(torch.tanh, vectors(3, 2))


def test_the_error_for_one_member_knows_the_group_and_both_actions():
    def distance(x, y):
        return torch.linalg.vector_norm(x - y, dim=-1)

    x, y = (normal(5, 3, seed=seed) for seed in range(2))
    t = random_element("T", 3, seed=0)
    options = {"operator": t, "group": "T", "output_action": "invariant"}
    assert equivariance_error(distance, x, y, action="rows", **options) < 1e-14
    assert equivariance_error(distance, x, y, action=("rows", "invariant"), **options) > 0.1
    with pytest.raises(ValueError, match=r"^action: got 3, wanted one, or one for each of 2 tensors$"):
        equivariance_error(distance, x, y, action=["rows"] * 3, **options)


def test_a_function_that_returns_another_number_of_outputs_after_the_action_does_not_pass():
    def outputs(x):
        return [x] * (1 if x[0, 0, 0] > 0 else 2)

    x = vectors(3, 2)
    for sign in (1, -1):
        with pytest.raises(ValueError, match="zip"):
            equivariance_error(outputs, sign * x, operator=-torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("group", ["U", "O", "SO", "S", "T"])
def test_the_member_of_the_group_is_where_the_input_is(group):
    """All is computed there; only the error, a number, could not be read from this device."""
    with OneDevice(), pytest.raises(RuntimeError, match="item"):
        assert_equivariant(torch.tanh, vectors(3, 2).to("meta"), group=group)


def test_a_function_may_change_its_input():
    assert_equivariant(lambda x: x.mul_(2.0), vectors(3, 2))


def test_the_error_is_relative_to_the_largest_entry_and_knows_no_unit():
    x, stretch = vectors(3, 2), torch.tensor([[1.0], [1.0], [1.5]], dtype=torch.float64)
    swap = torch.eye(3, dtype=torch.float64)[[2, 1, 0]]
    error = (stretch * (swap @ x) - swap @ (stretch * x)).abs().max() / (stretch * x).abs().max()
    for unit in (1.0, 1e3):
        measured = equivariance_error(lambda x: stretch * x, unit * x, operator=swap)
        assert measured == pytest.approx(error.item(), rel=1e-12)


def test_the_members_of_the_first_three_seeds_are_tried():
    tried = []

    def action(element, x):
        tried.append(element)
        return element @ x

    assert_equivariant(lambda x: x, vectors(3, 2), action=action, n=3)
    wanted = [random_element("O", 3, seed=seed) for seed in range(3)]
    assert torch.stack(tried[::2]).equal(torch.stack(wanted)), "for the input; then for the output"


def test_what_is_zero_everywhere_is_equivariant():
    assert assert_equivariant(lambda x: 0 * x, vectors(3, 2)) == 0


def test_an_output_that_is_not_a_number_fails():
    with pytest.raises(AssertionError, match="nan"):
        assert_equivariant(lambda x: x * float("nan"), vectors(3, 2), group="O")


def test_the_largest_error_is_returned():
    x = vectors(3, 2)
    operators = [random_element("O", 3, seed=s) for s in range(4)]
    errors = [equivariance_error(torch.tanh, x, operator=operator, group="O") for operator in operators]
    assert assert_equivariant(torch.tanh, x, group="O", n_operators=4, tolerance=10) == max(errors)
    assert assert_equivariant(torch.tanh, x, tolerance=max(errors[:3])) == max(errors[:3]), (
        "of seeds 0, 1 and 2"
    )


def test_an_average_over_relabellings_is_caught_if_it_is_not_there():
    """A network force field knows nothing of permutations; its S4 average does."""
    field = NetworkForceField(biased_network((6, 5, 4)), Scales(position=4.5, force=0.13))
    positions = sample_positions(5, seed=1)
    assert_equivariant(PermutationAverage(field).forces, positions, group="S", action="rows")
    with pytest.raises(AssertionError, match=r"S\(4\)"):
        assert_equivariant(field.forces, positions, group="S", action="rows")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"group": "E"}, "group: got 'E', wanted 'U', 'O', 'SO', 'S' or 'T'"),
        (
            {"action": "diagonal"},
            "action: got 'diagonal', wanted 'columns', 'rows', 'invariant' or a function",
        ),
        (
            {"action": "invariant"},
            "action: got 'invariant' for every input, wanted one that the group acts on",
        ),
        ({"action": ("columns", "rows")}, "action: got 2, wanted one, or one for each of 1 tensors"),
        (
            {"output_action": ("columns", "rows")},
            "output_action: got 2, wanted one, or one for each of 1 tensors",
        ),
        ({"n_operators": 0}, "n_operators: got 0, wanted at least 1"),
        ({"n": 7}, "x: got shape (2, 3, 2), wanted vectors of dimension 7 as columns"),
        ({"n": 7, "group": "S", "action": "rows"}, "x: got shape (2, 3, 2), wanted 7 vectors as rows"),
        (
            {"action": lambda g, x: g @ x},
            "n: got None, wanted the dimension of the vectors (for 'S' their number)",
        ),
    ],
)
def test_a_wrong_argument_is_named(arguments, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        assert_equivariant(torch.tanh, vectors(3, 2), **arguments)


def test_a_single_row_of_numbers_has_no_vectors():
    with pytest.raises(ValueError, match="n: got None"):
        assert_equivariant(torch.tanh, normal(3))
    with pytest.raises(ValueError, match=r"x: got shape \(3,\), wanted vectors of dimension 3 as columns"):
        act("O", torch.eye(3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"x: got shape \(4, 2\), wanted vectors of dimension 3 as columns"):
        act("T", torch.zeros(3), torch.zeros(4, 2))


def test_an_output_whose_shape_depends_on_the_input_is_named():
    shape = r"\(2, 3, \d\)"
    said = f"function: got an output of shape {shape} after the action, wanted {shape}, the one without it"
    with pytest.raises(ValueError, match=f"^{said}$"):
        assert_equivariant(lambda x: x[:, :, x[0, 0] > 0], vectors(3, 9), group="O")


def test_a_translation_adds_itself_to_every_vector():
    x, t = vectors(3, 4), normal(3)
    torch.testing.assert_close(act("T", t, x, "columns"), x + t[:, None])
