"""The equations of section 3 and the statements about them, each measured (Eq. 1 to 37).

Every measurement compares the library with the formula written out beside it, or with an independent
source: automatic differentiation, a loop over indices, a random unitary matrix. Errors are relative to the
largest entry, in double precision.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from enn_book.lectures.activations import VectorLeakyReLU, VectorReLU
from enn_book.lectures.backpropagation import backward_pass, forward_pass, mean_squared_error
from enn_book.lectures.parity import orientation
from enn_book.lectures.permutations import PermutationSum
from enn_book.models.energy import EnergyENN
from enn_book.paper.claims import Bound, Claim, register
from enn_lib.activations import Identity, VectorSoftsign
from enn_lib.graph import GaussianRadial, ScalarGraphLayer, VectorGraphLayer, polynomial_cutoff
from enn_lib.groups import GroupName, equivariance_error, random_element
from enn_lib.layers import EquivariantLinear
from enn_lib.network import ENN, PAPER_WIDTHS
from enn_lib.scalar_features import ScalarFeatureENN, ScalarFeatureLinear

MATHEMATICS: list[Claim] = []
"""The claims of sections 1 and 3, in the order of the paper."""

_claim = partial(register, MATHEMATICS)

SYMMETRY, LAYER, ACTIVATIONS = ("symmetry",), ("the-layer",), ("activations",)
NETWORK, SCALARS, BACKWARD = ("building-the-network",), ("scalar-features",), ("backpropagation",)
PERMUTATIONS, LIMITS = ("permutations",), ("limits",)

ROUNDING = Bound(at_most=1e-11)
"""What a relative error in double precision may be."""

COMPLEX = torch.complex128
REAL = torch.float64


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _vectors(*shape: int, dtype: torch.dtype = COMPLEX, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=_seeded(seed))


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """The largest deviation, relative to the largest entry wanted."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def _fill(module: nn.Module) -> nn.Module:
    """Give every parameter random entries: a bias of zero would hide a wrong one."""
    with torch.no_grad():
        for seed, parameter in enumerate(module.parameters(), start=1):
            parameter.copy_(_vectors(*parameter.shape, dtype=parameter.dtype, seed=seed))
    return module


def _layer() -> EquivariantLinear:
    return _fill(EquivariantLinear(4, 5, dtype=COMPLEX))


def _network(n: int = 3, dtype: torch.dtype = COMPLEX, widths: tuple[int, ...] = (4, 9, 7, 2)) -> ENN:
    return _fill(ENN(widths, n, dtype=dtype))


def _under(group: GroupName, function: Callable, *inputs: Tensor, n: int = 3, **actions) -> float:
    """The largest equivariance error over three random members of a group."""
    operators = [random_element(group, n, dtype=inputs[0].dtype, seed=seed) for seed in range(3)]
    return max(equivariance_error(function, *inputs, operator=u, **actions) for u in operators)


def _under_u(function: Callable, n: int = 3, dtype: torch.dtype = COMPLEX) -> float:
    """The largest equivariance error over three random members of U(n), on a batch of vectors."""
    return _under("U", function, _vectors(20, n, 4, dtype=dtype), n=n)


@_claim("sec. 1", "no convolution is needed (other modules than Eq. 6)", NETWORK, Bound(0, 0))
def sec_1_convolutions(_) -> float:
    """Modules of the network that hold parameters and are no `EquivariantLinear`."""
    holders = [m for m in ENN(PAPER_WIDTHS).modules() if list(m.parameters(recurse=False))]
    return sum(not isinstance(m, EquivariantLinear) for m in holders)


@_claim("sec. 1", "a layer takes simple calculations (operations / least)", NETWORK, Bound(at_most=1.1))
def sec_1_cost(_) -> float:
    """Operations in products of matrices, in units of two for each parameter and component."""
    network = ENN(PAPER_WIDTHS, dtype=REAL)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(_vectors(1, 3, 6, dtype=REAL))
    return counter.get_total_flops() / (2 * 3 * sum(p.numel() for p in network.parameters()))


