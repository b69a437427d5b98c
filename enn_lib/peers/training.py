"""One training loop for all peers, for a given time of one core."""

import math
import time
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from enn_lib.argon import Configurations, Scales, generate_data
from enn_lib.evaluation import predict
from enn_lib.force_field import ForceField
from enn_lib.groups import equivariance_error, random_element
from enn_lib.peers.catalogue import PEERS, PeerForceField, build_peer
from enn_lib.permutation import S4, PermutationAverage
from enn_lib.training import Config, build_optimiser

BATCH_SIZE = 500
"""Configurations a step, or all of them if there are fewer."""

N_VALIDATION, N_TEST = 2000, 5000
"""How many of the validation and test configurations are used; an average over S4 costs 24 evaluations."""

CHECKS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""The shares of the time after which the validation error is measured, and the best weights kept."""


@dataclass(frozen=True)
class PeerConfig:
    """What determines a run, but for how fast the machine is.

    Attributes:
        peer: a name in `PEERS`.
        optimiser: "adam" or "soap" (optional extra ``soap``).
        rate: the learning rate at the start; it goes down to zero along a cosine of the time.
        seconds: of processor time for the steps.
        seed: of the weights and batches; 2208 + seed is that of the data.
        n_train: how many of the 60 % of configurations that train.
        n_configurations: how many are drawn before the split.
    """

    peer: str
    optimiser: str
    rate: float
    seconds: float
    seed: int = 0
    n_train: int = 60_000
    n_configurations: int = 100_000

    @property
    def file(self) -> str:
        """A name for its files, without suffix."""
        return f"{self.peer}.{self.optimiser}.{self.rate:g}.{self.seconds:g}s.{self.n_train}.{self.seed}"


def random_orthogonal(count: int, generator: torch.Generator) -> Tensor:
    """Haar-random members of O(3), ``(count, 3, 3)``, float32.

    The same construction as `enn_lib.groups.random_unitary`, for many at once.
    """
    q, r = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator))
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def augmented(
    kind: str, positions: Tensor, forces: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A batch ``(N, 4, 3)`` in which every configuration was rotated, or renumbered, at random.

    Args:
        kind: of `Peer.augment`.
        positions: of the batch.
        forces: of the batch.
        generator: the source of randomness.

    Raises:
        ValueError: if `kind` is unknown.
    """
    if kind == "none":
        return positions, forces
    if kind == "rotate":
        q = random_orthogonal(len(positions), generator)
        return positions @ q.mT, forces @ q.mT
    if kind == "relabel":
        g = S4[torch.randint(len(S4), (len(positions),), generator=generator)].unsqueeze(-1).expand(-1, -1, 3)
        return positions.gather(-2, g), forces.gather(-2, g)
    raise ValueError(f"augment: got {kind!r}, wanted 'none', 'rotate' or 'relabel'")


def rmsd(force_field: ForceField, configurations: Configurations) -> float:
    """The root mean square error of a force component, eV/Å."""
    error = predict(force_field, configurations.positions, 500) - configurations.forces
    return error.square().mean().sqrt().item()


def force_field(name: str, model: nn.Module, scales: Scales) -> ForceField:
    """A trained model as it is used: averaged over permutations if the catalogue says so."""
    plain = PeerForceField(model, scales)
    return PermutationAverage(plain) if PEERS[name].average else plain


def measured_errors(field: ForceField, positions: Tensor) -> dict[str, float]:
    """The relative equivariance error under three members of each group, the largest, float32 weights."""
    return {
        group: max(
            equivariance_error(
                field.forces,
                positions,
                operator=random_element(group, 4 if group == "S" else 3, seed=seed),
                group=group,
                action="rows",
                output_action="invariant" if group == "T" else None,
            )
            for seed in range(3)
        )
        for group in ("O", "S", "T")
    }


