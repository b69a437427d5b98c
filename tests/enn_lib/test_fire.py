"""FIRE as Appendix A prints it, its other orders, and ASE's FIRE as the oracle of one of them."""

from copy import deepcopy
from itertools import combinations
from typing import get_args
from unittest.mock import Mock

import ase
import numpy as np
import pytest
import torch
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.optimize import fire as ase_fire
from ase.optimize.fire2 import FIRE2
from examples import generator

from enn_lib.argon import ARGON
from enn_lib.fire import FIRE, Order
from enn_lib.storage import load_state, save_state

ORDERS = get_args(Order)
every_order = pytest.mark.parametrize("order", ORDERS)

START = np.array([-1.2, 1.0, 0.5, -0.7])
SETTINGS = {"dt": 0.002, "dt_max": 0.02, "mass": 0.5}


def valley(x, y):
    """A curved valley in two arrays, steep across and flat along (Rosenbrock, and a quadratic)."""
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2 + (y**2).sum() + (x[0] * y).sum()


def valley_gradient(z):
    """The gradient of `valley` by hand, by the entries of both arrays."""
    x, y = np.split(z, 2)
    slope = 400 * x[0] * (x[0] ** 2 - x[1]) + 2 * (x[0] - 1) + y.sum()
    return np.array([slope, 200 * (x[1] - x[0] ** 2), *(2 * y + x[0])])


def appendix_a(gradient, x, n_iterations, *, velocity_first=False, dt, dt_max, mass, n_min=5,
               f_inc=1.1, f_dec=0.5, alpha_start=0.1, f_alpha=0.99):  # fmt: skip
    """Appendix A, step by step, in NumPy. Yields positions, dt and alpha after every iteration."""
    # Step 1 and 2
    v = np.zeros_like(x)
    alpha, count = alpha_start, 0
    for _ in range(n_iterations):
        # Step 3
        F = -gradient(x)
        # Step 4
        if velocity_first:
            v = v + F / mass * dt
            x = x + v * dt
        else:
            x, v = x + v * dt, v + F / mass * dt
        # Step 5
        P = F @ v
        # Step 6
        count = count + 1
        v = (1 - alpha) * v + alpha * np.linalg.norm(v) * F / np.linalg.norm(F)
        # Step 7
        if P > 0 and count > n_min:
            dt, alpha = min(dt * f_inc, dt_max), alpha * f_alpha
        # Step 8
        if P <= 0:
            dt, v, alpha, count = dt * f_dec, 0 * v, alpha_start, 0
        yield x, dt, alpha


def descent(function, *parameters, **options):
    """The optimiser of the parameters of a function, and the closure for its steps."""
    optimizer = FIRE(parameters, **options)

    def closure():
        optimizer.zero_grad()
        loss = function(*parameters)
        loss.backward()
        return loss

    return optimizer, closure


def start(**options):
    """Parameters at `START`, in two arrays of different shapes, and the descent in `valley`."""
    parameters = [torch.nn.Parameter(torch.tensor(part)) for part in (START[:2], START[None, 2:])]
    return parameters, *descent(valley, *parameters, **options)


def flat(parameters):
    return torch.nn.utils.parameters_to_vector(parameters).detach()


def assert_grew_and_shrank(steps):
    """Else the rules of Step 7 or 8 were never tried."""
    changes = np.diff(steps)
    assert (changes > 0).any(), "dt never grew"
    assert (changes < 0).any(), "dt never shrank"


@pytest.mark.parametrize("order", ["appendix", "semi_implicit"])
def test_every_step_is_that_of_appendix_a(order):
    parameters, optimizer, closure = start(order=order, **SETTINGS)
    group = optimizer.param_groups[0]
    steps = [group["dt"]]
    expected = appendix_a(valley_gradient, START, 300, velocity_first=order == "semi_implicit", **SETTINGS)
    for x, dt, alpha in expected:
        optimizer.step(closure)
        np.testing.assert_allclose(flat(parameters).numpy(), x, rtol=1e-7, atol=1e-9)
        assert group["dt"] == pytest.approx(dt, rel=1e-12)
        assert group["alpha"] == pytest.approx(alpha, rel=1e-12)
        steps.append(dt)
    assert_grew_and_shrank(steps)


