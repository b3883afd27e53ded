"""A kind of file that a user hands in, and its damaged forms: foreign bytes, or another value in the place of one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

DEEP = "[" * 50_000 + "]" * 50_000
MARK = "put the value here"
VALUES = {
    "null": "null", "true": "true", "number": "7", "fraction": "-0.5", "list": "[]", "object": "{}", "empty": '""',
    "space": '" "', "deep": DEEP, "nested": "[" * 80 + "]" * 80, "huge": "9" * 5000, "beyond": str(2**70),
    "infinite": "1e999", "nan": "NaN", "half": r'"\ud800"', "zero": r'"a\u0000b"', "long": json.dumps("x" * 20_000),
    "path": '"../../../../victim"', "escape": r'"[/b]\u001b[31m\u202e"', "mark": '"<image>"', "lines": r'"a\u2028b\nc"',
}  # fmt: skip
"""Values of JSON as they are written, in place of another."""
BYTES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda content: b"",
    "blank": lambda content: b"\r\n \n",
    "half": lambda content: content[: len(content) // 2],
    "twice": lambda content: content + content,
    "order mark": lambda content: b"\xef\xbb\xbf" + content,
    "order mark alone": lambda content: b"\xef\xbb\xbf",
    "UTF-16": lambda content: content.decode("latin-1").encode("utf-16"),
    "Windows-1252": lambda content: content.replace(b"a", "é".encode("cp1252")),
    "half a character": lambda content: content.replace(b"a", b"\xed\xa0\x80", 1),
    "zeros": lambda content: content + bytes(200),
    "returns": lambda content: content.replace(b"\n", b"\r\n"),
    "old Mac": lambda content: content.replace(b"\n", b"\r"),
    "separators": lambda content: content.replace(b"a", "a\u2028\x85".encode(), 1),
    "web page": lambda content: b"<!doctype html><html><body>Not found</body></html>\n",
    "pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
    "deep": lambda content: DEEP.encode(),
    "number": lambda content: b"7" * 5000,
    "list": lambda content: b"[]",
    "text": lambda content: b'"text"',
    "one long line": lambda content: b"x" * 200_000,
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        write: writes everything that the command reads into a folder.
        file: the file that is damaged, below that folder.
        words: the command; {} is the folder.
        values: the content of the file, for a kind that gets other values: rows of JSON Lines or CSV, or a JSON value.
        depth: how far below the content other values are put.
        more: other contents of the file, by name.
    """

    write: Callable[[Path], object]
    file: str
    words: tuple[str, ...]
    values: Any = None
    depth: int = 2
    more: dict[str, bytes] = field(default_factory=dict)

    def damaged(self, whole: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the content of every damaged form."""
        for name, change in BYTES.items():
            yield name, change(whole)
        for name, content in self.more.items():
            yield name, content
        if self.file.endswith(".parquet"):
            yield from _other_columns(whole)
        if self.values is not None:
            for place, content in _replaced(self.values, self.depth):
                for name, value in VALUES.items():
                    yield f"{place} {name}", self._text(content).replace(json.dumps(MARK), value).encode()

    def _text(self, content: Any) -> str:
        if self.file.endswith(".jsonl") or "coco_pope" in self.file:
            return "".join(json.dumps(row) + "\n" for row in content)
        return json.dumps(content)


def _replaced(value: Any, depth: int, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield copies of a value with `MARK` in place of one of its parts: of a list, its first item."""
    if depth == 0 or not isinstance(value, dict | list) or not value:
        return
    for key in value if isinstance(value, dict) else (0,):
        parts = [(place + f".{key}", MARK), *_replaced(value[key], depth - 1, f"{place}.{key}")]
        for where, part in parts:
            yield where.lstrip("."), {**value, key: part} if isinstance(value, dict) else [part, *value[1:]]


def _other_columns(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield parquet tables in which a column is missing, or holds something else; and tables without rows."""
    table = pq.read_table(io.BytesIO(whole))
    yield "no rows", parquet(table.slice(0, 0))
    yield "no columns", parquet(table.select([]))
    for index, name in enumerate(table.column_names):
        yield f"{name} missing", parquet(table.remove_column(index))
        for kind, value in (("null", None), ("number", 7), ("text", "x"), ("list", [1]), ("object", {"a": 1})):
            column = pa.array([value] * len(table)) if value is not None else pa.nulls(len(table))
            yield f"{name} {kind}", parquet(table.set_column(index, name, column))


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()
