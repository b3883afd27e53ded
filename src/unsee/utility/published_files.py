"""Reads the files of published benchmarks; a file that cannot be read gives one clear sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from unsee.core.errors import DataError, first_line
from unsee.core.reading import Problems, find_file, is_file, leaves_folder, read_json_lines

Fields = Mapping[str, Any]
"""The keys that an entry must have, and the type or union of types of each value."""
_WORDS: Mapping[type, str] = {
    str: "a text", int: "a whole number", list: "a list", dict: "an object", type(None): "null",
}  # fmt: skip
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def read_objects(path: Path, fields: Fields) -> list[dict[str, Any]]:
    """Return the JSON objects of a file that has one on each line.

    Args:
        path: the file.
        fields: the keys that every object must have, with their types.

    Raises:
        DataError: the file is missing, or lines are not such objects.
    """
    problems, objects = Problems(), []
    for number, entry in read_json_lines(path, problems):
        if fault := _fault(entry, fields):
            problems.add(path, number, fault)
        else:
            objects.append(entry)
    problems.stop_if_any()
    return objects


def read_rows(paths: Iterable[Path], fields: Fields) -> Iterator[dict[str, Any]]:
    """Yield the rows of parquet files, one file in memory at a time.

    Raises:
        DataError: a file is not parquet, or a row lacks a column or has another type in it.
    """
    for path in paths:
        try:
            rows = pq.read_table(path).to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: not a readable parquet file ({first_line(error)}); fetch it again") from error
        for number, row in enumerate(rows, start=1):
            yield require(row, fields, f"{path}, row {number}")


def require(entry: Any, fields: Fields, where: str) -> dict[str, Any]:
    """Return the entry if it is an object with every key, and every value has its type.

    Raises:
        DataError: it is not.
    """
    if fault := _fault(entry, fields):
        raise DataError(f"{where}: {fault}")
    checked: dict[str, Any] = entry
    return checked


def _fault(entry: Any, fields: Fields) -> str:
    """Return what is wrong with an entry; "" if nothing is."""
    if not isinstance(entry, dict):
        return f"not an object with {', '.join(fields)}"
    if missing := [key for key in fields if key not in entry]:
        return f"no {', '.join(missing)} (found: {', '.join(entry)})"
    for key, kind in fields.items():
        value = entry[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            kinds = get_args(kind) or (kind,)
            return f"{key} must be {' or '.join(_WORDS[one] for one in kinds)}, got {type(value).__name__}"
    return ""


def read_image(folders: Iterable[Path], name: str) -> bytes:
    """Return the image of this name from the first folder that has it; a name without ending takes any image format.

    Raises:
        DataError: no folder has it, or the name leaves the folder.
    """
    if leaves_folder(name):
        raise DataError(f"image '{name}': not a path below the folder of the images; correct it")
    looked = list(folders)
    names = [name] if Path(name).suffix.lower() in IMAGE_ENDINGS else [name + ending for ending in IMAGE_ENDINGS]
    for path in (find_file(folder, candidate) for folder in looked for candidate in names):
        if is_file(path):
            return path.read_bytes()
    raise DataError(f"image '{name}' is in none of {', '.join(map(str, looked))}; put the images there")


def encoded(image: Mapping[str, Any] | None, where: str) -> bytes:
    """Return the bytes of an image column.

    Raises:
        DataError: the column is empty.
    """
    content = image.get("bytes") if isinstance(image, Mapping) else None
    if not content or not isinstance(content, bytes):
        raise DataError(f"{where}: has no image; fetch the file again")
    return bytes(content)