@_claim("Eq. 1, 11", "layer and network are equivariant under U(n)", ("symmetry", "truly-unitary"), ROUNDING)
def eq_1_and_11(_) -> float:
    """Both, in four dimensions."""
    return max(max(_under_u(_network(n), n), _under_u(_layer(), n)) for n in (1, 2, 3, 8))


@_claim("Eq. 2", "an operator acts on each vector, and operators compose", SYMMETRY, ROUNDING)
def eq_2(_) -> float:
    """T_(gh) against T_g T_h, vector by vector."""
    g, h = (random_element("U", 3, dtype=COMPLEX, seed=seed) for seed in (0, 1))
    x = _vectors(3, 5)
    return relative_error((g @ h) @ x, torch.stack([g @ (h @ vector) for vector in x.T], dim=-1))


@_claim("Eq. 3 to 5", "layer k takes M_k vectors in C^n (exceptions)", NETWORK, Bound(0, 0))
def eq_3_to_5(_) -> float:
    """The number of layers whose output has another shape than (n, M_k)."""
    network = ENN(PAPER_WIDTHS, dtype=COMPLEX)
    x, exceptions = _vectors(3, PAPER_WIDTHS[0]), 0
    for layer, width in zip(network.layers, PAPER_WIDTHS[1:], strict=True):
        x = network.activation(layer(x))
        exceptions += x.shape != (3, width)
    return exceptions


@_claim("Eq. 6 to 9", "a layer is xW + eb with unit vectors e", LAYER, ROUNDING)
def eq_6_to_9(_) -> float:
    """Against Eq. 6 entry by entry, with W, b and e as Eq. 7 to 9 define them."""
    layer, x = _layer(), _vectors(3, 4)
    lengths = [sum(abs(x[i, k]) ** 2 for i in range(3)) ** 0.5 for k in range(4)]
    wanted = torch.zeros(3, 5, dtype=COMPLEX)
    for i in range(3):
        for m in range(5):
            for k in range(4):
                wanted[i, m] += x[i, k] * layer.weight[k, m] + x[i, k] / lengths[k] * layer.bias[k, m]
    return relative_error(layer(x), wanted)


@_claim("Eq. 10", "unitary operators keep lengths", LAYER, ROUNDING)
def eq_10(_) -> float:
    """The length of vectors before and after an operator."""
    x, u = _vectors(3, 50), random_element("U", 3, dtype=COMPLEX, seed=0)
    return relative_error(torch.linalg.vector_norm(u @ x, dim=0), torch.linalg.vector_norm(x, dim=0))


@_claim("Eq. 12, 13", "the activations commute with unitary operators", ACTIVATIONS, ROUNDING)
def eq_12_and_13(_) -> float:
    """Those of Eq. 14 and 15."""
    return max(map(_under_u, (VectorSoftsign(0.1), Identity())))


@_claim("Eq. 14", "the vector softsign with residue", ACTIVATIONS, ROUNDING)
def eq_14(_) -> float:
    """Against the formula."""
    u = _vectors(3, 50)
    return relative_error(VectorSoftsign(0.3)(u), u / (1 + torch.linalg.vector_norm(u, dim=0)) + u * 0.3)


@_claim("Eq. 14", "the residue keeps the slope from vanishing (far slope / a)", ACTIVATIONS, Bound(1, 1.01))
def eq_14_residue(_) -> float:
    """The slope of the length at a length of a million, in units of the residue."""
    activation = VectorSoftsign(0.1)
    u = torch.tensor([[1e6], [0.0], [0.0]], dtype=REAL, requires_grad=True)
    (slope,) = torch.autograd.grad(activation(u)[0, 0], u)
    return slope[0, 0].item() / activation.a


