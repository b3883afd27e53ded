"""What was already asked: one line per reply, appended as soon as it is there; nothing is asked twice.

A judge's lines hold hashes and numbers. An evaluation's hold answers; it is a part of the cache, never of a log.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unsee.core.errors import RecordError


class Journal:
    """Replies by key, on disk; may be added to from several threads.

    Args:
        path: the file; made with the first line, its folder too.
        others: files of the same kind that are read and not written, those of other processes.

    Raises:
        RecordError: one cannot be read.
    """

    def __init__(self, path: Path, others: Iterable[Path] = ()) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._replies: dict[str, Any] = {}
        for other in others:
            self._read(other)
        content = self._read(path)
        self._begin = b"\n" if content and not content.endswith(b"\n") else b""  # a kill can leave half a line

    def _read(self, path: Path) -> bytes:
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
        for line in content.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                self._replies[entry["key"]] = entry["reply"]
        return content

    def __contains__(self, key: str) -> bool:
        return key in self._replies

    def __getitem__(self, key: str) -> Any:
        return self._replies[key]

    def add(self, key: str, reply: object) -> None:
        """Note one reply; a judge's is None where it was not in the form asked for.

        Raises:
            RecordError: it cannot be written.
        """
        line = json.dumps({"key": key, "reply": reply}).encode() + b"\n"
        with self._lock:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("ab") as file:
                    file.write(self._begin + line)
            except OSError as error:
                raise RecordError(f"{self._path}: cannot be written: {error.strerror}") from error
            self._begin = b""
            self._replies[key] = reply