def test_the_settings_by_default_are_those_of_the_paper():
    expected = {
        "dt": 0.001,
        "lr": 0.01,
        "dt_min": 1e-12,
        "mass": 0.1,
        "n_min": 5,
        "f_inc": 1.1,
        "f_dec": 0.5,
        "alpha_start": 0.1,
        "f_alpha": 0.99,
        "order": "appendix",
        # and the state before the first step
        "alpha": 0.1,
        "n_positive": 0,
        "power": 0.0,
    }
    group = FIRE([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert {name: group[name] for name in expected} == expected


ASE_ORDERS = {
    "ase": lambda atoms: ase_fire.FIRE(
        atoms, logfile=None, dt=0.2, dtmax=2.0, maxstep=1e9, downhill_check=False
    ),
    "fire2": lambda atoms: FIRE2(atoms, logfile=None, dt=0.2, dtmax=2.0, maxstep=1e9, Nmin=5, astart=0.1),
    "abc": lambda atoms: FIRE2(
        atoms, logfile=None, dt=0.2, dtmax=2.0, maxstep=1e9, Nmin=5, astart=0.1, use_abc=True
    ),
}
"""ASE's optimisers for a cluster, with the settings of the paper where theirs differ, and no longest step."""


@pytest.mark.parametrize("order", ASE_ORDERS)
def test_the_orders_of_ase_relax_a_cluster_step_by_step_as_ase_does(order):
    """Mass 1, as ASE sets it; no longest step, no cutoff of the potential."""
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 4.3])] * 3).double()
    noise = torch.rand(8, 3, dtype=torch.float64, generator=generator())
    positions = torch.nn.Parameter(corners + noise)

    atoms = ase.Atoms("Ar8", positions.detach().numpy().copy())
    atoms.calc = AseLennardJones(sigma=ARGON.r0, epsilon=ARGON.epsilon, rc=1e4)
    reference = ASE_ORDERS[order](atoms)
    smallest = {} if order == "ase" else {"dt_min": reference.dtmin}
    optimizer, closure = descent(
        ARGON.energy, positions, dt=0.2, dt_max=2.0, mass=1.0, order=order, **smallest
    )

    steps = []
    # What irun yields first is the state before any step.
    for k, _ in enumerate(reference.irun(fmax=0.0, steps=150)):
        if k > 0:
            optimizer.step(closure)
            steps.append(optimizer.param_groups[0]["dt"])
            assert steps[-1] == pytest.approx(reference.dt, rel=1e-12)
        torch.testing.assert_close(positions.detach(), torch.from_numpy(atoms.positions), rtol=0, atol=1e-7)
    assert len(steps) == 150
    assert_grew_and_shrank(steps)


@every_order
def test_a_pair_of_atoms_relaxes_to_the_minimum_of_the_well(order):
    positions = torch.nn.Parameter(torch.tensor([[0.0, 0, 0], [3.3, 0, 0]], dtype=torch.float64))
    optimizer, closure = descent(ARGON.energy, positions, dt=0.05, dt_max=0.5, mass=1.0, order=order)
    for _ in range(400):
        energy = optimizer.step(closure)
    assert (positions[1, 0] - positions[0, 0]).item() == pytest.approx(2 ** (1 / 6) * ARGON.r0, rel=1e-4)
    assert energy.item() == pytest.approx(-ARGON.epsilon, rel=1e-6)


def test_the_orders_differ():
    """Else the option would be a name without a meaning."""
    ends = []
    for order in ORDERS:
        parameters, optimizer, closure = start(order=order, **SETTINGS)
        for _ in range(30):
            optimizer.step(closure)
        ends.append(flat(parameters))
    assert not any(one.equal(other) for one, other in combinations(ends, 2))


@every_order
def test_a_saved_state_continues_bit_for_bit(order, tmp_path):
    parameters, optimizer, closure = start(order=order, **SETTINGS)
    for _ in range(60):
        optimizer.step(closure)
    save_state(tmp_path / "state", optimizer.state_dict())
    other_parameters, other, other_closure = start()
    torch.nn.utils.vector_to_parameters(flat(parameters), other_parameters)
    other.load_state_dict(load_state(tmp_path / "state"))
    for _ in range(60):
        optimizer.step(closure)
        other.step(other_closure)
    assert flat(other_parameters).equal(flat(parameters))
    assert other.param_groups[0]["dt"] == optimizer.param_groups[0]["dt"]