def train_peer(config: PeerConfig, *, max_steps: int | None = None) -> tuple[nn.Module, dict]:
    """Train for a time, and measure.

    The time is the processor's, of this process, for the steps alone: data, validation and test are not
    counted, and neither are other programs that make the machine slow. The learning rate follows the
    time, so that it arrives at zero at its end however fast the machine is. The weights of the check
    with the least validation error are kept: with few configurations that is not the last.

    Args:
        config: of the run.
        max_steps: stop after so many; for tests.

    Returns:
        The model, and what was measured. That is ``scales`` of the data, Å and eV/Å; ``parameters``;
        ``steps``, ``epochs`` and ``seconds``; ``history``, rows of seconds, step and validation RMSD of the
        model alone; and of the model as it is used, so averaged over permutations if the catalogue says so,
        ``validation_rmsd`` on `N_VALIDATION` and ``test_rmsd`` on `N_TEST` configurations (eV/Å; None if
        the run diverged), ``equivariance_error`` by group and ``inference_seconds`` (of processor time for
        500 configurations).

    Raises:
        ValueError: if a setting is out of range.
    """
    if config.seconds <= 0 or not 1 <= config.n_train <= config.n_configurations * 60 // 100:
        raise ValueError(
            f"seconds, n_train: got {config.seconds}, {config.n_train}, wanted a positive time and "
            "1 to 60 % of n_configurations"
        )
    model = build_peer(config.peer, config.seed)
    peer = PEERS[config.peer]
    torch.set_num_threads(1)
    data = generate_data(config.n_configurations, 2208 + config.seed)
    positions = (data.train.positions[: config.n_train] / data.scales.position).float()
    forces = (data.train.forces[: config.n_train] / data.scales.force).float()
    if hasattr(model, "standardise"):
        model.standardise(positions[:10_000])
    few = Configurations(data.validation.positions[:N_VALIDATION], data.validation.forces[:N_VALIDATION])
    optimiser = build_optimiser(Config(optimiser=config.optimiser, learning_rate=config.rate), model)
    generator = torch.Generator().manual_seed(config.seed)
    batch = min(BATCH_SIZE, config.n_train)
    plain = PeerForceField(model, data.scales)
    history: list[list[float]] = []
    checks = list(CHECKS)
    least, kept = math.inf, model.state_dict()
    spent, step, diverged = 0.0, 0, False
    while spent < config.seconds and not diverged and step != max_steps:
        began = time.process_time()
        place = step % (config.n_train // batch)
        if place == 0:
            order = torch.randperm(config.n_train, generator=generator)
        rows = order[place * batch : (place + 1) * batch]
        x, t = augmented(peer.augment, positions[rows], forces[rows], generator)
        optimiser.param_groups[0]["lr"] = config.rate * 0.5 * (1 + math.cos(math.pi * spent / config.seconds))
        optimiser.zero_grad()
        loss = (model(x) - t).square().mean()
        loss.backward()
        optimiser.step()
        step += 1
        spent += time.process_time() - began
        diverged = not loss.isfinite().item()
        if spent >= checks[0] * config.seconds and not diverged:
            checks = [share for share in checks if spent < share * config.seconds] or [math.inf]
            error = rmsd(plain, few)
            diverged = not math.isfinite(error)
            history += [] if diverged else [[round(spent, 2), step, error]]
            if error < least:
                least = error
                kept = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(kept)
    measured = {
        "scales": asdict(data.scales),
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": step,
        "epochs": step * batch / config.n_train,
        "seconds": round(spent, 2),
        "history": history,
        "validation_rmsd": None,
        "test_rmsd": None,
    }
    if diverged:
        return model, measured
    field = force_field(config.peer, model, data.scales)
    test = Configurations(data.test.positions[:N_TEST], data.test.forces[:N_TEST])
    measured["validation_rmsd"] = rmsd(field, few)
    began = time.process_time()
    measured["test_rmsd"] = rmsd(field, test)
    measured["inference_seconds"] = (time.process_time() - began) * 500 / len(test)
    measured["equivariance_error"] = measured_errors(field, test.positions[:200])
    return model, measured
