"""Worker processes on this machine: one for each GPU, or one for each core."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import psutil

from unsee.core.errors import UnseeError
from unsee.runtime.tasks import NotNow, Outcome, Results, Task

MOMENT = 0.25
"""Seconds after which `wait` returns although no task has ended."""
ENDING_SECONDS = 10.0
"""The time that a worker has to put its files in order."""

AUTO = "auto"

OpenTasks = Callable[[], Mapping[str, Task]]
"""Makes the tasks in a worker; it is pickled."""

_FORKED = multiprocessing.get_context("forkserver")
"""Workers are forks of one process that has imported the program, which takes seconds, and nothing else."""
_CONTAINER = Path("/sys/fs/cgroup")


def start_early(workers: str, module: str) -> None:
    """Start the process that workers are forks of, if there will be some, so that it imports what they need meanwhile.

    Args:
        workers: as it was typed.
        module: what all of them import.
    """
    if cores() > 1 if workers == AUTO else workers.isdecimal() and workers != "1":
        _FORKED.set_forkserver_preload([module])
        forkserver.ensure_running()


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    task: str = ""


class Processes:
    """Workers that are processes of this machine. One that dies is replaced when there is a task for it.

    Args:
        count: their number.
        open_tasks: makes the tasks in each of them, when it gets its first one.
        show: called every moment while the workers work.
        gpus: number of GPUs, which workers take in turn; 0 leaves the environment as it is.
        each: number of GPUs of one worker.
        module: what all of them import.
    """

    attempts = 3

    def __init__(
        self,
        count: int,
        open_tasks: OpenTasks,
        show: Callable[[], None] = lambda: None,
        gpus: int = 0,
        module: str = __name__,
        each: int = 1,
    ) -> None:
        _FORKED.set_forkserver_preload([module])
        self.count = count
        self._open_tasks = open_tasks
        self._show = show
        self._gpus = gpus
        self._each = each
        self._workers: list[_Worker | None] = [None] * count

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        workers = [worker for worker in self._workers if worker]
        for worker in workers:
            worker.connection.close()  # an idle one ends by itself
            if worker.task:
                worker.process.terminate()
        for worker in workers:
            worker.process.join(ENDING_SECONDS)
            worker.process.kill()
            worker.process.join()

    def start(self, task: Task, results: Results) -> None:
        """Give a task to a free worker."""
        number = next(i for i, worker in enumerate(self._workers) if worker is None or not worker.task)
        worker = self._workers[number]
        if worker is None or not worker.process.is_alive():
            worker = self._workers[number] = self._new(number)
        worker.task = task.name
        with contextlib.suppress(OSError):  # it died just now, which `wait` finds out
            worker.connection.send((task.name, results))

    def wait(self) -> list[Outcome]:
        """Wait a moment for the end of a task."""
        self._show()
        busy: dict[Any, _Worker] = {one.connection: one for one in self._workers if one and one.task}
        outcomes = [one for connection in wait(list(busy), MOMENT) for one in self._message(busy[connection])]
        self._show()
        return outcomes

    def _message(self, worker: _Worker) -> list[Outcome]:
        """Take the next message of a worker, which is a line of its log or the end of its task."""
        name = worker.task
        try:
            message = worker.connection.recv()
            if isinstance(message, logging.LogRecord):
                logging.getLogger(message.name).handle(message)
                return []
            result, error = message
        except (EOFError, OSError):
            self._workers[self._workers.index(worker)] = None
            worker.process.join(ENDING_SECONDS)
            return [Outcome(name, died=_how_it_ended(worker.process.exitcode))]
        worker.task = ""
        if error and not isinstance(error, NotNow):  # what a failed stage leaves in memory is not used
            self._workers[self._workers.index(worker)] = None
            worker.connection.close()
        return [Outcome(name, result, error)]

    def _new(self, number: int) -> _Worker:
        ours, theirs = _FORKED.Pipe()
        environment = {**os.environ, **(_only_gpus(number, self._each, self._gpus) if self._gpus else {})}
        process = _FORKED.Process(
            target=_work, args=(theirs, self._open_tasks, environment), daemon=True,
            name=f"worker {number + 1}",
        )  # fmt: skip
        process.start()
        theirs.close()
        return _Worker(process, ours)


def _work(connection: Connection, open_tasks: OpenTasks, environment: Mapping[str, str]) -> None:
    """Compute tasks until the parent closes the connection or dies."""
    os.environ.clear()  # it is that of the time when the first worker started
    os.environ.update(environment)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads wait for cores that other workers use
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    handler = _ToParent(connection)
    handler.setFormatter(logging.Formatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    tasks: Mapping[str, Task] | None = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            name, results = connection.recv()
            try:
                tasks = open_tasks() if tasks is None else tasks
                reply: tuple[object, Exception | None] = tasks[name].compute(results), None
            except NotNow:
                reply = None, NotNow()
            except Exception as error:
                reply = None, portable(error)
            handler.send(reply)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends anyway


def _leave(*_: object) -> None:
    raise SystemExit(0)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


class _ToParent(QueueHandler):
    """Sends what is logged by the way of the replies, so that none is lost if the worker is killed a moment later.

    A queue that workers share would lose it, and one that dies with the queue's lock in its hand would stop the others.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(cast(Any, None))  # there is no queue
        self._connection = connection

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # the parent has closed the connection
            self._connection.send(record)

    def send(self, reply: object) -> None:
        """Send a reply, while no other thread sends a message."""
        self.acquire()
        try:
            self._connection.send(reply)
        finally:
            self.release()


def portable(error: Exception) -> Exception:
    """Return an error with the same message that another process can raise.

    An error of the user stays one, of the nearest type that takes a message alone. Any other is a `RuntimeError` with
    its traceback as a note.
    """
    if isinstance(error, UnseeError):
        kind: type[Exception] = next(kind for kind in type(error).__mro__ if "__init__" not in vars(kind))
        return kind(str(error))
    unexpected = RuntimeError(f"{type(error).__name__}: {error}")
    unexpected.add_note("".join(traceback.format_exception(error)))
    return unexpected


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its worker was killed by {signal.Signals(-code).name}"
    return f"its worker ended with exit code {code}"


def _only_gpus(worker: int, each: int, count: int) -> dict[str, str]:
    """Return the variable that lets a process see its GPUs only: workers take so many each, and begin again."""
    name = "CUDA_VISIBLE_DEVICES"
    visible = list(filter(None, os.environ.get(name, "").split(","))) or list(map(str, range(count)))
    first = worker % (count // each) * each
    return {name: ",".join(visible[first : first + each])}


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int:
    """Return the bytes of memory that are free for new processes, within the limit of a container (cgroup v2)."""
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no container, or no limit ("max")
        limit, used = (int((_CONTAINER / f"memory.{name}").read_text()) for name in ("max", "current"))
        kept = dict(line.split() for line in (_CONTAINER / "memory.stat").read_text().splitlines())
        free = min(free, limit - used + int(kept.get("inactive_file", 0)))
    return max(free, 0)
