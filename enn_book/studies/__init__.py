"""Studies, a folder each with question, code and records; `enn_book.studies.study` runs them all."""

from pathlib import Path


def run_folders() -> list[Path]:
    """The trainings whose whole run is kept by a study, which `enn_lib.load_run` finds by their names."""
    return sorted(file.parent for file in Path(__file__).parent.glob("*/records/*/config.json"))