@_claim("Eq. 15", "the identity", ACTIVATIONS, ROUNDING)
def eq_15(_) -> float:
    """Against the formula."""
    u = _vectors(3, 50)
    return relative_error(Identity()(u), u)


@_claim("sec. 3.2", "vector forms of ReLU and leaky ReLU are equivariant", ACTIVATIONS, ROUNDING)
def sec_3_2_relu(_) -> float:
    """Both, with a threshold that some vectors pass and some do not."""
    return max(map(_under_u, (VectorReLU(0.5), VectorLeakyReLU(0.1, 0.5))))


@_claim("Eq. 16 to 18", "scalar features may accompany the vectors", SCALARS, ROUNDING)
def eq_16_to_18(_) -> float:
    """Under U' the vectors turn and the features stay."""
    network = _fill(ScalarFeatureENN((4, 8, 3), n=3, m=2, dtype=COMPLEX))
    x = _vectors(20, 3, 4), _vectors(20, 2, 4, seed=1)
    actions = ("columns", "invariant")
    return _under("U", network, *x, action=actions, output_action=actions)


@_claim("Eq. 17", "ones and their weights reduce to a single bias", SCALARS, ROUNDING)
@torch.no_grad()
def eq_17(_) -> float:
    """The layer as printed, and the same with one bias, against the formula."""
    ones, single = (
        ScalarFeatureLinear(4, 5, n=3, m=2, scalar_bias=kind, dtype=COMPLEX) for kind in ("ones", "single")
    )
    for layer in (ones, single):
        layer.stacked.copy_(_vectors(8, 5, seed=1))
    single.scalar_bias.copy_(ones.bias.sum(dim=0))
    x = _vectors(20, 5, 4)
    lengths = torch.linalg.vector_norm(x[:, :3], dim=1, keepdim=True)
    e = torch.cat([x[:, :3] / lengths, torch.ones(20, 2, 4)], dim=1)
    as_printed = x @ ones.weight + e @ ones.bias
    return max(relative_error(ones(x), as_printed), relative_error(single(x), as_printed))


@_claim("Eq. 19", "the norm of vectors with features is kept", SCALARS, ROUNDING)
def eq_19(_) -> float:
    """The length of vectors with features before and after U'."""
    u = torch.block_diag(random_element("U", 3, dtype=COMPLEX, seed=0), torch.eye(2, dtype=COMPLEX))
    x = _vectors(5, 50)
    return relative_error(torch.linalg.vector_norm(u @ x, dim=0), torch.linalg.vector_norm(x, dim=0))


@_claim("Eq. 20 to 24", "backpropagation through the layers", BACKWARD, ROUNDING)
def eq_20_to_24(_) -> float:
    """Gradients by hand against automatic differentiation, for real and complex parameters."""
    errors = []
    for dtype in (REAL, COMPLEX):
        network = _network(dtype=dtype)
        x, targets = _vectors(10, 3, 4, dtype=dtype), _vectors(10, 3, 2, dtype=dtype, seed=1)
        outputs, traces = forward_pass(network, x)
        cost, gradient = mean_squared_error(outputs, targets)
        by_hand = backward_pass(network, traces, gradient).stacked
        loss = (network(x) - targets).abs().square().mean()
        by_torch = torch.autograd.grad(loss, [layer.stacked for layer in network.layers])
        errors += [abs(cost.item() / loss.item() - 1), *map(relative_error, by_hand, by_torch)]
    return max(errors)


@_claim("sec. 3.4", "it is efficient (cost of both passes / forward pass)", BACKWARD, Bound(at_most=3))
def sec_3_4_cost(_) -> float:
    """Operations of forward and backward pass together, in units of the forward pass."""
    network, x = ENN(PAPER_WIDTHS, dtype=REAL), _vectors(10, 3, 6, dtype=REAL)
    with FlopCounterMode(display=False) as forward:
        loss = network(x).square().sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return 1 + backward.get_total_flops() / forward.get_total_flops()


