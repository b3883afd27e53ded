"""A journal of replies, so that nothing is asked twice: each reply is one line, appended as soon as it arrives.

The journal of a judge holds hashes and numbers only. The journal of an evaluation holds answers, so it is a part of the
cache and never of a log.
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
    """Replies by key, on disk. Several threads may add replies.

    Args:
        path: the file; it and its folder are created with the first reply.
        others: journals to read only, such as those of other processes.

    Raises:
        RecordError: a file cannot be read.
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
        """Add one reply. A judge's reply is None if it was not in the requested form.

        Raises:
            RecordError: the file cannot be written.
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
