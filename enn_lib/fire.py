"""The fast inertial relaxation engine (FIRE) as Appendix A prints it."""

from collections.abc import Callable, Iterable
from typing import Literal, get_args

import torch
from torch import Tensor

Order = Literal["appendix", "semi_implicit", "ase", "fire2", "abc"]
LATER = ("fire2", "abc")


class FIRE(torch.optim.Optimizer):
    r"""FIRE (Bitzek et al. 2006) with the parameters as positions and -gradient as force F.

    One step is one turn of Appendix A, with one evaluation of the gradient:

    ====  =====================================================================================
    step  what
    ====  =====================================================================================
    3     F = -gradient at x(t)
    4     x(t + dt) = x(t) + v dt, then v(t + dt) = v(t) + F/m dt
    5     P = F . v
    6     N -> N + 1, then v -> (1 - alpha) v + alpha \|v\| F/\|F\|  (A.1)
    7     if P > 0 and N > N_min: dt -> min(dt f_inc, dt_max), alpha -> alpha f_alpha
    8     if P <= 0: dt -> dt f_dec, v -> 0, alpha -> alpha_start, N -> 0
    ====  =====================================================================================

    Published codes differ. `order` names the differences that matter:

    - ``"appendix"``: as printed. The positions move with the old velocity, which makes Step 4 the
      explicit Euler method.
    - ``"semi_implicit"``: Step 4 updates v first and moves x with the new v (before Step 6 mixes it).
    - ``"ase"``: the order of ASE's ``FIRE``: P, mixing and the time step come first, with v as the last
      step left it; then v, then x. N is compared before it is raised, and the very first step adapts
      nothing. ASE also cuts a step longer than ``maxstep``; we do not.
    - ``"fire2"``: FIRE 2.0 (Guénolé et al. 2020), as ASE's ``FIRE2``: P, the time step and alpha first; a
      stop goes back by v dt/2 with the new dt and evaluates again; then v, its mixing, and x.
    - ``"abc"``: ABC-FIRE (Echeverri Restrepo and Andric 2023): the same, and the mixed v is divided by
      1 - (1 - alpha)^(N + 1), which is small after a stop.

    All scalars are in ``param_groups[0]`` (``dt``, ``alpha``, ``n_positive``, ``power``; the largest dt as
    ``lr``, for torch's schedulers), all velocities in ``state``; ``state_dict`` continues bit for bit.

    Args:
        params: real parameters in one group, because dt, alpha, N and P are one for all.
        dt: the first time step; without unit, like all that follows.
        dt_max: the largest time step.
        dt_min: the smallest, from which it can still recover.
        mass: the pseudo mass m.
        n_min: N_min, the positive steps to wait for before dt grows.
        f_inc: the factor by which dt grows.
        f_dec: the factor by which dt shrinks.
        alpha_start: the first mixing.
        f_alpha: the factor by which the mixing shrinks.
        order: see above.

    Raises:
        ValueError: if a setting is out of its range or there is more than one parameter group.
        TypeError: if a parameter is complex.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        dt: float = 0.001,
        dt_max: float = 0.01,
        mass: float = 0.1,
        n_min: int = 5,
        f_inc: float = 1.1,
        f_dec: float = 0.5,
        alpha_start: float = 0.1,
        f_alpha: float = 0.99,
        order: Order = "appendix",
        *,
        dt_min: float = 1e-12,
    ):
        ranges = {
            "dt": (dt, 0 < dt < 1e15, "positive, below 1e15"),
            "dt_max": (dt_max, dt <= dt_max < 1e15, f"at least dt = {dt}, below 1e15"),
            "dt_min": (dt_min, 0 < dt_min <= dt, f"positive and at most dt = {dt}"),
            "mass": (mass, 1e-15 < mass < 1e15, "between 1e-15 and 1e15"),
            "n_min": (n_min, n_min >= 0, "at least 0"),
            "f_inc": (f_inc, 1 <= f_inc < 1e15, "at least 1, below 1e15"),
            "f_dec": (f_dec, 0 < f_dec < 1, "between 0 and 1"),
            "alpha_start": (alpha_start, 0 <= alpha_start <= 1, "from 0 to 1"),
            "f_alpha": (f_alpha, 0 < f_alpha <= 1, "above 0, at most 1"),
            "order": (order, order in get_args(Order), "one of " + ", ".join(get_args(Order))),
        }
        for name, (value, is_good, wanted) in ranges.items():
            if not is_good:
                raise ValueError(f"{name}: got {value!r}, wanted a value that is {wanted}")
        settings = {name: value for name, (value, _, _) in ranges.items()}
        settings["lr"] = settings.pop("dt_max")
        super().__init__(params, settings | {"alpha": alpha_start, "n_positive": 0, "power": 0.0})

    def add_param_group(self, param_group: dict) -> None:
        """Take the one group of parameters; torch calls this.

        Raises:
            ValueError: if there is one already.
            TypeError: if a parameter is complex.
        """
        if self.param_groups or len(param_group) > 1:
            got = "got a second group" if self.param_groups else f"got a group of {', '.join(param_group)}"
            raise ValueError(f"params: {got}, wanted one of params, as dt, alpha, N and P are one for all")
        super().add_param_group(param_group)
        for p in self.param_groups[0]["params"]:
            if p.is_complex():
                raise TypeError(f"params: got {p.dtype}, wanted real parameters")

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """Do one turn of Appendix A.

        Args:
            closure: zeroes the gradients, computes the loss, calls ``backward`` and returns the loss; None if
                the gradients are there already. ``"fire2"`` and ``"abc"`` call it twice where they stop.

        Returns:
            The loss at the parameters before the step; None without a closure.

        Raises:
            TypeError: if there is no closure where the order needs one.
        """
        group = self.param_groups[0]
        is_later = group["order"] in LATER
        loss = None
        if closure is not None:
            closure = torch.enable_grad()(closure)
            loss = closure()
        elif is_later:
            raise TypeError(
                f"closure: got None, wanted a function, as order = {group['order']!r} evaluates again"
            )
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return loss
        group["dt"] = max(min(group["dt"], group["lr"]), group["dt_min"])  # a scheduler may have changed lr
        forces = [-p.grad for p in params]
        is_first = not self.state
        for p in params:
            if "velocity" not in self.state[p]:
                self.state[p]["velocity"] = torch.zeros_like(p)
        velocities = [self.state[p]["velocity"] for p in params]

        if (adapts_first := is_later or group["order"] == "ase") and not is_first:
            self._adapt(params, forces, velocities)
            if closure is not None and is_later and group["power"] <= 0:
                closure()
                forces = [-p.grad for p in params]
        if group["order"] == "appendix":
            torch._foreach_add_(params, velocities, alpha=group["dt"])
        torch._foreach_add_(velocities, forces, alpha=group["dt"] / group["mass"])
        if is_later:
            self._mix(group, forces, velocities)
        if group["order"] != "appendix":
            torch._foreach_add_(params, velocities, alpha=group["dt"])
        if not adapts_first:
            self._adapt(params, forces, velocities)
        return loss

    @staticmethod
    def _power(forces: list[Tensor], velocities: list[Tensor]) -> float:
        """Step 5: P = F . v."""
        products = ((f * v).sum() for f, v in zip(forces, velocities, strict=True))
        return sum(products, torch.zeros((), device=forces[0].device)).item()

    def _adapt(self, params: list[Tensor], forces: list[Tensor], velocities: list[Tensor]) -> None:
        """Steps 5 to 8: the power, the mixing unless it comes later, and the two rules for dt."""
        group = self.param_groups[0]
        group["power"] = self._power(forces, velocities)
        n_compared = group["n_positive"] + (0 if group["order"] == "ase" else 1)
        group["n_positive"] += 1
        if group["order"] not in LATER:
            FIRE._mix(group, forces, velocities)
        if group["power"] > 0 and n_compared > group["n_min"]:
            group["dt"] = min(group["dt"] * group["f_inc"], group["lr"])
            group["alpha"] *= group["f_alpha"]
        elif group["power"] <= 0:
            group["dt"] = max(group["dt"] * group["f_dec"], group["dt_min"])
            if group["order"] in LATER:
                torch._foreach_add_(params, velocities, alpha=-group["dt"] / 2)
            torch._foreach_zero_(velocities)
            group["alpha"] = group["alpha_start"]
            group["n_positive"] = 0

    @staticmethod
    def _mix(group: dict, forces: list[Tensor], velocities: list[Tensor]) -> None:
        """Eq. A.1, which turns v towards F; ABC-FIRE divides it by its bias."""
        force_norm, velocity_norm = _norm(forces), _norm(velocities)
        alpha, bias = group["alpha"], 1.0
        if group["order"] == "abc":
            alpha = max(alpha, 1e-10)
            bias = 1 - (1 - alpha) ** (group["n_positive"] + 1)
        torch._foreach_mul_(velocities, (1 - alpha) / bias)
        if force_norm > 0:
            torch._foreach_add_(velocities, forces, alpha=alpha / bias * velocity_norm / force_norm)


def _norm(tensors: list[Tensor]) -> float:
    """The Euclidean norm of all entries together."""
    return sum((t.square().sum() for t in tensors), torch.zeros((), device=tensors[0].device)).sqrt().item()
