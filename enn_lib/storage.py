"""Files that are never half written, and that never run what they hold."""

import csv
import io
import json
import os
import pickle
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile

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
        part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8", newline="\n")


def read_json(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        ValueError: if the file is no JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: got a {type(value).__name__}, wanted a JSON object")
    return value


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[float]]) -> None:
    """Write a table with a header."""
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def read_csv(path: Path) -> dict[str, list[float]]:
    """Read a table of numbers as one list a column.

    Raises:
        ValueError: if there is no header, a row has another length, or an entry is no number.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
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
    """Write named tensors and strings as one safetensors file; the same ones give the same bytes."""
    # Not save_file, which has a temporary file of its own: a kill would leave that beside ours.
    content = save({name: t.detach().contiguous() for name, t in tensors.items()}, metadata)
    # safetensors writes the metadata in an order that is different each time.
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    if metadata:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    sorted_header = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(end - 8)
    with replacing(path) as part:
        part.write_bytes(content[:8] + sorted_header + content[end:])


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote.

    Raises:
        ValueError: if the file is damaged or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            # safe_open is no dict, so it has to be asked for its keys.
            # Cloned, as torch aligns its own tensors otherwise, and products may be rounded otherwise.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from error


def save_state(path: Path, state: dict) -> None:
    """Write a nest of dicts, lists, tuples, tensors, numbers and strings, exactly, as torch does.

    Raises:
        TypeError: if it holds something else, which could not be read back without running foreign code.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    try:
        torch.load(buffer, weights_only=True)
    except pickle.UnpicklingError as error:
        raise TypeError("state: got something foreign in it, wanted tensors, numbers, strings") from error
    with replacing(path) as part:
        part.write_bytes(buffer.getvalue())


def load_state(path: Path):
    """Read what `save_state` wrote; nothing but tensors, numbers, strings and their nests is made of it.

    Raises:
        ValueError: if the file is damaged or of another format.
    """
    content = io.BytesIO(path.read_bytes())  # so that what is raised below is of the content
    try:
        if ZipFile(content).testzip() is not None:
            raise BadZipFile  # a checksum is wrong, which torch does not look at
        content.seek(0)
        return torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no type of its own for a damaged file
        raise ValueError(f"{path}: not a whole saved state") from error
