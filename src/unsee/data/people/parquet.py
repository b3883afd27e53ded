"""Reading one config of a folder in the published layout; one sentence says what is missing, broken or different."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unsee.core.errors import DataError, first_line
from unsee.core.text import is_file_name, one_line
from unsee.data.people.layout import SCHEMAS

BENCHMARK = "MLLMMU/MLLMU-Bench"
TRAINING_TEXT = "MLLMMU/baseline_train_split"
TASK_COLUMNS = ("Classification_Task", "Generation_Task", "Mask_Task")

_TYPES: Mapping[str, pa.DataType] = {field.name: field.type for schema in SCHEMAS.values() for field in schema}
_LFS_POINTER = b"version https://git-lfs"
_SHOWN = 10
_ROWS_AT_ONCE = 32  # a photo takes about a megabyte, so a whole table at once may not fit into memory

Row = Mapping[str, Any]


def read(
    folder: Path, config: str, columns: Sequence[str], only: Iterable[str] = (), optional: Sequence[str] = ()
) -> dict[str, Row]:
    """Read the rows of one config by ID, in file order.

    Args:
        folder: the data folder.
        config: the folder of the config within it.
        columns: columns to read; each must exist.
        only: IDs to read; each must exist. Empty reads all.
        optional: columns to read if they exist.

    Raises:
        DataError: the config, a column or a part of one is missing, or an ID is empty, doubled or missing.
    """
    only_ids = set(only)
    rows: dict[str, Row] = {}
    for path in _files(folder, config):
        with _opened(path) as file:
            present = file.schema_arrow
            _check_kind(path, present, columns)
            _check_columns(path, config, present, {name: _TYPES[name] for name in columns})
            chosen = [*columns, *(name for name in optional if name in present.names)]
            file_rows = list(_rows(file, chosen, only_ids))
        for row in file_rows:
            identity = row["ID"]
            if not identity:
                raise DataError(f"{path}: a row has an empty ID; give each row its own ID")
            if not is_file_name(identity):
                raise DataError(
                    f"{path}: ID '{one_line(identity[:60])}' names files; it must be short, hold no slash and not "
                    "begin with a dot"
                )
            if identity in rows:
                raise DataError(f"{path}: ID '{identity}' occurs twice in config '{config}'; give each row its own ID")
            rows[identity] = row
    missing = sorted(only_ids - rows.keys())
    if missing:
        raise DataError(f"{folder / config}: no row for ID {', '.join(map(repr, missing[:5]))}; add what is missing")
    return rows


def read_rows(folder: Path, config: str, types: Mapping[str, pa.DataType], optional: Sequence[str] = ()) -> list[Row]:
    """Read the rows of one config of any data, in file order.

    Args:
        folder: the data folder.
        config: the folder of the config within it.
        types: the columns to read, each of which must exist with all parts of its type.
        optional: columns to read if they exist.

    Raises:
        DataError: the config, a column or a part of one is missing.
    """
    rows: list[Row] = []
    for path in _files(folder, config):
        with _opened(path) as file:
            present = file.schema_arrow
            _check_columns(path, config, present, types)
            chosen = [*types, *(name for name in optional if name in present.names)]
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=chosen):
                rows += batch.to_pylist()
    return rows


def columns_of(folder: Path, config: str) -> list[str]:
    """Return the columns of the first file of a config; none if there is no such file, or it cannot be read."""
    for path in sorted((folder / config).glob("*.parquet"))[:1]:
        try:
            return list(pq.read_schema(path).names)
        except (pa.ArrowException, OSError, UnicodeDecodeError):
            break
    return []


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file; what goes wrong while it is read becomes a `DataError`."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {_why_unreadable(path, error)}") from error


def nearest(name: str, known: Collection[str]) -> str:
    """Return the end of a sentence that names the most similar known name; "" if none is similar."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; the nearest is '{near[0]}'" if near else ""


