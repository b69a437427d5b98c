"""The networks of the benchmark: their symmetries, their formulas, and what they say before training."""

import pytest
import torch
from examples import normal, stirred

from enn_book.studies.nbody.data import draw_starts
from enn_book.studies.nbody.models import MODELS, NBodyEGNN, NBodyENN, build_model, pair_products
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


def test_pairs_have_the_products_of_their_charges():
    products = pair_products(torch.tensor([1.0, -1.0, 1.0]))
    assert products.squeeze(-1).tolist() == [[1, -1, 1], [-1, 1, -1], [1, -1, 1]]


def test_without_its_networks_the_enn_says_that_nothing_acts(inputs):
    x, v, q = inputs
    model = NBodyENN().double()
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
    a, b, (dv, ds) = layer(x, v, (hidden, scalars), pair_products(q), 0.2)
    w_f, w_g, w_s = layer.weight.split(3, dim=-1)
    for i in range(5):
        vectors, sums = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        for j in range(5):
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
