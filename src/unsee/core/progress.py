"""The progress of long work: a small protocol that the terminal fulfils and that a library call leaves silent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

Advance = Callable[[int], None]


@runtime_checkable
class Progress(Protocol):
    """Anything that can show the progress of a named task."""

    def stage(self, title: str) -> AbstractContextManager[Progress]:
        """Open a part of the work; the progress that it yields shows its tasks under one title."""
        ...

    def task(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """Open a task of `total` steps; call what it yields with the number of steps done since the last call."""
        ...

    def say(self, line: str) -> None:
        """Show one line."""
        ...


def now_and_then(seconds: float, tell: Callable[[int], None]) -> Advance:
    """Return what counts the steps of a task, and tells their number when `seconds` have passed since it last did."""
    done, told = 0, time.monotonic()

    def advance(steps: int) -> None:
        nonlocal done, told
        done += steps
        if time.monotonic() - told >= seconds:
            told = time.monotonic()
            tell(done)

    return advance


class Silent:
    """The progress that shows nothing."""

    @contextmanager
    def stage(self, title: str) -> Iterator[Progress]:
        """Open a part of the work and show nothing."""
        del title
        yield self

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        """Open a task and show nothing."""
        del name, total
        yield lambda steps: None

    def say(self, line: str) -> None:
        """Show nothing."""
