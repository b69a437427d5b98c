"""The command line: ``python -m enn_lib --help`` lists what it can do."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from enn_lib.benchmark_study import run_benchmarks
from enn_lib.choices import run_choices
from enn_lib.distributed import is_first_process, join
from enn_lib.drawing import run_drawing
from enn_lib.evaluation import write_metrics
from enn_lib.export import export_run
from enn_lib.finish import run_finishes
from enn_lib.fire_readings import run_on_all, run_study
from enn_lib.long_run import run_long
from enn_lib.matched_cost import run_costs
from enn_lib.molecule.reference import make_data
from enn_lib.molecule.study import STEPS, run_molecule
from enn_lib.nbody.study import SECONDS as NBODY_SECONDS
from enn_lib.nbody.study import run_nbody
from enn_lib.peers.study import SECONDS as PEERS_SECONDS
from enn_lib.peers.study import run_peers
from enn_lib.reproduce import FIGURES, Experiment, reproduce
from enn_lib.runs import SHIPPED, load_run, shipped_runs
from enn_lib.storage import read_json
from enn_lib.training import Config, train


def _read_config(named: str) -> Config:
    """The configuration in a file, in a run folder, or of a shipped run."""
    for source in (Path(named), SHIPPED / named / "config.json", Path(named, "config.json")):
        if source.is_file():
            return Config.from_dict(read_json(source))
    raise FileNotFoundError(
        f"--config: got {named!r}, wanted a JSON file, a run folder, or one of {', '.join(shipped_runs())}"
    )


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
        print(f"next: python -m enn_lib evaluate {arguments.out}")
    else:
        print("the same command goes on from here")


def _evaluate(arguments: argparse.Namespace) -> None:
    """Write metrics.json and print the headline."""
    metrics = write_metrics(load_run(arguments.run))
    for name, errors in metrics["test"].items():
        dynamics = metrics["dynamics"][name]
        print(
            f"{name:11}test RMSD {errors['rmsd_component']:.3g} eV/Å per component, "
            f"{errors['rmsd_vector']:.3g} per vector; after {dynamics['steps'][-1]} fs "
            f"{dynamics['rmsd_positions'][-1]:.3g} Å, {dynamics['rmsd_energy'][-1]:.3g} eV"
        )


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


def _reproduce(arguments: argparse.Namespace) -> None:
    """Write figures of the paper, and say of each where it is."""
    experiment = Experiment(load_run(arguments.run), load_run("paper"))
    if arguments.quick:
        experiment = experiment.small()
    torch.set_num_threads(1)  # the same sums, and so the same numbers, each time
    for files in reproduce(experiment, arguments.out, arguments.figure or tuple(FIGURES)):
        print(*files)


def _export(arguments: argparse.Namespace) -> None:
    """Write the force field of a run as one file, and say how it is read."""
    file = export_run(load_run(arguments.run), arguments.file, average=not arguments.alone)
    print(f"{file}: positions (batch, 4, 3) in Å, float64, to forces in eV/Å")
    print(f"read it with: torch.export.load({str(file)!r}).module()")


def add_study(
    commands: argparse._SubParsersAction,
    name: str,
    run: Callable[[Path, float | None, float], None],
    what: str,
    *,
    option: str,
    default: float,
    meaning: str,
    remark: str = "",
) -> None:
    """Add the command of a study whose runs leave records, and whose one option says how long a run is."""
    command = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}, and write a record for each run. Records that the folder "
        f"holds already stay, so that the same command goes on where it was stopped.{remark}",
    )
    command.add_argument("--out", required=True, type=Path, help="the folder of the records")
    command.add_argument("--budget", type=float, help="begin no run after so many minutes")
    command.add_argument(
        f"--{option}", type=type(default), default=default, help=f"{meaning}, {default:g} if not given"
    )
    command.set_defaults(function=lambda a: run(a.out, a.budget, getattr(a, option)))


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
        "reproduce",
        help="make the figures of the paper, with their numbers",
        description="Make the figures of the paper, all or some, from trained runs: figure-N.png, "
        "figure-N.pdf, and figure-N.csv with the numbers that are drawn, a unit in the name of each column. "
        "The same command gives the same files again.",
    )
    command.add_argument(
        "--figure", type=int, nargs="+", metavar="N", help="numbers of figures, 1 to 7; all if not given"
    )
    command.add_argument(
        "--quick",
        action="store_true",
        help="in seconds: the same runs on 500 test configurations, and 3 samples of 300 steps instead of "
        "all 20,000, and 10 of 10,000",
    )
    command.add_argument(
        "--run", default="reference", help="whose forces and dynamics are drawn: a shipped run or a folder"
    )
    command.add_argument(
        "--out", type=Path, default=Path("figures"), help="the folder of the files (default: figures)"
    )
    command.set_defaults(function=_reproduce)
    for name, function, what in (
        ("fire-study", run_study, "train with FIRE under every reading of the paper"),
        ("fire-on-all", run_on_all, "train with FIRE on all data under the two recommended readings"),
        ("matched-cost", run_costs, "train with five optimisers at equal numbers of gradients"),
        ("choices", run_choices, "train with one setting changed at a time, and look for overfitting"),
        ("drawing", run_drawing, "train with batches that hold compact configurations more often"),
        ("finish", run_finishes, "go on from trained weights with L-BFGS, and with Muon"),
        ("long-run", run_long, "follow the energy over 100,000 steps under every force field"),
    ):
        command = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}, and write a table for each run. Tables that the "
            "folder holds already stay, so that the same command goes on where it was stopped.",
        )
        command.add_argument("--out", required=True, type=Path, help="the folder of the tables")
        command.set_defaults(function=lambda arguments, run=function: run(arguments.out))
    command = commands.add_parser(
        "benchmark",
        help="measure how fast this machine trains and simulates",
        description="Measure, in about five minutes on an otherwise idle machine, training beside a "
        "straightforward program and beside matrix products alone, dynamics beside the analytic force and "
        "ASE, and two processes beside two threads; write a table for each, over those that are there.",
    )
    command.add_argument("--out", required=True, type=Path, help="the folder of the tables")
    command.set_defaults(function=lambda arguments: run_benchmarks(arguments.out))
    add_study(
        commands,
        "peers",
        run_peers,
        "train the ENN and other models at equal parameters and equal time",
        option="seconds",
        default=PEERS_SECONDS,
        meaning="processor time of a run",
    )
    command = commands.add_parser(
        "molecule-data",
        help="make the data of ammonia by quantum chemistry",
        description="Sample geometries of ammonia by thermostats, its inversion and a few trajectories, all "
        "by GFN2-xTB, and write them as one file, in some minutes. Needs the extra molecule (tblite).",
    )
    command.add_argument("--out", required=True, type=Path, help="the file to write, ending in .safetensors")
    command.set_defaults(function=lambda arguments: make_data(arguments.out))
    add_study(
        commands,
        "molecule",
        run_molecule,
        "train the networks for ammonia, with and without scalar features",
        option="steps",
        default=STEPS,
        meaning="of the optimiser in the comparison",
        remark=" Writes the true energy along trajectories, too. Needs the extra molecule (tblite).",
    )
    add_study(
        commands,
        "nbody",
        run_nbody,
        "train the ENN and EGNN on the benchmark of five charged particles",
        option="seconds",
        default=NBODY_SECONDS,
        meaning="processor time of a run",
    )
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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parsed = parser().parse_args(arguments)
    try:
        parsed.function(parsed)
    except (ValueError, OSError, FloatingPointError) as error:
        if is_first_process():
            print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
