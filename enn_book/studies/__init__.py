"""Studies, a folder each with question, code and records; `enn_book.studies.study` runs them all."""

from pathlib import Path

from enn_lib.runs import shipped_folders


def run_folders() -> list[Path]:
    """The trainings whose whole run is kept by a study, which `enn_lib.load_run` finds by their names."""
    return sorted(file.parent for file in Path(__file__).parent.glob("*/records/*/config.json"))


def shipped_first(name: str) -> Path:
    """The folder of the shipped run of a name; of any other, what `load_run` would look for.

    `enn_lib.load_run` itself takes a run of the present folder first, which is never meant where a program
    says the name.
    """
    return shipped_folders().get(name, Path(name))
