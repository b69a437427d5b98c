"""The command line of the book: ``python -m enn_book --help`` lists what it can do."""

import argparse
import os
import sys
from pathlib import Path

from enn_lib.__main__ import run


def _reproduce(arguments: argparse.Namespace) -> None:
    """Write figures of the paper, and say of each where it is."""
    import torch

    from enn_book.paper.reproduce import FIGURES, Experiment, reproduce
    from enn_book.studies import shipped_first
    from enn_lib.runs import load_run

    reference = shipped_first("reference") if arguments.run is None else arguments.run
    experiment = Experiment(load_run(reference), load_run(shipped_first("paper")))
    if arguments.quick:
        experiment = experiment.small()
    torch.set_num_threads(1)  # the same sums, and so the same numbers, each time
    for files in reproduce(experiment, arguments.out, arguments.figure or tuple(FIGURES)):
        print(*files)


def _study(arguments: argparse.Namespace) -> None:
    """List the studies, or repeat one."""
    from enn_book.studies.study import find, listing

    if arguments.name is None:
        print(listing())
        return
    study = find(arguments.name)
    if arguments.out is None:
        raise ValueError("--out: got nothing, wanted the folder of the records")
    records = study.repeat(arguments.out, budget=arguments.budget, length=arguments.length)
    missing = [name for name in study.plan(records, arguments.length or study.length) if name not in records]
    print(f"{arguments.out}: {len(records)} records" + (f", {len(missing)} runs to go" if missing else ""))


def _benchmark(arguments: argparse.Namespace) -> None:
    """Measure the speed of this machine anew: a record without its JSON file is missing, and made again."""
    from enn_book.studies.study import Records, find

    study = find("speed")
    for name in study.plan(Records(arguments.out), study.length):
        (arguments.out / f"{name}.json").unlink(missing_ok=True)
    print(f"{arguments.out}: {len(study.repeat(arguments.out))} records")


def _grade(arguments: argparse.Namespace) -> None:
    """Run and check students' notebooks, by a tool that reads the pages and so comes with a clone alone."""
    tools = Path(__file__).absolute().parents[1] / "tools"
    if not (tools / "grade.py").exists():
        raise FileNotFoundError("grade: got an installed package, wanted a clone, which has the pages too")
    sys.path.insert(0, str(tools))
    from grade import grade_folder
    from pages import ENVIRONMENT

    if not arguments.folder:
        raise ValueError("folder: got '', wanted a folder with notebooks of students in it")
    os.environ.update(ENVIRONMENT)
    Path(ENVIRONMENT["IPYTHONDIR"]).mkdir(parents=True, exist_ok=True)  # or IPython warns
    options = {name: getattr(arguments, name) for name in ("seconds", "memory", "jobs")}
    grade_folder(Path(arguments.folder), arguments.out, **options)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m enn_book",
        description="Make the figures of the paper, repeat a study of the book, measure this machine, or "
        "grade students' notebooks.",
    )
    commands = top.add_subparsers(required=True, metavar="command")
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
        "--run", help="whose forces and dynamics are drawn: a folder or a shipped run (default: reference)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("figures"), help="the folder of the files (default: figures)"
    )
    command.set_defaults(function=_reproduce)
    command = commands.add_parser(
        "study",
        help="list the studies of the book, or repeat one",
        description="Without a name: list the studies, with question, number of records, cost and age. With "
        "a name: run the study into a folder, a record for each run. Records that the folder holds already "
        "stay, so that the same command goes on where it was stopped.",
    )
    command.add_argument("name", nargs="?", help="of the study")
    command.add_argument("--out", type=Path, help="the folder of the records")
    command.add_argument("--budget", type=float, metavar="MINUTES", help="begin no run after so long")
    command.add_argument(
        "--length",
        type=float,
        help="of a run, in the unit that the study's README names; its own if not given",
    )
    command.set_defaults(function=_study)
    command = commands.add_parser(
        "benchmark",
        help="measure how fast this machine trains",
        description="Measure, in about five minutes on an otherwise idle machine, training beside a "
        "straightforward program and beside matrix products alone, where the time goes on one core, and two "
        "processes beside two threads; write a record for each, over those that are there.",
    )
    command.add_argument("--out", required=True, type=Path, help="the folder of the records")
    command.set_defaults(function=_benchmark)
    command = commands.add_parser(
        "grade",
        help="run the notebooks of students and write a table of the exercises that pass",
        description="Run notebooks that 'make student' has made and students have filled in, each in its own "
        "kernel, with the checks of the book; print a line for each exercise, and write the table: student, "
        "notebook, exercise, passed (1 or 0; nothing if it could not be judged), and what the check said. No "
        "notebook stops the others, and no older table is written over.",
    )
    command.add_argument("folder", help="with a folder for each student, or notebooks named after them")
    command.add_argument(
        "--out", type=Path, help="the table (default: grades.csv in the folder, or grades-2.csv)"
    )
    command.add_argument("--seconds", type=int, default=120, help="stop a cell after so many (default: 120)")
    command.add_argument(
        "--memory", type=float, default=4, help="that a notebook may take, in GiB (default: 4)"
    )
    command.add_argument("--jobs", type=int, default=2, help="notebooks at a time (default: 2)")
    command.set_defaults(function=_grade)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    return run(parser(), arguments)


if __name__ == "__main__":
    sys.exit(main())
