"""The ENN's peers: each has the symmetries that the catalogue says and no other, and is as published."""

from contextlib import nullcontext
from importlib.util import find_spec

import pytest
import torch
from examples import assert_seeded, normal, stirred

from enn_book.models.catalogue import PEERS, PeerForceField, build_peer
from enn_book.models.edges import CUTOFF, edge_vectors, neighbours
from enn_book.models.enn import GraphENN
from enn_book.models.rivals import (
    EGNNLayer,
    FrameAverage,
    InvariantScalars,
    PaiNNBlock,
    PairRadial,
    VectorNeurons,
)
from enn_lib.argon import ARGON, Scales, generate_data, relative_vectors, sample_positions
from enn_lib.force_field import ForceField
from enn_lib.groups import assert_equivariant, random_element
from enn_lib.network import ENN, PAPER_WIDTHS
from enn_lib.permutation import PermutationAverage


def each(names):
    """A test for each of some models; without its optional extra a model is skipped."""
    missing = {name: PEERS[name].extra and not find_spec(PEERS[name].extra) for name in names}
    reason = "the optional extra 'peers' is not installed"
    marks = {name: [pytest.mark.skipif(bool(missing[name]), reason=reason)] for name in names}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks[name]) for name in names])


every_peer = each(PEERS)
of_any_number = each(("enn-graph", "egnn", "painn", "tensor-products", "pair-radial"))


@pytest.fixture(scope="module")
def scaled():
    """Positions in units of the position scale, float64."""
    return sample_positions(6, seed=2) / 4.5


def model(name):
    """A model with weights that are not those of the start, where some are zero or tiny."""
    return stirred(build_peer(name, 1))


def check(function, group, positions, tolerance=None):
    action, output_action = "rows", "invariant" if group == "T" else None
    options = {"action": action, "output_action": output_action, "tolerance": tolerance}
    assert_equivariant(function, positions, group=group, **options)


def as_used(name):
    """The model as a force field, averaged if the catalogue says so."""
    plain = PeerForceField(model(name), Scales(4.5, 0.13))
    return PermutationAverage(plain) if PEERS[name].average else plain


@every_peer
def test_a_peer_has_the_symmetries_of_the_catalogue_and_no_other(name, scaled):
    for group in "TOS":
        broken = pytest.raises(AssertionError, match="not equivariant")
        with nullcontext() if group in PEERS[name].groups else broken:
            # e3nn has its coupling coefficients in the dtype in which the model was made, float32.
            check(as_used(name).forces, group, 4.5 * scaled, 1e-8 if PEERS[name].extra else None)


@every_peer
def test_a_model_itself_knows_translations(name, scaled):
    """`PeerForceField` centres the atoms; that is for rounding, and hides nothing."""
    check(model(name), "T", scaled)


@every_peer
def test_a_peer_has_as_many_parameters_as_the_paper_s_network(name):
    count, wanted = (sum(p.numel() for p in m.parameters()) for m in (build_peer(name), ENN(PAPER_WIDTHS)))
    assert count == pytest.approx(wanted, rel=0.025)


@every_peer
def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone(name):
    assert_seeded(lambda seed: build_peer(name, seed))


@every_peer
def test_a_peer_is_a_force_field_in_units(name):
    field, positions = as_used(name), sample_positions(3, seed=0)
    assert isinstance(field, ForceField)
    assert field.forces(positions).shape == positions.shape
    assert field.forces(positions.float()).dtype == torch.float32
    torch.testing.assert_close(field.forces(positions), torch.stack([field.forces(p) for p in positions]))


@of_any_number
def test_models_without_numbered_atoms_take_other_numbers_of_them(name):
    check(model(name), "S", normal(2, 6, 3))


def test_an_unknown_peer_is_refused():
    with pytest.raises(ValueError, match="peer: got 'schnet', wanted one of enn, "):
        build_peer("schnet")


def test_positions_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"positions: got shape \(5, 3\)"):
        as_used("egnn").forces(torch.zeros(5, 3))


# Each model by its formula


def test_neighbours_are_all_the_others():
    assert neighbours(3).tolist() == [[1, 2], [0, 2], [0, 1]]
    r = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]])
    torch.testing.assert_close(edge_vectors(r)[1], torch.tensor([[-1.0, 0, 0], [-1, 2, 0]]))


def test_the_layer_of_egnn_is_equations_3_to_6_of_its_paper(scaled):
    torch.manual_seed(0)
    layer = EGNNLayer(5).double()
    h, x = torch.randn(4, 5, dtype=torch.float64), scaled[0]
    new_h, new_x = layer(h, x)
    for i in range(4):
        messages, moved = [], 0
        for j in set(range(4)) - {i}:
            d = x[i] - x[j]
            m = layer.edge(torch.cat((h[i], h[j], (d @ d)[None])))
            messages.append(m)
            moved = moved + d * layer.coordinate(m) / 3
        torch.testing.assert_close(new_x[i], x[i] + moved)
        torch.testing.assert_close(new_h[i], h[i] + layer.node(torch.cat((h[i], sum(messages)))))


