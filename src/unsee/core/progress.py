"""What long work reports of itself: a small protocol that the terminal fulfils and a library call keeps silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Anything that can show how far a named task is."""

    def task(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """Open a task of `total` steps; call what it yields with the number of steps done since the last call."""
        ...


class Silent:
    """The progress that shows nothing."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        """Open a task nobody sees."""
        del name, total
        yield lambda steps: None