def _sum_layer(kinds: int) -> PermutationSum:
    return PermutationSum(3, kinds=kinds, dtype=COMPLEX, generator=_seeded())


@_claim("Eq. 25", "a sum does not depend on the order", PERMUTATIONS, ROUNDING)
def eq_25(_) -> float:
    """A sum under permutations of its inputs."""
    x, layer = _vectors(3, 6), _sum_layer(1)
    return max(relative_error(layer(x[:, random_element("S", 6, seed=seed)]), layer(x)) for seed in range(4))


@_claim("Eq. 26", "with kinds, not on the order within each", PERMUTATIONS, ROUNDING)
def eq_26(_) -> float:
    """Four inputs of one kind and two of another, permuted within the kinds."""
    x, layer = _vectors(3, 6), _sum_layer(2)
    kinds = torch.tensor([[1, 0]] * 4 + [[0, 1]] * 2, dtype=COMPLEX)
    order = torch.cat([random_element("S", 4, seed=0), 4 + random_element("S", 2, seed=0)])
    return relative_error(layer(x[:, order], kinds), layer(x, kinds))


@_claim("Eq. 28, 29", "sums with shared weights", PERMUTATIONS, ROUNDING)
def eq_28_and_29(_) -> float:
    """Against the sums written out."""
    x, v = _vectors(3, 6), _vectors(6, 2, seed=2)
    one, two = _sum_layer(1), _sum_layer(2)
    eq_28 = sum(x[:, i, None] * one.weight[0] for i in range(6))
    eq_29 = sum(x[:, i, None] * v[i, d] * two.weight[d] for i in range(6) for d in range(2))
    return max(relative_error(one(x), eq_28), relative_error(two(x, v), eq_29))


ETA, CENTRES, CUTOFF = (0.5, 1.0, 2.0), (1.0, 1.5, 2.0), 6.0


def _edge(r: Tensor, i: int, j: int) -> Tensor:
    """The edge features of Eq. 32, written out: ``(3,)``."""
    if i == j:
        return torch.zeros(3, dtype=REAL)
    eta, centres = torch.tensor(ETA, dtype=REAL), torch.tensor(CENTRES, dtype=REAL)
    return torch.exp(-eta * (r - centres) ** 2) * polynomial_cutoff(r, CUTOFF)


def _graph_error(layer_type: type, *, weighted: bool) -> float:
    """Eq. 30 or 31, or with the Kronecker delta Eq. 33 or 34, against its sums written out."""
    positions, v = _vectors(5, 3, dtype=REAL), torch.ones(5, 1, dtype=REAL)
    if weighted:
        v = _vectors(5, 2, dtype=REAL, seed=1)
        sigma = VectorSoftsign(0.1) if layer_type is VectorGraphLayer else nn.Softsign()
        settings = {"out_features": 4, "node_features": 2, "activation": sigma, "generator": _seeded()}
    else:
        settings = {}
    layer = layer_type(GaussianRadial(ETA, CENTRES, CUTOFF), dtype=REAL, **settings)
    found = layer(positions, v)
    wanted = torch.zeros_like(found)
    for i in range(5):
        for j in range(5):
            u = positions[j] - positions[i]
            r = torch.linalg.vector_norm(u)
            term = torch.einsum("b,d,bda->a", _edge(r, i, j), v[j], layer.weight)
            if layer_type is ScalarGraphLayer:
                wanted[i] += term
            elif i != j:
                wanted[i] += torch.outer(u / r, term)
    return relative_error(found, layer.activation(wanted))


def _under_turns(layer_type: type, output_action: str, group: str, dtype: torch.dtype) -> float:
    """The descriptors of turned positions, and of renumbered ones."""
    layer, positions = layer_type(GaussianRadial(ETA, CENTRES, CUTOFF), dtype=dtype), _vectors(10, 5, 3)
    positions = positions if dtype.is_complex else positions.real.contiguous()
    turned = _under(group, layer, positions, action="rows", output_action=output_action)
    order = random_element("S", 5, seed=0)
    return max(turned, relative_error(layer(positions[:, order]), layer(positions)[:, order]))


