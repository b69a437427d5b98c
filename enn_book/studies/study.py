"""The one mechanism of all studies: plan, run what is missing, go on after a kill, record, load, list.

A study is a folder beside this file. Its ``README.md`` says what was asked and found, its ``study.py``
defines a `Study` under the name ``STUDY``, and ``records/`` holds the records. A record is what one run left:

====================  ======================================================================================
``NAME.json``         its configuration, what was measured, and its provenance (versions, hardware, commit,
                      seconds, date); written last, so that a run without it is not there
``NAME.csv``          its table, if it has one; further ones are ``NAME.KIND.csv``
``NAME.safetensors``  weights, if they are kept
``NAME/``             in place of all these, for a training whose whole run is kept (see `enn_lib.runs`)
====================  ======================================================================================

Records from before the mechanism have the date of the commit that brought them, and null for what was not
recorded. ``python -m enn_book study`` lists the studies, and
``python -m enn_book study NAME --out DIR`` repeats one.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor
from tqdm import tqdm

from enn_book.style import Table, table
from enn_lib.evaluation import write_metrics
from enn_lib.runs import load_run
from enn_lib.storage import load_tensors, read_csv, read_json, save_tensors, write_csv, write_json
from enn_lib.training import provenance, train

STUDENT = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 24: 2.064}
"""Student's t for a two-sided interval of 95 %, by degrees of freedom."""

STUDIES = Path(__file__).parent
"""The folder of the studies.

:meta hide-value:
"""

Columns = dict[str, list[float]]
"""A table, as one list of numbers a column."""


@dataclass(frozen=True)
class Record:
    """What one run left.

    Attributes:
        path: of its files, without suffix; or of its run folder.
        values: what its JSON file holds, or the configuration and the metrics of a run.
    """

    path: Path
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the run."""
        return self.path.name

    @property
    def config(self) -> dict[str, Any]:
        """The configuration."""
        return self.values["config"]

    @property
    def seconds(self) -> float | None:
        """What the run took; None where that was not recorded."""
        if self.path.is_dir():
            return self.table("history")["seconds"][-1]
        return self["provenance"].get("seconds", self.values.get("seconds"))

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def table(self, kind: str = "") -> Columns:
        """A table that the run left; of a run folder that is "history"."""
        return read_csv(self.path / f"{kind}.csv" if self.path.is_dir() else _file(self.path, kind, "csv"))

    def weights(self) -> dict[str, Tensor]:
        """The weights that were kept.

        Raises:
            FileNotFoundError: if none were.
        """
        return load_tensors(_file(self.path, "", "safetensors"))[0]


class Records(Mapping[str, Record]):
    """The records of a folder by name, in the order of their names."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._records = {}
        for file in sorted(folder.glob("*.json")):
            self._records[file.stem] = Record(file.with_suffix(""), read_json(file))
        for file in sorted(folder.glob("*/metrics.json")):
            config = read_json(file.with_name("config.json"))
            values = {"provenance": config.pop("provenance", {}), "config": config, **read_json(file)}
            self._records[file.parent.name] = Record(file.parent, values)

    def __getitem__(self, name: str) -> Record:
        if name not in self._records:
            raise KeyError(f"{self.folder}: got no record {name}, wanted one of {', '.join(self._records)}")
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def tables(self, kind: str = "") -> dict[str, Columns]:
        """The tables of all records, by name."""
        return {name: record.table(kind) for name, record in self.items()}


