"""Reads the files of published benchmarks; a file that cannot be read gives one clear sentence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unsee.core.errors import DataError
from unsee.data.user_files import read_text

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises:
        DataError: the file is missing or not JSON.
    """
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from error


def read_json_lines(path: Path, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file that has one on each line.

    Args:
        path: the file.
        keys: keys that every object must have.

    Raises:
        DataError: the file is missing, or a line is not such an object.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON: {error}") from error
        yield require_keys(entry, keys, f"{path}, line {number}")


def read_rows(paths: Iterable[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of parquet files, one file in memory at a time.

    Raises:
        DataError: a file is not parquet or lacks a column.
    """
    for path in paths:
        try:
            rows = pq.read_table(path).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable parquet file ({error}); fetch it again") from error
        for row in rows:
            yield require_keys(row, columns, str(path))


def require_keys(entry: Any, keys: Sequence[str], where: str) -> dict[str, Any]:
    """Return the entry if it is an object with every key.

    Raises:
        DataError: it is not.
    """
    if not isinstance(entry, dict):
        raise DataError(f"{where}: not an object with {', '.join(keys)}")
    if missing := [key for key in keys if key not in entry]:
        raise DataError(f"{where}: no {', '.join(missing)} (found: {', '.join(entry)})")
    return entry


def read_image(folders: Iterable[Path], name: str) -> bytes:
    """Return the image of this name from the first folder that has it; a name without ending takes any image format.

    Raises:
        DataError: no folder has it.
    """
    looked = list(folders)
    names = [name] if Path(name).suffix.lower() in IMAGE_ENDINGS else [name + ending for ending in IMAGE_ENDINGS]
    for path in (folder / candidate for folder in looked for candidate in names):
        if path.is_file():
            return path.read_bytes()
    raise DataError(f"image '{name}' is in none of {', '.join(map(str, looked))}; put the images there")


def encoded(image: Mapping[str, Any] | None, where: str) -> bytes:
    """Return the bytes of an image column.

    Raises:
        DataError: the column is empty.
    """
    content = (image or {}).get("bytes")
    if not content:
        raise DataError(f"{where}: has no image; fetch the file again")
    return bytes(content)