@_claim("Eq. 27, 35", "vector descriptors are equivariant", PERMUTATIONS, ROUNDING)
def eq_27_and_35(_) -> float:
    """Under U(3), and under renumbering."""
    return _under_turns(VectorGraphLayer, "columns", "U", COMPLEX)


@_claim("Eq. 30", "the scalar graph layer", PERMUTATIONS, ROUNDING)
def eq_30(_) -> float:
    """Against its sums."""
    return _graph_error(ScalarGraphLayer, weighted=True)


@_claim("Eq. 30", "it is invariant under rotations", PERMUTATIONS, ROUNDING)
def eq_30_invariance(_) -> float:
    """Under O(3), and under renumbering."""
    return _under_turns(ScalarGraphLayer, "invariant", "O", REAL)


@_claim("Eq. 31", "the vector graph layer", PERMUTATIONS, ROUNDING)
def eq_31(_) -> float:
    """Against its sums."""
    return _graph_error(VectorGraphLayer, weighted=True)


@_claim(
    "Eq. 32", "a cutoff with continuous second derivative (jump × r_c²)", PERMUTATIONS, Bound(at_most=1e-6)
)
def eq_32(_) -> float:
    """The second derivative of the smooth-out function just inside the cutoff; outside it is zero."""
    r = torch.tensor(CUTOFF * (1 - 1e-9), dtype=REAL, requires_grad=True)
    (slope,) = torch.autograd.grad(polynomial_cutoff(r, CUTOFF), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, r)
    return abs(curvature.item()) * CUTOFF**2


@_claim("Eq. 33", "the symmetry functions of Behler and Parrinello are a case", PERMUTATIONS, ROUNDING)
def eq_33(_) -> float:
    """Against their sum."""
    return _graph_error(ScalarGraphLayer, weighted=False)


@_claim("Eq. 34", "and have a vector form", PERMUTATIONS, ROUNDING)
def eq_34(_) -> float:
    """Against its sum."""
    return _graph_error(VectorGraphLayer, weighted=False)


@_claim("Eq. 36, 37", "r × p cannot be learned (least relative error)", LIMITS, Bound(at_least=1 - 1e-12))
def eq_36_and_37(_) -> float:
    """The error of the best multiple of an odd function on an even target, at both signs of r and p."""
    x = _vectors(200, 3, 2, dtype=REAL)
    x = torch.cat([x, -x])
    target = torch.linalg.cross(x[..., 0], x[..., 1])[..., None]
    output = _network(dtype=REAL, widths=(2, 20, 1))(x)
    best = (output * target).sum() / output.square().sum() * output
    return ((best - target).square().sum() / target.square().sum()).sqrt().item()


@_claim("sec. 3.6", "it can, with the sign changed by hand", LIMITS, ROUNDING)
def sec_3_6_sign(_) -> float:
    """What is left to learn of r x p after the change of sign is equivariant under O(3)."""
    return _under_u(
        lambda x: orientation(x) * torch.linalg.cross(x[..., 0], x[..., 1])[..., None], dtype=REAL
    )


@_claim("sec. 3.6", "even scalars can be had through invariants", LIMITS, ROUNDING)
def sec_3_6_scalars(_) -> float:
    """An energy made of lengths of the network's vectors, under O(3), inversion included."""
    model, x = EnergyENN((6, 10, 8), 12, dtype=REAL), _vectors(20, 3, 6, dtype=REAL)
    operators = [-torch.eye(3, dtype=REAL), *(random_element("O", 3, seed=seed) for seed in range(3))]
    return max(relative_error(model.energy(q @ x), model.energy(x)) for q in operators)
