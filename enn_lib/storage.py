"""Files that are never half written, and nested states without pickle."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor


@contextmanager
def replacing(path: Path):
    """Give a path beside `path` to write to, and rename it over `path` only if all went well."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: dict) -> None:
    """Write `value` as indented JSON."""
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        ValueError: if the file is no JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: got a {type(value).__name__}, wanted a JSON object")
    return value


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[float]]) -> None:
    """Write a table with a header."""
    with replacing(path) as part, open(part, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_missing_csv(
    path: Path, columns: Sequence[str], make: Callable[[], Iterable[Sequence[float]]], digits: int = 7
) -> None:
    """Write a table that costs time, unless it is there: so a study goes on where it was stopped.

    Args:
        path: of the table; its folder is made if it does not exist.
        columns: the header.
        make: called only if the table is missing; returns its rows.
        digits: significant ones of every number.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_csv(path, columns, [[f"{entry:.{digits}g}" for entry in row] for row in make()])


def read_csv(path: Path) -> dict[str, list[float]]:
    """Read a table of numbers as one list a column.

    Raises:
        ValueError: if there is no header, a row has another length, or an entry is no number.
    """
    try:
        with open(path, newline="") as file:
            reader = csv.reader(file)
            columns = next(reader, None)
            rows = [[float(entry) for entry in row] for row in reader]
    except ValueError as error:
        raise ValueError(f"{path}: not a table of numbers ({error})") from error
    if columns is None:
        raise ValueError(f"{path}: got an empty file, wanted a table with a header")
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"{path}: got a row that is not as long as the header {columns}")
    return {name: [row[k] for row in rows] for k, name in enumerate(columns)}


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write named tensors and strings as one safetensors file."""
    with replacing(path) as part:
        # Not save_file, which has a temporary file of its own: a kill would leave that beside ours.
        part.write_bytes(save({name: t.detach().contiguous() for name, t in tensors.items()}, metadata))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote.

    Raises:
        ValueError: if the file is damaged or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            # safe_open is no dict, so it has to be asked for its keys.
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from error


def save_state(path: Path, state) -> None:
    """Write a nest of dicts, lists, tuples, tensors, numbers and strings, exactly and without pickle.

    The tensors become the tensors of a safetensors file and the skeleton its metadata, so that the
    whole is one file and one rename. A tensor that lies in memory by columns comes back so: a product
    with it is rounded otherwise than one with its copy by rows, and SOAP keeps such tensors.
    """
    tensors: dict[str, Tensor] = {}

    def strip(value):
        if isinstance(value, Tensor):
            name = str(len(tensors))
            order = sorted(range(value.ndim), key=value.stride, reverse=True)
            # safetensors refuses tensors that share memory.
            tensors[name] = value.detach().permute(order).clone(memory_format=torch.contiguous_format)
            is_by_rows = order == list(range(value.ndim))
            return {"tensor": name} if is_by_rows else {"permuted": [name, order]}
        if isinstance(value, dict):
            return {"dict": [[strip(k), strip(v)] for k, v in value.items()]}
        if isinstance(value, (list, tuple)):
            return {type(value).__name__: [strip(v) for v in value]}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(f"state: got a {type(value).__name__}, wanted tensors, numbers, strings or a nest")

    save_tensors(path, tensors, {"skeleton": json.dumps(strip(state))})


def load_state(path: Path):
    """Read what `save_state` wrote.

    Raises:
        ValueError: if the file is damaged or of another format.
    """
    tensors, metadata = load_tensors(path)
    if "skeleton" not in metadata:
        raise ValueError(f"{path}: not a saved state (no skeleton in its metadata)")

    def build(value):
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "permuted":
            name, order = content
            return tensors[name].permute([order.index(k) for k in range(len(order))])
        if kind == "dict":
            return {build(k): build(v) for k, v in content}
        return {"list": list, "tuple": tuple}[kind](build(v) for v in content)

    try:
        return build(json.loads(metadata["skeleton"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a saved state (its skeleton is foreign: {error!r})") from error
