"""The networks of the benchmark: their symmetries, their formulas, and what they say before training."""

import pytest
import torch
from examples import normal, stirred

from enn_book.studies.nbody.data import draw_starts
from enn_book.studies.nbody.models import (
    MODELS,
    EGNNSteps,
    NBodyEGNN,
    NBodyENN,
    along_first,
    build_model,
    incidence,
)
from enn_book.studies.nbody.study import ACTIONS
from enn_lib.groups import assert_equivariant


@pytest.fixture(scope="module")
def inputs():
    """Positions, velocities and charges of some systems, float64."""
    return draw_starts("train", 6)


@pytest.fixture(params=MODELS)
def model(request):
    """Each of the models."""
    return stirred(build_model(request.param))


@pytest.mark.parametrize("group", ["O", "S", "T"])
def test_a_model_turns_moves_and_is_renumbered_with_its_particles(model, group, inputs):
    assert_equivariant(model, *inputs, group=group, action=ACTIONS[group])


def test_charges_and_velocities_matter(model, inputs):
    """The symmetries above would hold for a model that saw none of them."""
    x, v, q = inputs
    one = torch.ones_like(q)
    one[..., 0] = -1
    assert (model(x, v, q) - model(x, v, q * one)).abs().max() > 1e-3
    assert (model(x, v, q) - model(x, 2 * v, q)).abs().max() > 1e-3


def test_a_change_of_all_signs_changes_nothing(model, inputs):
    x, v, q = inputs
    torch.testing.assert_close(model(x, v, -q), model(x, v, q), rtol=0, atol=0)


def test_a_model_takes_any_number_of_particles_and_batches_change_nothing(model, inputs):
    x, v, q = (t[:, :3] for t in inputs)
    together = model(x, v, q)
    assert together.shape == x.shape
    torch.testing.assert_close(torch.stack([model(*one) for one in zip(x, v, q, strict=True)]), together)


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone(name):
    state = torch.get_rng_state()
    one, two, other = (list(build_model(name, seed).parameters()) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.get_rng_state().equal(state)


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="model: got 'gnn', wanted one of enn, "):
        build_model("gnn")


def test_the_incidence_matrix_takes_the_difference_of_every_pair():
    x = normal(4, 2, 3)
    wanted = [x[j] - x[i] for i in range(4) for j in range(i + 1, 4)]
    torch.testing.assert_close(along_first(incidence(x), x), torch.stack(wanted))


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("enn")])
def test_without_its_networks_the_enn_says_that_nothing_acts(name, inputs):
    x, v, q = inputs
    model = build_model(name).double()
    with torch.no_grad():
        for rounds in model.rounds:
            for p in rounds.network.layers[-1].parameters():
                p.zero_()
    torch.testing.assert_close(model(x, v, q), x + v)


def test_the_enn_stays_finite_where_two_particles_coincide(inputs):
    x, v, q = (t.clone() for t in inputs)
    for both in (x, v):
        both[:, 1] = both[:, 0]
    out = stirred(NBodyENN())(x.requires_grad_(), v, q)
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()


def test_a_round_of_the_enn_is_its_equations(inputs):
    x, v, q = (t[0] for t in inputs)
    model = stirred(NBodyENN(1, radial=4, descriptors=3, hidden=2, widths=(5,)))
    (layer,) = model.rounds
    hidden, scalars = normal(5, 3, 2), normal(5, 1, 2, seed=1)
    first, second = torch.triu_indices(5, 5, 1)
    a, b, (dv, ds) = layer(x, v, (hidden, scalars), (q[first] * q[second]).unsqueeze(-1), 0.2)
    w_f, w_g, w_s = layer.weight.split(3, dim=-1)
    for i in range(5):
        vectors, sums = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        for j in set(range(5)) - {i}:
            u = x[j] - x[i]
            rho = (u @ u + 0.04).sqrt()
            e = torch.cat((layer.radial(rho), q[i] * q[j] * layer.radial(rho)))
            vectors += torch.outer(u / rho, e @ w_f) + torch.outer(v[j] - v[i], e @ w_g)
            sums += e @ w_s
        x_in = torch.cat((vectors, v[i].unsqueeze(-1), hidden[i]), dim=-1)
        h_in = torch.cat((sums, torch.zeros(1, dtype=torch.float64), scalars[i, 0])).unsqueeze(0)
        out, h_out = layer.network(x_in, h_in)
        wanted = (out[:, 0], out[:, 1], out[:, 2:], h_out[:, 2:])
        torch.testing.assert_close((a[i], b[i], dv[i], ds[i]), wanted)


