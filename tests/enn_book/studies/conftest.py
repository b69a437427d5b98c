"""What tests of several studies need."""

import itertools

import pytest

from enn_book.studies.molecule.ammonia import load_ammonia


@pytest.fixture
def clock(monkeypatch):
    """Every step of a training for a given time takes a second of processor time."""
    count = itertools.count()
    monkeypatch.setattr("enn_book.studies.timed.time.process_time", lambda: float(next(count)))


@pytest.fixture(scope="session")
def data():
    """The data of ammonia."""
    return load_ammonia()
