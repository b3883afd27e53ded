"""The one reader of files of text: lines, JSON, JSON Lines, TOML and CSV.

Files are UTF-8; a byte order mark is skipped. Lines end at a line feed, with or without a carriage return before it, so
that the other line separators of Unicode stay within their text. What a file holds is checked before it is used: texts
can be encoded again, numbers fit into 64 bits and are finite, and nothing is nested too deeply.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import tomllib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from unsee.core.errors import DataError, UnseeError, did_you_mean, several

Value = TypeVar("Value")

MAX_DEPTH = 64
"""Levels of lists and tables within each other that a file may have."""
DELIMITERS = (",", ";", "\t")
SPREADSHEETS = (".xlsx", ".xls", ".ods")
_LARGEST = 2**63 - 1
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Problems:
    """What is wrong with files, in the order of finding, so that one message shows all of it."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, path: Path, line: int, what: str) -> None:
        """Add one problem; `line` counts from 1."""
        self._found.append(f"{path}, line {line}: {what}")

    def stop_if_any(self) -> None:
        """Raise an error if a problem was found.

        Raises:
            DataError: names up to twenty problems with their lines, and the number of the others.
        """
        if self._found:
            raise DataError(several(self._found))


def read_text(path: Path, error: type[UnseeError] = DataError) -> str:
    """Return the text of a UTF-8 file, without a byte order mark; the ends of its lines stay as they are.

    Args:
        path: the file.
        error: the type of the error.

    Raises:
        UnseeError: the file cannot be read or is not UTF-8; the message names the encoding if it is a usual one.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as fault:  # ValueError: the name holds a null character
        raise error(f"{path}: cannot be read: {getattr(fault, 'strerror', None) or fault}") from fault
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise error(f"{path}: is not UTF-8 text{_likely_encoding(content, fault.start)}; save it as UTF-8") from fault


def is_file(path: Path) -> bool:
    """Return True if a file exists; a name that no file can have is that of no file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find_file(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder, even if its name composes its letters in another way than `name`."""
    path = folder / name
    if name.isascii() or is_file(path):
        return path
    try:
        near = [other for other in path.parent.iterdir() if _composed(other.name) == _composed(path.name)]
    except (OSError, ValueError):
        return path
    return near[0] if len(near) == 1 else path


def leaves_folder(name: str) -> bool:
    """Return True if a path is not one below the folder that it starts from."""
    return Path(name).is_absolute() or ".." in Path(name).parts


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines that are not blank, with their numbers from 1."""
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line.removesuffix("\r")) for number, line in lines if line.strip()]


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is not JSON, or holds what cannot be used; the message is one clause.
    """
    try:
        value = json.loads(
            text, parse_int=_integer, parse_float=_number, parse_constant=_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, " if error.lineno > 1 else ""
        reason = error.msg.removesuffix(" at")
        raise ValueError(f"not JSON: {reason} at {place}character {error.colno}") from error
    except RecursionError:
        raise ValueError(f"not usable as JSON: nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:
        raise ValueError(f"not usable as JSON: {error}") from error
    return _checked(value, "not usable as JSON")


def read_json(path: Path, error: type[UnseeError] = DataError) -> Any:
    """Return the value of a JSON file.

    Raises:
        UnseeError: the file cannot be read or is not JSON.
    """
    return _parsed(path, parse_json, error)


def read_json_lines(path: Path, problems: Problems) -> list[tuple[int, Any]]:
    """Return the line numbers and values of a file with one JSON value on each line; blank lines are left out.

    Args:
        path: the file.
        problems: gets the lines that are not JSON.

    Raises:
        DataError: the file cannot be read, or holds one value over several lines.
    """
    return _json_lines(path, read_text(path), problems)


def read_records(
    path: Path, columns: Sequence[str], problems: Problems, similar: Mapping[str, Sequence[str]]
) -> list[tuple[int, Any]]:
    """Return the line numbers and values of a file of JSON Lines, or of a CSV table with exactly these columns.

    A row of a table is an object too; an empty cell is null.

    Args:
        path: the file.
        columns: the columns of a table.
        problems: gets the rows that cannot be read.
        similar: for a column, other words that people write for it; an error suggests them.

    Raises:
        DataError: the file cannot be read, or has other columns.
    """
    if path.suffix.lower() in SPREADSHEETS:
        raise DataError(f"{path}: a spreadsheet; save it as .csv, and give that file")
    text = read_text(path)
    is_table = path.suffix.lower() in (".csv", ".tsv") or max(_fit(text, one, columns)[0] for one in DELIMITERS) > 1
    if not is_table or text.lstrip().startswith("{"):
        return _json_lines(path, text, problems)
    table = read_csv(path, columns)
    keys = table.keys(path, columns, similar)
    if unknown := [one for one, key in zip(table.headings, keys, strict=True) if key not in columns]:
        raise DataError(
            f"{path}: unknown column '{unknown[0]}'{did_you_mean(unknown[0], columns)} (known: {', '.join(columns)})"
        )
    rows = []
    for row in table.rows:
        if fault := row.fault(keys):
            problems.add(path, row.line, fault)
        else:
            rows.append((row.line, {key: cell.strip() or None for key, cell in zip(keys, row.cells, strict=True)}))
    return rows


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML text.

    Raises:
        ValueError: it is not TOML, or holds what cannot be used; the message is one clause.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"is not TOML: {error}") from error
    except RecursionError:
        raise ValueError(f"is not usable as TOML: nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:  # Python itself reads no integer of more than 4,300 digits
        raise ValueError(f"is not usable as TOML: {_too_large(text)}") from error
    checked: dict[str, Any] = _checked(table, "is not usable as TOML")
    return checked


def read_toml(path: Path, error: type[UnseeError] = DataError) -> dict[str, Any]:
    """Return the table of a TOML file.

    Raises:
        UnseeError: the file cannot be read or is not TOML.
    """
    return _parsed(path, parse_toml, error)


@dataclass(frozen=True)
class CsvRow:
    """One row of a table: its first line, counted from 1, and its cells as written."""

    line: int
    cells: tuple[str, ...]

    def fault(self, columns: Sequence[str]) -> str:
        """Return what is wrong if there are more or fewer cells than columns; else ""."""
        if len(self.cells) == len(columns):
            return ""
        return f"has {len(self.cells)} cells, but there are {len(columns)} columns"


@dataclass(frozen=True)
class CsvTable:
    """A table as it was read: the headings as written, and the rows that are not empty."""

    headings: tuple[str, ...]
    rows: tuple[CsvRow, ...]

    def keys(
        self, path: Path, needed: Sequence[str], similar: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> list[str]:
        """Return the headings in the form in which they are compared: lower case, "_" for spaces.

        Raises:
            DataError: a needed column is missing, or two are the same, or one has no heading.
        """
        keys = ["_".join(heading.casefold().split()) for heading in self.headings]
        found = dict(zip(keys, self.headings, strict=True))
        for name in needed:
            if name not in keys:
                words = [found[word] for word in similar.get(name, ()) if word in found]
                hint = f"; did you mean '{words[0]}'?" if words else did_you_mean(name, keys)
                raise DataError(
                    f"{path}: column '{name}' is missing{hint} (found: {', '.join(self.headings) or 'none'})"
                )
        if "" in keys or len(found) < len(keys):
            raise DataError(f"{path}: a column has no heading, or two have the same; give each its own")
        return keys


def read_csv(path: Path, columns: Sequence[str]) -> CsvTable:
    """Return a table whose cells are separated by commas, semicolons or tabs, as its headings show.

    Args:
        path: the file.
        columns: headings to expect; they tell which character separates the cells.

    Raises:
        DataError: the file cannot be read or is not a table; the message names the line.
    """
    text = read_text(path)
    if text.startswith("sep="):  # Excel writes the separator into a line of its own
        delimiter, text = text[4], text[5:].replace("\r", "", 1)
    else:
        delimiter = max(DELIMITERS, key=lambda one: _fit(text, one, columns))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = []
    begins = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(CsvRow(begins, tuple(cells)))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {begins}: not a row of CSV ({error})") from error
    return CsvTable(rows[0].cells if rows else (), tuple(rows[1:]))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _fit(text: str, delimiter: str, columns: Sequence[str]) -> tuple[int, int]:
    """Return how many expected headings the first line holds if it is cut at a character, and how often it is cut."""
    first = text.lstrip().partition("\n")[0]
    cells = {"_".join(cell.strip().strip('"').casefold().split()) for cell in first.split(delimiter)}
    return len(cells.intersection(columns)), first.count(delimiter)


def _json_lines(path: Path, text: str, problems: Problems) -> list[tuple[int, Any]]:
    values, faults = [], []
    for number, line in numbered_lines(text):
        try:
            values.append((number, parse_json(line)))
        except ValueError as error:
            faults.append((number, str(error)))
    if len(faults) > 1 and (kind := _one_value(text)):
        raise DataError(f"{path}: holds one {kind} over several lines; write one object on each line")
    for number, fault in faults:
        problems.add(path, number, fault)
    return values


def _one_value(text: str) -> str:
    """Return the kind of the one value that a text of several lines holds; "" if it holds something else."""
    try:
        return "list" if isinstance(parse_json(text), list) else "object"
    except ValueError:
        return ""


def _parsed(path: Path, parse: Callable[[str], Value], error: type[UnseeError]) -> Value:
    try:
        return parse(read_text(path, error))
    except ValueError as fault:
        raise error(f"{path}: {fault}") from fault


def _likely_encoding(content: bytes, start: int) -> str:
    """Return the clause that names the encoding which a file seems to have, and where it is not UTF-8."""
    line = content.count(b"\n", 0, start) + 1
    if content.startswith(_UTF16) or content[:200].count(0) > len(content[:200]) // 4:
        return " (it looks like UTF-16)"
    try:
        word = " ".join(content[max(0, start - 10) : start + 11].decode("cp1252").split())
    except UnicodeDecodeError:
        return f" (line {line})"
    return f" (line {line}; it looks like Windows-1252: '{word}')" if word.isprintable() else ""


def _integer(digits: str) -> int:
    if len(digits) > len(str(_LARGEST)) + 1:
        raise ValueError(_too_large(digits))
    return int(digits)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{twice}' occurs twice in one object")
    return table


def _too_large(digits: str) -> str:
    shown = digits if len(digits) <= 20 else f"{digits[:10]}... ({len(digits)} characters)"
    return f"holds a number too large to use: {shown}"


def _checked(value: Any, what: str) -> Any:
    """Return a value whose every part can be used.

    Raises:
        ValueError: a part cannot; the message starts with `what`.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for part in level:
            if isinstance(part, str) and not part.isascii() and (fault := _not_text(part)):
                raise ValueError(f"{what}: {fault}")
            if isinstance(part, int) and abs(part) > _LARGEST:
                raise ValueError(f"{what}: {_too_large(str(part))}")
            if isinstance(part, dict):
                inner.extend(part)
                inner.extend(part.values())
            elif isinstance(part, list):
                inner.extend(part)
        if not inner:
            return value
        level = inner
    raise ValueError(f"{what}: nested more than {MAX_DEPTH} deep")


def _not_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"\\u{ord(text[error.start]):04x} is half of a character; write the whole character"
    return ""