@every_order
def test_the_first_step_returns_the_loss_before_it_and_evaluates_once(order):
    parameters, optimizer, closure = start(order=order)
    before = valley(*parameters).item()
    counted = Mock(wraps=closure)
    assert optimizer.step(counted).item() == before
    counted.assert_called_once_with()


@pytest.mark.parametrize("order", ["fire2", "abc"])
def test_the_later_versions_evaluate_twice_where_they_stop(order):
    _, optimizer, closure = start(order=order, **SETTINGS)
    counted = Mock(wraps=closure)
    stops = 0
    for step in range(200):
        optimizer.step(counted)
        stops += step > 0 and optimizer.param_groups[0]["power"] <= 0
    assert stops > 0
    assert counted.call_count == 200 + stops


@pytest.mark.parametrize("order", ["fire2", "abc"])
def test_the_later_versions_ask_for_a_closure(order):
    _, optimizer, closure = start(order=order)
    closure()
    said = f"closure: got None, wanted a function, as order = '{order}' evaluates again"
    with pytest.raises(TypeError, match=f"^{said}$"):
        optimizer.step()


@every_order
def test_at_a_minimum_nothing_moves_and_nothing_is_nan(order):
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer, closure = descent(lambda x: x.square().sum(), parameter, order=order)
    for _ in range(5):
        optimizer.step(closure)
    assert parameter.tolist() == [0.0, 0.0, 0.0]


def test_gradients_that_are_there_need_no_closure():
    """As with torch's optimisers: the same steps as with one."""
    parameters, optimizer, closure = start(**SETTINGS)
    others, other, other_closure = start(**SETTINGS)
    for _ in range(100):
        optimizer.step(closure)
        other_closure()
        assert other.step() is None
    assert flat(others).equal(flat(parameters))


def test_without_gradients_a_step_changes_nothing():
    """As torch's optimisers do: neither before the first backward nor with an empty model."""
    parameters, optimizer, closure = start(order="semi_implicit")
    state = optimizer.state_dict()
    assert optimizer.step() is None
    assert flat(parameters).tolist() == START.tolist()
    assert optimizer.state_dict() == state
    optimizer.step(closure)
    assert flat(parameters).tolist() != START.tolist()


def test_a_scheduler_of_torch_sets_the_largest_time_step():
    _, optimizer, closure = start(dt=0.002, dt_max=0.002)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    for expected in (0.002, 0.001, 0.0005):
        optimizer.step(closure)
        assert optimizer.param_groups[0]["dt"] <= expected
        assert schedule.get_last_lr() == [expected]
        schedule.step()


def test_the_time_step_never_falls_below_the_smallest_from_which_it_recovers():
    """Against the slope of the loss, as under a gradient that is wrong, every step stops and halves dt."""
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = FIRE([parameter], dt=0.5, dt_max=0.5, dt_min=0.125)
    for sign in (1, -1, 1, -1, 1, -1):
        parameter.grad = torch.full((2,), float(sign))
        optimizer.step()
    assert optimizer.param_groups[0]["dt"] == 0.125
    for _ in range(10):
        optimizer.step()
    assert optimizer.param_groups[0]["dt"] > 0.125


def test_a_gradient_scaler_can_drive_it():
    parameters, optimizer, _ = start(**SETTINGS)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    others, other, other_closure = start(**SETTINGS)
    for _ in range(20):
        optimizer.zero_grad()
        scaler.scale(valley(*parameters)).backward()
        scaler.step(optimizer)
        scaler.update()
        other.step(other_closure)
    torch.testing.assert_close(flat(parameters), flat(others))


def test_a_copy_goes_its_own_way():
    """Of torch's own tests of optimisers: a deep copy shares no state."""
    _, optimizer, closure = start(**SETTINGS)
    optimizer.step(closure)
    copied = deepcopy(optimizer)
    optimizer.step(closure)
    assert (
        copied.state_dict()["state"][0]["velocity"].ne(optimizer.state_dict()["state"][0]["velocity"]).all()
    )


def test_hooks_are_called_around_a_step():
    """Of torch's own tests of optimisers."""
    _, optimizer, closure = start()
    before, after = Mock(return_value=None), Mock()
    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    optimizer.step(closure)
    before.assert_called_once()
    after.assert_called_once()


