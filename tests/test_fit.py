"""Short trainings of any model."""

import math

import pytest
import torch

from enn_lib.fit import fit
from enn_lib.layers import EquivariantLinear
from enn_lib.network import ENN


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_linear_map_is_found(dtype):
    """The target has no bias: W is recovered and b goes to zero, for real and complex parameters."""
    W = torch.randn(3, 2, dtype=dtype, generator=generator(0))
    x = torch.randn(500, 1, 3, dtype=dtype, generator=generator(1))
    layer = EquivariantLinear(3, 2, dtype=dtype, generator=generator(2))
    losses = fit(layer, x, x @ W, steps=400, learning_rate=0.2)
    assert losses[-1] < 1e-8 * losses[0]
    torch.testing.assert_close(layer.weight.detach(), W, atol=1e-3, rtol=0)
    torch.testing.assert_close(layer.bias.detach(), torch.zeros_like(W), atol=1e-3, rtol=0)


def test_a_loss_is_the_mean_of_squared_moduli():
    layer = EquivariantLinear(2, 1, dtype=torch.complex128, generator=generator(0))
    x = torch.randn(6, 3, 2, dtype=torch.complex128, generator=generator(1))
    expected = (layer(x) - 1j).abs().square().mean().item()
    (loss,) = fit(layer, x, torch.full((6, 3, 1), 1j, dtype=torch.complex128), steps=1)
    assert loss == pytest.approx(expected)


def test_the_same_seed_gives_the_same_weights_and_another_another_order():
    x = torch.randn(50, 3, 2, generator=generator(1))

    def weights(seed):
        net = ENN((2, 4, 1), generator=generator(0))
        fit(net, x, x.sum(dim=-1, keepdim=True), steps=20, batch_size=10, seed=seed)
        return net.layers[0].stacked.detach()

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_every_epoch_sees_every_sample_once():
    """A model that records what it is given."""
    seen = []

    class Recorder(EquivariantLinear):
        def forward(self, x):
            seen.extend(x[:, 0, 0].tolist())
            return super().forward(x)

    x = torch.arange(12.0).reshape(12, 1, 1)
    fit(Recorder(1, 1), x, x, steps=6, batch_size=4)
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]


def test_the_optimiser_can_be_chosen():
    x = torch.randn(20, 3, 2, generator=generator(1))
    net = ENN((2, 4, 1), generator=generator(0))
    losses = fit(net, x, x[..., :1], steps=50, optimiser=torch.optim.Muon, learning_rate=0.02)
    assert losses[-1] < losses[0]


def test_the_learning_rate_goes_down_to_zero_along_a_cosine():
    rates = []

    class Recorder(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    x = torch.randn(20, 3, 2, generator=generator(1))
    fit(ENN((2, 1), generator=generator(0)), x, x[..., :1], steps=10, learning_rate=0.1, optimiser=Recorder)
    expected = [0.05 * (1 + math.cos(math.pi * k / 10)) for k in range(10)]
    assert rates == pytest.approx(expected)


def test_bad_arguments_are_named():
    layer, x = EquivariantLinear(1, 1), torch.ones(4, 3, 1)
    with pytest.raises(ValueError, match="inputs, targets: got 4 and 3"):
        fit(layer, x, x[:3], steps=1)
    with pytest.raises(ValueError, match="steps, batch_size: got 0, 250"):
        fit(layer, x, x, steps=0)


def test_a_training_that_diverges_says_so():
    layer, x = EquivariantLinear(1, 1), torch.ones(4, 3, 1)
    with pytest.raises(FloatingPointError, match="training diverged"):
        fit(layer, x, torch.full_like(x, torch.inf), steps=2)
