"""Shows in one process what workers do: they write to the run's log, and this process reads it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from unsee.core.progress import Advance, Progress, Silent, now_and_then
from unsee.runtime.tasks import NotNow

LOG_SECONDS = 2.0
"""The time between two lines about the progress of one task."""


class Logged(Silent):
    """The progress of a worker: a line in the run's log every two seconds.

    Args:
        log: writes an event with the number of the stage.
    """

    def __init__(self, log: Callable[..., None]) -> None:
        self._log = log

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        """Log how far a task has come."""
        del name
        yield now_and_then(LOG_SECONDS, lambda done: self._log("progress", done=done, of=total))


class _Stage:
    """A stage that a worker computes, on the terminal of this process."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._open = ExitStack()
        self._inside = self._open.enter_context(progress.stage(title))
        self._advance: Advance | None = None
        self._done = self._of = 0

    def move(self, done: int, of: int) -> None:
        """Show how far it has come."""
        if self._advance is None or of != self._of or done < self._done:
            self._advance = self._open.enter_context(self._inside.task("", of))
            self._done, self._of = 0, of
        self._advance(done - self._done)
        self._done = done

    def say(self, line: str) -> None:
        """Show one line."""
        self._inside.say(line)

    def close(self) -> None:
        """Show that it is done."""
        self._open.close()

    def give_up(self) -> None:
        """Show nothing more of it."""
        with contextlib.suppress(NotNow):
            self._open.__exit__(NotNow, NotNow(), None)


class Tail:
    """Reads what has been added to a run's log.

    Args:
        log: the run's log.jsonl, which need not exist yet; what it holds now is left out.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = log.stat().st_size if log.exists() else 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the events that were written since the last call."""
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole, _, _ = text.rpartition(b"\n")
        self._read += len(whole) + bool(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)


class Watcher:
    """Shows the stages that workers log from now on.

    Args:
        log: the run's log.jsonl.
        progress: where they are shown.
        title: number, what is done and model -> the title of a stage.
    """

    def __init__(self, log: Path, progress: Progress, title: Callable[[int, str, str], str]) -> None:
        self._tail = Tail(log)
        self._progress = progress
        self._title = title
        self._stages: dict[int, _Stage] = {}

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.show()
        for stage in self._stages.values():
            stage.give_up()

    def show(self) -> None:
        """Show what has been logged since the last call."""
        for event in self._tail.new():
            self._show(event)

    def _show(self, event: dict[str, Any]) -> None:
        number = event.get("number", 0)
        if event["event"] == "stage":
            if number in self._stages:  # its worker died
                self._stages.pop(number).give_up()
            self._stages[number] = _Stage(self._progress, self._title(number, event["stage"], event["model"]))
        elif stage := self._stages.get(number):
            match event["event"]:
                case "cached" | "cached answers":
                    stage.say("from the cache")
                case "progress":
                    stage.move(event["done"], event["of"])
                case "done":
                    self._stages.pop(number).close()
