"""What was already judged: one line per verdict, appended as soon as there is one, so that nothing is asked twice.

The lines hold hashes and numbers, no question, answer or key.
"""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

from unsee.errors import RecordError


class Journal:
    """Scores by key on disk; may be added to from several threads.

    Args:
        path: the file; made with the first line.

    Raises:
        RecordError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._scores: dict[str, int | None] = {}
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
        self._begin = b"\n" if content and not content.endswith(b"\n") else b""  # a kill can leave half a line
        for line in content.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                self._scores[entry["key"]] = entry["score"]

    def __contains__(self, key: str) -> bool:
        return key in self._scores

    def __getitem__(self, key: str) -> int | None:
        return self._scores[key]

    def add(self, key: str, score: int | None) -> None:
        """Note one verdict; None for a reply without a number.

        Raises:
            RecordError: it cannot be written.
        """
        line = json.dumps({"key": key, "score": score}).encode() + b"\n"
        with self._lock:
            try:
                with self._path.open("ab") as file:
                    file.write(self._begin + line)
            except OSError as error:
                raise RecordError(f"{self._path}: cannot be written: {error.strerror}") from error
            self._begin = b""
            self._scores[key] = score