@dataclass(frozen=True)
class Outcome:
    """What a run found.

    Attributes:
        measured: for the JSON file, beside the configuration and the provenance.
        tables: columns and rows, by kind; the kind "" is the main one.
        weights: to be kept; None for none.
    """

    measured: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, tuple[Sequence[str], Iterable[Sequence[float]]]] = field(default_factory=dict)
    weights: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it.

    Attributes:
        question: in one sentence.
        plan: the configurations (dataclasses) by name, in the order in which they are run, from the records
            that are there and the length of a run: what is run may depend on what was found, such as the best
            of some trials.
        run: makes the run of a configuration; or None, if it is a `Config` whose whole training is kept.
        length: of a run, if the study is about runs of a given length; what it counts is in `unit`.
        unit: such as "seconds of processor time".
        summary: the table of the study's README.
        digits: significant ones of the numbers in tables.
        keeps: whether the weights of a record stay when all runs are done; by default all do.
    """

    question: str
    plan: Callable[["Records", float | None], Mapping[str, Any]]
    run: Callable[[Any], Outcome] | None
    length: float | None = None
    unit: str = ""
    summary: Callable[["Records"], Table] | None = None
    digits: int = 7
    keeps: Callable[["Records", Record], bool] = lambda records, record: True

    def repeat(
        self,
        folder: Path,
        *,
        budget: float | None = None,
        length: float | None = None,
        names: Iterable[str] | None = None,
        **changes,
    ) -> Records:
        """Run what is missing in `folder`; after a kill, or later, the same call goes on from there.

        Args:
            folder: made if it does not exist.
            budget: begin no run after so many minutes; a training whose whole run is kept stops then, and
                goes on from its checkpoint the next time. None for no limit.
            length: of a run; that of the study if not given.
            names: only these runs.
            changes: settings to change in all configurations, such as ``iterations``.

        Returns:
            The records of the folder.

        Raises:
            ValueError: if a run is named that is not in the plan, a length is given to a study without, or a
                number is out of its range.
        """
        if length is not None and self.length is None:
            raise ValueError(f"length: got {length:g}, wanted none, as the runs of this study have no length")
        if length is not None and not 0 < length < math.inf:
            raise ValueError(f"length: got {length:g}, wanted a positive number")
        if budget is not None and not budget >= 0:  # as NaN is not
            raise ValueError(f"budget: got {budget:g}, wanted minutes, at least 0")
        began = time.perf_counter()
        chosen = None if names is None else list(names)
        folder.mkdir(parents=True, exist_ok=True)
        with tqdm(unit="run") as bar:
            while True:
                records = Records(folder)
                planned = self.plan(records, self.length if length is None else length)
                wanted = planned if chosen is None else {name: _named(planned, name) for name in chosen}
                waiting = [name for name in wanted if name not in records]
                minutes = (time.perf_counter() - began) / 60
                if not waiting or (budget is not None and minutes >= budget):
                    break
                bar.total = bar.n + len(waiting)
                bar.set_postfix_str(waiting[0])
                config = replace(wanted[waiting[0]], **changes)
                self._run(folder / waiting[0], config, None if budget is None else budget - minutes)
                bar.update()
        for record in records.values():
            if not self.keeps(records, record):
                _file(record.path, "", "safetensors").unlink(missing_ok=True)
        return records

    def _run(self, path: Path, config, minutes: float | None) -> None:
        """Make one run, and write its record."""
        if self.run is None:
            is_finished = (path / "model.safetensors").exists() and not (path / "checkpoint").exists()
            if is_finished or train(config, path, max_minutes=minutes).iteration == config.iterations:
                write_metrics(load_run(path))
            return
        began = time.perf_counter()
        outcome = self.run(config)
        for kind, (columns, rows) in outcome.tables.items():
            shortened = [[f"{entry:.{self.digits}g}" for entry in row] for row in rows]
            write_csv(_file(path, kind, "csv"), columns, shortened)
        if outcome.weights is not None:
            save_tensors(_file(path, "", "safetensors"), dict(outcome.weights), {"record": path.name})
        spent = {"seconds": round(time.perf_counter() - began, 1)}
        record = {"config": asdict(config), **outcome.measured, "provenance": provenance() | spent}
        write_json(_file(path, "", "json"), record)


def _file(path: Path, kind: str, suffix: str) -> Path:
    """A file of a record. Names may have dots, so that the suffix is put behind, not in place of one."""
    return path.with_name(".".join(filter(None, (path.name, kind, suffix))))


def _named(planned: Mapping[str, Any], name: str):
    if name not in planned:
        raise ValueError(f"name: got {name!r}, wanted one of {', '.join(planned)}")
    return planned[name]


def study_names() -> list[str]:
    """The names of all studies."""
    return sorted(file.parent.name for file in STUDIES.glob("*/study.py"))


def module(name: str) -> ModuleType:
    """The ``study.py`` of a name, for what one study makes of its records and another uses.

    Raises:
        ValueError: if there is none.
    """
    if name not in study_names():
        raise ValueError(f"study: got {name!r}, wanted one of {', '.join(study_names())}")
    return import_module(f"enn_book.studies.{name}.study")


def find(name: str) -> Study:
    """The study of a name.

    Raises:
        ValueError: if there is none.
    """
    return module(name).STUDY


def load(name: str, folder: Path | None = None) -> Records:
    """The records of a study, those that come with the book if no folder is given.

    Raises:
        ValueError: if there is no study of this name.
        FileNotFoundError: if the folder holds no record.
    """
    find(name)
    records = Records(STUDIES / name / "records" if folder is None else folder)
    if not records:
        raise FileNotFoundError(f"{records.folder}: got no records, wanted those of the study {name}")
    return records


def listing() -> str:
    """All studies, a line each: name, number of records, the hours they took, the last date, the question.

    Hours and dates are of the records that have them; a plus says that others have not.
    """
    lines = [f"{'study':13}{'records':>8}{'hours':>8}  {'last':10}  question"]
    for name in study_names():
        records = list(load(name).values())
        seconds = [record.seconds for record in records]
        hours = f"{sum(s or 0 for s in seconds) / 3600:.1f}{'+' * (None in seconds)}"
        last = max(record["provenance"].get("date") or "" for record in records)
        lines.append(f"{name:13}{len(records):8}{hours:>8}  {last:10}  {find(name).question}")
    return "\n".join(lines)


def errors_of_runs(records: Records) -> Table:
    """The summary of a study whose whole runs are kept: iterations, minutes, and errors alone and over S4."""
    rows = []
    for name, record in records.items():
        errors = [record["test"][kind]["rmsd_component"] for kind in ("network", "s4_average")]
        moved = record["dynamics"]["s4_average"]["rmsd_positions"][-1]
        rows.append([f"`{name}`", int(record["iteration"]), (record.seconds or 0) / 60, *errors, moved])
    columns = ["run", "iterations", "minutes", "test RMSD (eV/Å)", "the same over S4"]
    return table([*columns, "positions over S4 at step 4,000 (Å)"], rows)


def best(records: Iterable[Record], error: str = "validation_rmsd") -> Record:
    """The record with the least error; a run that diverged has None, and counts as the worst.

    Raises:
        ValueError: if there are none.
    """
    return min(records, key=lambda record: float("inf") if record[error] is None else record[error])
