"""The design: the linter of imports knows every study, and the library stays small."""

import re
import tomllib

import pytest
from pages import ROOT

from enn_book.studies.study import study_names

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
    "contracts"
]


def test_no_study_is_left_out_of_the_contract_that_keeps_them_apart():
    (apart,) = (contract["modules"] for contract in CONTRACTS if contract["type"] == "independence")
    assert apart == [f"enn_book.studies.{name}" for name in study_names()]


@pytest.mark.parametrize("package", ["enn_lib", "enn_book"])
def test_every_part_of_a_package_is_in_the_order_of_its_parts(package):
    (order,) = (c["layers"] for c in CONTRACTS if c.get("containers") == [package])
    parts = {p.stem for p in (ROOT / package).iterdir() if p.suffix == ".py" or any(p.rglob("*.py"))}
    assert {name for layer in order for name in layer.split(" | ")} == parts - {"__init__"}


def test_the_library_is_small():
    files = [path for path in (ROOT / "enn_lib").rglob("*.py") if "__pycache__" not in path.parts]
    assert len(files) <= 22
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) <= 4000
    assert {path.name for path in (ROOT / "enn_lib" / "runs").iterdir()} == {"reference", "softened"}


def test_the_tests_of_the_library_do_without_the_book():
    for file in (ROOT / "tests" / "enn_lib").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) enn_book", file.read_text(encoding="utf-8"), re.MULTILINE), (
            file.name
        )


def test_least_squares_never_take_the_default_driver():
    """Where columns depend on each other, it reads memory that nothing has set (pytorch/pytorch#187411)."""
    files = [
        file
        for folder in ("enn_lib", "enn_book", "book", "tests")
        for file in (ROOT / folder).rglob("*.[mp][dy]")
    ]
    calls = [
        call
        for file in files
        for call in re.findall(r"linalg\.lstsq\((?s:.{250})", file.read_text(encoding="utf-8"))
    ]
    assert len(calls) > 10
    assert all('driver="gelsd"' in call for call in calls)
