"""The trainings of the two shipped networks, `reference` and `softened`, from another seed."""

from dataclasses import replace

from enn_book.studies import shipped_first
from enn_book.studies.study import Study, errors_of_runs
from enn_lib.runs import load_run

SHIPPED = ("reference", "softened")
"""The networks that come with the library; they are from seed 1."""

STUDY = Study(
    question="How far do the two shipped networks depend on the seed?",
    plan=lambda records, length: {
        f"{name}-1": replace(load_run(shipped_first(name)).config, seed=0, data_seed=2208) for name in SHIPPED
    },
    run=None,
    summary=errors_of_runs,
)