def test_a_parameter_without_a_gradient_stays_where_it_is():
    parameters, optimizer, closure = start()
    idle = torch.nn.Parameter(torch.ones(2))
    optimizer.param_groups[0]["params"].append(idle)
    for _ in range(3):
        optimizer.step(closure)
    assert idle.tolist() == [1.0, 1.0]
    assert flat(parameters).tolist() != START.tolist()


def test_the_power_is_logged():
    """P of the first step is F . v with v = F dt / m."""
    _, optimizer, closure = start(**SETTINGS)
    F = valley_gradient(START)
    optimizer.step(closure)
    assert optimizer.param_groups[0]["power"] == pytest.approx(F @ F * SETTINGS["dt"] / SETTINGS["mass"])


@every_order
def test_at_the_ends_of_its_ranges_a_setting_is_taken(order):
    settings = {"dt": 0.01, "dt_max": 0.01, "dt_min": 0.01, "n_min": 0, "f_inc": 1.0, "f_alpha": 1.0}
    for alpha in (0.0, 1.0):
        _, optimizer, closure = start(order=order, alpha_start=alpha, **settings)
        optimizer.step(closure)
        assert optimizer.param_groups[0]["dt"] == 0.01


@pytest.mark.parametrize("order", ["appendix", "semi_implicit"])
def test_a_power_of_zero_is_a_stop(order):
    """Step 8 says P <= 0, and Step 7 P > 0."""
    optimizer, closure = descent(
        lambda x: x.square().sum(),
        torch.nn.Parameter(torch.zeros(3)),
        dt=0.5,
        dt_max=1.0,
        n_min=0,
        order=order,
    )
    optimizer.step(closure)
    group = optimizer.param_groups[0]
    assert (group["power"], group["dt"], group["n_positive"]) == (0, 0.25, 0)


OUT_OF_RANGE = {
    "dt": ("positive, below 1e15", 0.0, -0.001, float("nan"), 1e15),
    "dt_max": ("at least dt = 0.001, below 1e15", 0.0001, 1e15, 10**400),
    "dt_min": ("positive and at most dt = 0.001", 0.0, 0.002),
    "mass": ("between 1e-15 and 1e15", 0.0, float("nan"), 1e-15, 1e15),
    "n_min": ("at least 0", -1),
    "f_inc": ("at least 1, below 1e15", 0.9, 1e15),
    "f_dec": ("between 0 and 1", 0.0, 1.0),
    "alpha_start": ("from 0 to 1", -0.1, 1.1),
    "f_alpha": ("above 0, at most 1", 0.0, 1.1),
    "order": ("one of appendix, semi_implicit, ase, fire2, abc", "bitzek"),
}


@pytest.mark.parametrize(
    ("name", "wanted", "value"),
    [(name, wanted, value) for name, (wanted, *values) in OUT_OF_RANGE.items() for value in values],
)
def test_a_setting_out_of_its_range_is_named(name, wanted, value):
    with pytest.raises(ValueError, match=f"^{name}: got {value!r}, wanted a value that is {wanted}$"):
        FIRE([torch.nn.Parameter(torch.zeros(1))], **{name: value})


def test_two_groups_of_parameters_are_refused():
    """dt, alpha, N and P are one for all."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    said = "^params: got a second group, wanted one of params, as dt, alpha, N and P are one for all$"
    with pytest.raises(ValueError, match=said):
        FIRE(groups)
    optimizer = FIRE(groups[0]["params"])
    with pytest.raises(ValueError, match=said):
        optimizer.add_param_group(groups[1])


def test_settings_are_not_taken_from_a_group_where_nobody_would_look_at_them():
    said = (
        "^params: got a group of params, order, wanted one of params, as dt, alpha, N and P are one for all$"
    )
    with pytest.raises(ValueError, match=said):
        FIRE([{"params": [torch.nn.Parameter(torch.zeros(1))], "order": "ase"}])


def test_complex_parameters_are_refused():
    with pytest.raises(TypeError, match=r"^params: got torch\.complex64, wanted real parameters$"):
        FIRE([torch.nn.Parameter(torch.zeros(1, dtype=torch.complex64))])
