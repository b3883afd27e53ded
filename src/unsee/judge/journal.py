"""What was already asked: one line per reply as read, appended as soon as it is there; nothing is asked twice.

The lines hold hashes and numbers, no question, answer or key.
"""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

from unsee.errors import RecordError


class Journal:
    """Replies as read, by key, on disk; may be added to from several threads.

    Args:
        path: the file; made with the first line, its folder too.

    Raises:
        RecordError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._replies: dict[str, Any] = {}
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
        self._begin = b"\n" if content and not content.endswith(b"\n") else b""  # a kill can leave half a line
        for line in content.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                self._replies[entry["key"]] = entry["reply"]

    def __contains__(self, key: str) -> bool:
        return key in self._replies

    def __getitem__(self, key: str) -> Any:
        return self._replies[key]

    def add(self, key: str, reply: object) -> None:
        """Note one reply: numbers, or None where it was not in the form asked for.

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