def _files(folder: Path, config: str) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; `unsee build` makes one")
    files = sorted((folder / config).rglob("*.parquet"))
    if not files:
        siblings = (folder / config).parent.rglob("*.parquet")
        found = sorted({path.parent.relative_to(folder).as_posix() for path in siblings})
        raise DataError(
            f"{folder}: config '{config}' is missing{nearest(config, found)} "
            f"(found: {', '.join(found[:_SHOWN]) or 'no parquet file'}{', ...' if len(found) > _SHOWN else ''})"
        )
    parts = {int(match[1]) for path in files if (match := re.search(r"-of-(\d+)\.parquet$", path.name))}
    if parts and len(files) < max(parts):
        raise DataError(f"{folder / config}: only {len(files)} of {max(parts)} parquet files; fetch the others too")
    return files


def _rows(file: pq.ParquetFile, columns: Sequence[str], only_ids: Collection[str]) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(columns)):
        ids = [_identity(value) for value in batch.column("ID").to_pylist()]
        chosen = [index for index, identity in enumerate(ids) if not only_ids or identity in only_ids]
        for index, row in zip(chosen, batch.take(pa.array(chosen, pa.int64())).to_pylist(), strict=True):
            yield row | {"ID": ids[index]}


def _identity(value: object) -> str:
    """Return the ID as text. A number gets its leading zeros back: some writers store "042" as 42."""
    return f"{value:03}" if isinstance(value, int) else str(value or "").strip()


def _check_kind(path: Path, present: pa.Schema, needed: Sequence[str]) -> None:
    """Check that a file of one of two repositories with equal folders is not of the other."""
    names = present.names
    if "metadata" in names and not {*TASK_COLUMNS} & {*names} and {*TASK_COLUMNS} & {*needed}:
        raise DataError(
            f"{path.parent}: holds training text, so this is {TRAINING_TEXT}, whose folders are named as those of "
            f"{BENCHMARK}; set data.source to the latter and data.training_text to this one"
        )
    if "metadata" in needed and "metadata" not in names and {*TASK_COLUMNS} & {*names}:
        raise DataError(
            f"{path.parent}: holds questions but no training text, so this is {BENCHMARK}, whose folders are named as "
            f"those of {TRAINING_TEXT}; set data.training_text to the latter, or leave it out to use 'ft_Data'"
        )


def _check_columns(path: Path, config: str, present: pa.Schema, needed: Mapping[str, pa.DataType]) -> None:
    """Check that every needed column exists with all its parts."""
    names = present.names
    for name, wanted in needed.items():
        if name not in names:
            raise DataError(
                f"{config}: column '{name}' is missing in {path}{nearest(name, names)} (found: {', '.join(names)})"
            )
        _check_part(f"{config}: column '{name}'", path, wanted, present.field(name).type)


def _check_part(where: str, path: Path, needed: pa.DataType, found: pa.DataType) -> None:
    """Check that a column, or a part of one, has all the parts that are read."""
    if pa.types.is_null(found):
        return
    if pa.types.is_struct(needed) and pa.types.is_struct(found):
        names = [field.name for field in found]
        for field in needed:
            if field.name not in names and field.name != "path":
                raise DataError(
                    f"{where} has no '{field.name}' in {path}{nearest(field.name, names)} (found: {', '.join(names)})"
                )
            if field.name in names:
                _check_part(f"{where}.{field.name}", path, field.type, found.field(field.name).type)
    elif pa.types.is_list(needed) and (pa.types.is_list(found) or pa.types.is_large_list(found)):
        _check_part(f"{where}[]", path, needed.value_type, found.value_type)
    elif pa.types.is_nested(needed) or pa.types.is_nested(found):
        raise DataError(f"{where} is {found} in {path}; the published one is {needed}")


def _why_unreadable(path: Path, error: Exception) -> str:
    if path.is_symlink() and not path.exists():
        return "a link to a file that is not here; copy the cache with its folder 'blobs', or fetch the data again"
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    if start == _LFS_POINTER:
        return f"a git-LFS pointer instead of the data; run `git lfs pull` in {path.parent}"
    if start.startswith(b"../"):
        return "a link of the hub's cache that was unpacked as text; unpack it with links, or fetch the data again"
    return f"not a readable parquet file ({first_line(error)}); fetch or build it again"
