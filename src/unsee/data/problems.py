"""Collects what is wrong with the rows of a user's file, so that one message can say how much there is to mend."""

from __future__ import annotations

from pathlib import Path

from unsee.errors import DataError


class Problems:
    """Everything found wrong so far, in the order of finding."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, path: Path, line: int, what: str) -> None:
        """Note one problem; `line` counts from 1."""
        self._found.append(f"{path}, line {line}: {what}")

    def stop_if_any(self) -> None:
        """End the reading where there is a problem.

        Raises:
            DataError: the first problem, and how many there are.
        """
        if self._found:
            more = f" (the first of {len(self._found)} problems)" if len(self._found) > 1 else ""
            raise DataError(f"{self._found[0]}{more}")
