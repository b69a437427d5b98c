"""The command line of the library: ``python -m enn_lib --help`` lists what it can do."""

import argparse
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

from enn_lib.distributed import is_first_process, join
from enn_lib.evaluation import evaluate
from enn_lib.export import export_run
from enn_lib.runs import load_run, run_folder, shipped_runs
from enn_lib.settings import Config
from enn_lib.storage import read_json, write_json
from enn_lib.training import train


def _read_config(named: str) -> Config:
    """The configuration in a file, in a run folder, or of a shipped run."""
    path = Path(named)
    try:
        file = path if path.is_file() else run_folder(named) / "config.json"
        return Config.from_dict(read_json(file))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"--config: got {named!r}, wanted a JSON file, a run folder, or one of "
            + ", ".join(shipped_runs())
        ) from None


def _train(arguments: argparse.Namespace) -> None:
    """Train, or resume, and say how to go on."""
    with join(arguments.device) as workers:
        config = workers.from_first(lambda: _read_config(arguments.config))
        trainer = train(config, arguments.out, max_minutes=arguments.max_minutes, workers=workers)
    if not workers.is_first:
        return
    done = trainer.iteration == config.iterations
    print(
        f"{arguments.out}: {trainer.iteration} of {config.iterations} iterations in {trainer.seconds:.0f} s"
    )
    if done:
        as_typed = subprocess.list2cmdline if os.name == "nt" else shlex.join
        print(f"next: python -m enn_lib evaluate {as_typed([str(arguments.out)])}")
    else:
        print("the same command goes on from here")


def _evaluate(arguments: argparse.Namespace) -> None:
    """Print the headline and write metrics.json."""
    run = load_run(arguments.run)
    metrics = evaluate(run)
    for name, errors in metrics["test"].items():
        dynamics = metrics["dynamics"][name]
        print(
            f"{name:11}test RMSD {errors['rmsd_component']:.3g} eV/Å per component, "
            f"{errors['rmsd_vector']:.3g} per vector; after {dynamics['steps'][-1]} fs "
            f"{dynamics['rmsd_positions'][-1]:.3g} Å, {dynamics['rmsd_energy'][-1]:.3g} eV"
        )
    write_json(run.path / "metrics.json", metrics)  # last, as the run may lie where nothing can be written


def _runs(arguments: argparse.Namespace) -> None:
    """List the shipped runs."""
    print(
        f"{'run':16}{'optimiser':11}{'iterations':>12}{'softening':>11}  test RMSD (eV/Å), alone and over S4"
    )
    for name in shipped_runs():
        run = load_run(name)
        test = run.metrics.get("test", {})
        errors = "  ".join(f"{test[kind]['rmsd_component']:.3g}" for kind in test) or "not evaluated"
        print(
            f"{name:16}{run.config.optimiser:11}{run.history['iteration'][-1]:12.0f}"
            f"{run.config.softening:11g}  {errors}"
        )


def _export(arguments: argparse.Namespace) -> None:
    """Write the force field of a run as one file, and say how it is read."""
    file = export_run(load_run(arguments.run), arguments.file, average=not arguments.alone)
    print(f"{file}: positions (batch, 4, 3) in Å, float64, to forces in eV/Å")
    print(f"read it with: torch.export.load({str(file)!r}).module()")


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m enn_lib",
        description="Train and evaluate feedforward unitary equivariant networks on Lennard-Jones argon.",
    )
    commands = top.add_subparsers(required=True, metavar="command")
    command = commands.add_parser(
        "train",
        help="train into a folder, or resume the training it holds",
        description="Train into a folder. If the folder holds an unfinished run of the same configuration, "
        "go on from its checkpoint, bit for bit. Started by torchrun, several processes share the work, "
        "on one machine or several: torchrun --nproc-per-node 2 -m enn_lib train ...",
    )
    command.add_argument(
        "--config",
        required=True,
        help="a JSON file of settings; or a run to repeat: its folder, or the name of a shipped one",
    )
    command.add_argument("--out", required=True, type=Path, help="the folder of the run")
    command.add_argument(
        "--max-minutes", type=float, help="stop after so long, keeping the checkpoint to resume from"
    )
    command.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute; auto takes a GPU, one for each process, where torch sees one",
    )
    command.set_defaults(function=_train)
    command = commands.add_parser(
        "evaluate",
        help="measure a run on the test data and in dynamics, and write its metrics.json",
        description="Regenerate the data of a run, measure its errors on the test part and in the dynamics "
        "of sec. 4.3, for the network alone and averaged over the permutations of atoms; print the "
        "headline and write everything to metrics.json in the run's folder.",
    )
    command.add_argument("run", help="a run folder, or the name of a shipped run")
    command.set_defaults(function=_evaluate)
    command = commands.add_parser(
        "runs", help="list the shipped runs", description="List the shipped runs, with their errors."
    )
    command.set_defaults(function=_runs)
    command = commands.add_parser(
        "export",
        help="write the force field of a run as one .pt2 file",
        description="Write the force field of a run as one file that PyTorch reads without this package, for "
        "any number of configurations at a time.",
    )
    command.add_argument("run", help="a run folder, or the name of a shipped run")
    command.add_argument("file", type=Path, help="the file to write, ending in .pt2")
    command.add_argument(
        "--alone", action="store_true", help="the network alone, not averaged over permutations of the atoms"
    )
    command.set_defaults(function=_export)
    return top


def run(top: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    """Run a command line; bad input becomes one line on standard error. Returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where the console has no Å, a question mark is enough
    parsed = top.parse_args(arguments)
    try:
        parsed.function(parsed)
    except (ValueError, OSError, FloatingPointError) as error:
        if is_first_process():
            print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "interrupted", file=sys.stderr)
        return 130
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    return run(parser(), arguments)


if __name__ == "__main__":
    sys.exit(main())
