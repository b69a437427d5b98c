"""The paper's own training, FIRE on the full batch, as far as it was taken."""

from dataclasses import replace

from enn_book.studies.study import Study, errors_of_runs
from enn_lib.training import Config

PAPER = Config(
    optimiser="fire",
    fire_order="semi_implicit",
    batch_size=None,
    iterations=10_000_000,
    chunk_size=200,
    checkpoint_every=100,
    points_per_decade=40,
    threads=1,
)
"""All 60,000 configurations and the paper's ten million iterations, of which a budget sees a small part."""

FEW = replace(
    PAPER,
    n_configurations=1000,
    chunk_size=1000,
    iterations=1_000_000,
    learning_rate=0.02,
    checkpoint_every=20_000,
    points_per_decade=20,
)
"""600 configurations, a million iterations."""

STUDY = Study(
    question="How far does the paper's own protocol come, and what do more iterations do?",
    plan=lambda records, length: {
        "paper": PAPER,
        "paper-again": replace(PAPER, chunk_size=1000),
        "paper-600": FEW,
    },
    run=None,
    summary=errors_of_runs,
)
