"""Runs tasks that need each other's results, in this process or on several workers.

A task starts as soon as all that it needs is there. The one with the longest way to the end goes first (critical path
scheduling), so that no worker waits for a chain that began late.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from unsee.core.errors import RecordError, UnseeError

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
"""The pause before a task that another run is computing is tried again."""

Results = Mapping[str, Any]
"""Results of tasks by name."""


class NotNow(Exception):
    """A task cannot be done now, and has begun nothing: it is tried again later."""


@dataclass(frozen=True)
class Task:
    """One piece of work with a name.

    Attributes:
        name: different for every task of a run.
        needs: names of the tasks whose results it takes, all before it in the list of tasks.
        compute: takes their results, and returns its own; raises `NotNow` to be tried again later.
        cost: the expected time, in any unit; long chains start first.
        vital: if it fails, the run ends at once, because nothing can be said without it.
        early: start it before all others that can start, because its result is shown at once.
    """

    name: str
    needs: tuple[str, ...]
    compute: Callable[[Results], object]
    cost: float = 1.0
    vital: bool = False
    early: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a task ended on a worker.

    Attributes:
        name: the task.
        result: what it returned.
        error: what it raised; `NotNow` puts it back.
        died: how its worker ended, as a clause; "" if the worker lives.
    """

    name: str
    result: object = None
    error: Exception | None = None
    died: str = ""


class Workers(Protocol):
    """Anything that computes tasks by name."""

    @property
    def count(self) -> int:
        """The number of tasks that can run at once."""
        ...

    @property
    def attempts(self) -> int:
        """How often a task may be started if its worker dies or an unexpected error occurs."""
        ...

    def start(self, task: Task, results: Results) -> None:
        """Start a task; there is a free worker."""
        ...

    def wait(self) -> list[Outcome]:
        """Wait until a task has ended, or a moment, and return those that have."""
        ...


class Here:
    """The only worker is this process."""

    count = 1
    attempts = 1

    def __init__(self) -> None:
        self._ended: list[Outcome] = []

    def start(self, task: Task, results: Results) -> None:
        """Compute the task at once."""
        try:
            self._ended.append(Outcome(task.name, task.compute(results)))
        except (NotNow, UnseeError) as error:
            self._ended.append(Outcome(task.name, error=error))

    def wait(self) -> list[Outcome]:
        """Return the task that was started."""
        ended, self._ended = self._ended, []
        return ended


def run_tasks(
    tasks: Sequence[Task],
    workers: Workers,
    *,
    done: Results | None = None,
    unwanted: Callable[[Results], Collection[str]] = lambda results: (),
) -> dict[str, Any]:
    """Run all tasks, and return their results by name.

    If a task fails, those that need it are left out, all others are done, and then its error is raised. It is raised at
    once if the task is vital, or if it is about a folder or disk (`RecordError`), which would stop the others too.

    Args:
        tasks: in an order in which each stands after those that it needs; one worker keeps the order.
        workers: what computes them.
        done: results that are there already.
        unwanted: takes the results so far, and returns the names of tasks that are not wanted any more.

    Raises:
        UnseeError: a task failed.
    """
    waiting = {task.name: task for task in _first_to_last(tasks, workers.count) if task.name not in (done or {})}
    running: dict[str, Task] = {}
    results, failed = dict(done or {}), dict[str, Exception]()
    started, not_before = Counter[str](), dict[str, float]()
    while True:
        for name in unwanted(results):
            waiting.pop(name, None)
        now = time.monotonic()
        ready = [task for task in waiting.values() if all(need in results for need in task.needs)]
        for task in [task for task in ready if not_before.get(task.name, 0) <= now][: workers.count - len(running)]:
            running[task.name] = waiting.pop(task.name)
            started[task.name] += 1
            workers.start(task, {need: results[need] for need in task.needs})
        if not running:
            if not ready:
                break
            time.sleep(max(0.0, min(not_before[task.name] for task in ready) - now))
            continue
        for outcome in workers.wait():
            task = running.pop(outcome.name)
            if isinstance(outcome.error, NotNow):
                not_before[task.name] = time.monotonic() + AGAIN_SECONDS
                started[task.name] -= 1
                waiting = {task.name: task, **waiting}
            elif not outcome.error and not outcome.died:
                results[task.name] = outcome.result
            elif isinstance(outcome.error, RecordError) or (task.vital and isinstance(outcome.error, UnseeError)):
                raise outcome.error
            elif started[task.name] < workers.attempts and not isinstance(outcome.error, UnseeError):
                log.warning("%s: %s; it is done again", task.name, outcome.died or outcome.error)
                waiting = {task.name: task, **waiting}
            else:
                failed[task.name] = outcome.error or _ended(task.name, outcome.died, started[task.name])
                if task.vital:
                    raise failed[task.name]
                if waiting or running:
                    log.warning("%s: %s; stages that do not need it go on", task.name, failed[task.name])
    for error in failed.values():
        raise error
    return results


def _ended(name: str, died: str, times: int) -> UnseeError:
    advice = "it may need more memory: try fewer --workers, then run the same command again"
    return UnseeError(f"{name}: {died}, {times} times in a row; {advice}")


def _first_to_last(tasks: Sequence[Task], workers: int) -> list[Task]:
    """Return the tasks in the order in which they are started when they can be; several workers need long ways first.

    Raises:
        ValueError: a task stands before one that it needs, or two have one name.
    """
    names: set[str] = set()
    for task in tasks:
        if task.name in names or not names.issuperset(task.needs):
            raise ValueError(f"task {task.name}: has the name of another, or stands before one that it needs")
        names.add(task.name)
    if workers == 1:
        return list(tasks)
    way: dict[str, float] = {}
    for task in reversed(tasks):
        way[task.name] = way.get(task.name, 0.0) + task.cost
        for need in task.needs:
            way[need] = max(way.get(need, 0.0), way[task.name])
    return sorted(tasks, key=lambda task: (not task.early, -way[task.name]))