def test_a_shared_law_is_own_rounds_that_are_all_alike(inputs):
    shared = stirred(NBodyENN(3))
    own = NBodyENN(3, shared=False).double()
    for law in own.rounds:
        law.load_state_dict(shared.rounds[0].state_dict())
    own.times.data[:] = shared.times.data
    torch.testing.assert_close(own(*inputs), shared(*inputs))


def seen_by_rounds(model, inputs):
    """The positions that each round of an ENN sees, ``(..., N, 3)``."""
    seen = []
    for law in model.rounds:
        law.register_forward_pre_hook(lambda law, given: seen.append(given[0].movedim(0, -2)))
    model(*inputs)
    return seen


def test_rounds_see_the_particles_where_earlier_ones_moved_them(inputs):
    torch.manual_seed(0)
    first, second = seen_by_rounds(stirred(NBodyENN(2)), inputs)
    assert first.equal(inputs.positions)
    assert (second - first).abs().amin(dim=(0, 2)).min() > 1e-3


def test_without_the_form_of_an_integrator_every_round_sees_the_start(inputs):
    model = stirred(build_model("enn-still"))
    assert all(x.equal(inputs.positions) for x in seen_by_rounds(model, inputs))


@pytest.mark.parametrize("name", ["enn-own", "enn-still"])
def test_rounds_with_weights_of_their_own_are_used_one_after_another(name, inputs):
    model, used = build_model(name).double(), []
    for law in model.rounds:
        law.register_forward_pre_hook(lambda law, given: used.append(law))
    model(*inputs)
    assert used == list(model.rounds)
    assert len(set(used)) == 5


def test_the_velocity_is_updated_before_the_position(inputs):
    """By a constant acceleration of g in K steps of 1 / K, a particle falls g (K + 1) / 2K."""
    x, v, q = inputs
    model = NBodyENN(4).double()
    g = torch.tensor([0.0, 0, -3], dtype=torch.float64)
    model.rounds[0].register_forward_hook(lambda law, given, out: (out[0] * 0 + g, out[1] * 0, out[2]))
    torch.testing.assert_close(model(x, v, q), x + v + g * 5 / 8)


def test_egnn_as_a_law_gives_the_acceleration(inputs):
    x, v, q = inputs
    model = stirred(EGNNSteps(1))
    whole = stirred(NBodyEGNN(features=21, layers=1))
    whole.layers[0].load_state_dict(model.law.state_dict())
    whole.embedding.load_state_dict(model.embedding.state_dict())
    for p in whole.velocities.parameters():
        p.data.zero_()
    acceleration = whole(x, v, q) - x
    assert acceleration.abs().max() > 1e-3
    torch.testing.assert_close(model(x, v, q), x + model.time * (v + acceleration))


def test_the_two_laws_are_equally_large():
    sizes = [sum(p.numel() for p in build_model(name).parameters()) for name in ("enn", "egnn-steps")]
    assert abs(sizes[0] / sizes[1] - 1) < 0.05


def test_egnn_is_equation_7_of_its_paper_with_the_published_attributes(inputs):
    x, v, q = (t[0] for t in inputs)
    model = stirred(NBodyEGNN(features=6, layers=2))
    h, now = model.embedding(v.norm(dim=-1, keepdim=True)), x
    for layer, velocity in zip(model.layers, model.velocities, strict=True):
        new_h, new_x = [], []
        for i in range(5):
            moved, total = 0, 0
            for j in set(range(5)) - {i}:
                d, start = now[i] - now[j], x[i] - x[j]
                known = torch.stack((d @ d, q[i] * q[j], start @ start))
                m = layer.edge(torch.cat((h[i], h[j], known)))
                moved, total = moved + d * layer.coordinate(m) / 4, total + m
            new_x.append(now[i] + moved + velocity(h[i]) * v[i])
            new_h.append(h[i] + layer.node(torch.cat((h[i], total))))
        h, now = torch.stack(new_h), torch.stack(new_x)
    torch.testing.assert_close(model(x, v, q), now)


def test_egnn_is_as_large_as_published():
    model = build_model("egnn")
    assert (len(model.layers), model.embedding.out_features) == (4, 64)
