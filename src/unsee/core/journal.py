"""A journal of replies, so that nothing is asked twice: each reply is one line, appended as soon as it arrives.

The journal of a judge holds hashes and numbers only. The journal of an evaluation holds answers, so it is a part of the
cache and never of a log.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from unsee.core.files import append_line, explained, put_aside

log = logging.getLogger(__name__)


class Journal:
    """Replies by key, on disk, each line with a checksum. Several threads may add replies.

    A line that a kill cut short is dropped. If another line is damaged, a warning names the file, which is put aside;
    the other replies are kept.

    Args:
        path: the file; it and its folder are created with the first reply.
        others: journals to read only, such as those of other processes.

    Raises:
        RecordError: a file cannot be read, or the own one cannot be written.
    """

    def __init__(self, path: Path, others: Iterable[Path] = ()) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._replies: dict[str, Any] = {}
        for other in others:
            self._replies |= dict(_replies(_lines(other)))
        lines = _lines(path)
        own = _replies(lines)
        self._replies |= dict(own)
        if len(own) < len(lines):
            aside = put_aside(path)
            log.warning(
                "%s: damaged; put aside as %s, and %d replies are asked for again",
                path, aside.name, len(lines) - len(own),
            )  # fmt: skip
            for key, reply in own:
                append_line(path, _line(key, reply))

    def __contains__(self, key: str) -> bool:
        return key in self._replies

    def __iter__(self) -> Iterator[str]:
        return iter(self._replies)

    def __getitem__(self, key: str) -> Any:
        return self._replies[key]

    def get(self, key: str) -> Any:
        """Return a reply; None if there is none."""
        return self._replies.get(key)

    def add(self, key: str, reply: object) -> None:
        """Add one reply.

        Raises:
            RecordError: the file cannot be written.
        """
        with self._lock:
            append_line(self._path, _line(key, reply))
            self._replies[key] = reply


def _lines(path: Path) -> list[bytes]:
    """Return the lines of a file that were written to their end; none if there is no file."""
    if not os.path.exists(path):
        return []
    with explained(path, "read"):
        return path.read_bytes().split(b"\n")[:-1]


def _replies(lines: Iterable[bytes]) -> list[tuple[str, Any]]:
    """Return key and reply of the intact lines; those of earlier versions have no checksum, and a key may recur."""
    replies = []
    for line in lines:
        try:
            entry = json.loads(line)
            key, reply = entry["key"], entry["reply"]
            if isinstance(key, str) and (line == _line(key, reply) or entry.keys() == {"key", "reply"}):
                replies.append((key, reply))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return replies


def _line(key: str, reply: object) -> bytes:
    content = {"key": key, "reply": reply}
    checksum = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return json.dumps(content | {"check": checksum}).encode()