def test_the_block_of_painn_is_its_message_and_its_update(scaled):
    torch.manual_seed(0)
    f = 4
    block = PaiNNBlock(f, 3).double()
    s, v = torch.randn(4, f, dtype=torch.float64), torch.randn(4, 3, f, dtype=torch.float64)
    vectors = edge_vectors(scaled[0])
    distance = vectors.norm(dim=-1, keepdim=True)
    units, radial = vectors / distance, torch.cat((distance, distance**2, 1 / distance), dim=-1)
    new_s, new_v = block(s, v, units, radial)
    for i in range(4):
        si, vi = s[i].clone(), v[i].clone()
        for k, j in enumerate(neighbours(4)[i].tolist()):
            a, b, c = (block.message(s[j]) * block.filter(radial[i, k])).split(f)
            si += a
            vi += b * v[j] + units[i, k][:, None] * c
        u, w = block.mix(vi).split(f, dim=-1)
        a, b, c = block.update(torch.cat((si, w.norm(dim=0)))).split(f)
        torch.testing.assert_close(new_s[i], si + a + b * (u * w).sum(dim=0))
        torch.testing.assert_close(new_v[i], vi + c * u)


def test_vector_neurons_project_on_learned_directions(scaled):
    torch.manual_seed(0)
    made = VectorNeurons((3,)).double()
    (activation,) = made.activations
    u = relative_vectors(scaled[0]) @ made.weights[0]
    k = u @ activation.directions
    columns = []
    for c in range(3):
        along = u[:, c] @ k[:, c] / (k[:, c] @ k[:, c])
        columns.append(u[:, c] if along >= 0 else u[:, c] - 0.8 * along * k[:, c])
    torch.testing.assert_close(made(scaled[0]), (torch.stack(columns, dim=1) @ made.weights[1]).T)


def test_vector_neurons_are_homogeneous(scaled):
    """Why they cannot learn a force that falls with the distance, but by directions."""
    made = model("vector-neurons")
    torch.testing.assert_close(made(3 * scaled), 3 * made(scaled))


def test_eight_frames_are_averaged(scaled):
    torch.manual_seed(0)
    made, x = FrameAverage(7, 1).double(), scaled[0] - scaled[0].mean(dim=0)
    values, axes = torch.linalg.eigh(x.T @ x)
    assert values.diff().min() > 0.1
    total = 0
    for a in (1, -1):
        for b in (1, -1):
            for c in (1, -1):
                q = axes * torch.tensor([a, b, c])
                total = total + made.network(x @ q) @ q.T
    torch.testing.assert_close(made(scaled[0]), total / 8)


SQUARE = torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, -1, 0], [-1, 1, 0]], dtype=torch.float64)


def test_atoms_in_a_plane_or_on_a_line_have_frames_that_turn_with_them(scaled):
    """The axes across a line are not determined, but nothing depends on them."""
    for extended in (2, 1):
        flat = scaled * (torch.arange(3) < extended)
        check(model("frames"), "O", flat @ random_element("O", 3, seed=4))


def test_where_two_axes_are_equally_long_the_forces_in_frames_are_finite_and_jump():
    made, close = model("frames"), 1e-7
    assert made(SQUARE).isfinite().all()
    longer, wider = (made(SQUARE * (1 + close * torch.eye(3, dtype=torch.float64)[k])) for k in (0, 1))
    assert (longer - wider).norm() > 1e-2 * wider.norm()


def test_tensor_products_end_at_the_cutoff():
    pytest.importorskip("e3nn", reason="the optional extra 'peers' is not installed")
    made, x = model("tensor-products"), 0.3 * normal(4, 3)
    x[3] = torch.tensor([9.0, 0, 0])
    assert made(x)[3].abs().max() == 0
    torch.testing.assert_close(made(x)[:3], made(x + (torch.arange(4) == 3)[:, None] * CUTOFF)[:3])
    assert (made(x)[:3] - made(x[:3])).norm() > 0.01 * made(x[:3]).norm(), "the mean is of all messages"


def test_without_e3nn_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr("enn_book.models.tensor_products.o3", None)
    with pytest.raises(ImportError, match=r"e3nn: got no such package, .*enn-lib\[peers\]"):
        build_peer("tensor-products")


def test_invariant_scalars_are_inner_products_times_relative_vectors(scaled):
    made = InvariantScalars(7, 1).double()
    x = relative_vectors(scaled[0])
    products = torch.stack([x[:, a] @ x[:, b] for a in range(6) for b in range(a, 6)])
    f = made.layers(products).reshape(4, 3)
    for i in range(4):
        others = [j for j in range(4) if j != i]
        force = sum(f[i, k] * (scaled[0, j] - scaled[0, i]) for k, j in enumerate(others))
        torch.testing.assert_close(made(scaled[0])[i], force)


def test_pair_radial_contains_the_forces_of_lennard_jones(scaled):
    class Exact(torch.nn.Module):
        """The derivative of the energy of a pair: positive where it attracts."""

        def forward(self, distance):
            r = (4.5 * distance).detach().requires_grad_()
            with torch.enable_grad():
                return torch.autograd.grad(ARGON.pair_energy(r).sum(), r)[0]

    made = PairRadial().double()
    made.layers = Exact()
    torch.testing.assert_close(made(scaled), ARGON.forces(4.5 * scaled))


def test_pair_radial_obeys_the_third_law(scaled):
    assert model("pair-radial")(scaled).sum(dim=-2).abs().max() < 1e-12


def test_the_enn_is_the_paper_s_network_on_relative_vectors(scaled):
    made = model("enn")
    assert made.network.widths == PAPER_WIDTHS
    torch.testing.assert_close(made(scaled).mT, made.network(relative_vectors(scaled)))


def test_the_graph_enn_sees_descriptors_of_root_mean_square_one():
    made, positions = GraphENN().double(), generate_data(500).train.positions / 4.5
    made.standardise(positions)
    squares = (made.layer(positions) / made.scales).square().mean(dim=(0, 1, 2))
    torch.testing.assert_close(squares, torch.ones_like(squares))
    wanted = made.network(made.layer(positions[:5]) / made.scales).squeeze(-1)
    torch.testing.assert_close(made(positions[:5]), wanted)
