"""Workers on a Ray cluster, which places and repeats their tasks (extra `unsee[ray]`)."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unsee.core.errors import ConfigError, first_line
from unsee.runtime.tasks import NotNow, Outcome, Results, Task
from unsee.runtime.workers import MOMENT, OpenTasks, portable

RETRIES = 2
"""How often Ray starts a task again whose process or node died."""

_opened: dict[str, Mapping[str, Task]] = {}
"""The tasks of the run that this process works for, by the key of the function that makes them."""


def connect(address: str) -> Any:
    """Connect this process to a Ray cluster, and return Ray.

    Args:
        address: "ray://HOST:PORT"; "" is the cluster of $RAY_ADDRESS, or one that is started on this machine.

    Raises:
        ConfigError: Ray is not installed, or cannot be reached.
    """
    from unsee.runtime.cache import cache_folder  # imports torch, which not every process of Ray needs

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    os.environ.setdefault("RAY_worker_niceness", "0")  # the workers are all of the work
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise ConfigError("--workers ray: Ray is not installed; pip install 'unsee[ray]'") from None
    variables = {"UNSEE_CACHE": str(cache_folder().absolute()), "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0")}
    if not ray.is_initialized():
        try:
            with warnings.catch_warnings(action="ignore"):
                ray.init(
                    address=address or None, runtime_env={"env_vars": variables}, logging_level="ERROR",
                    **({} if address else {"include_dashboard": False}),
                )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"--workers {address or 'ray'}: no cluster answers: {first_line(error)}") from error
    return ray


def needed(ray: Any, cpus: int, gpus: int) -> dict[str, int]:
    """Return the CPUs and GPUs that one task asks for; a single GPU is not asked for where no node has any.

    Raises:
        ConfigError: no node has so many of both.
    """
    nodes = _nodes(ray)
    needs = {"CPU": cpus, "GPU": gpus if gpus > 1 or any(node.get("GPU") for node in nodes) else 0}
    if not any(_fits(node, needs) for node in nodes):
        raise ConfigError(
            f"--workers ray: no node has {needs['CPU']} CPUs and {needs['GPU']} GPUs, which one stage takes; lower "
            f"{'resources.gpus' if needs['GPU'] > 1 else 'threads'}"
        )
    return needs


def _nodes(ray: Any) -> list[Mapping[str, float]]:
    """Return what each living node has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _fits(node: Mapping[str, float], needs: Mapping[str, int]) -> int:
    """Return the number of tasks that fit into a node."""
    return int(min(node.get(name, 0) // need for name, need in needs.items() if need))


class RayWorkers:
    """Workers that Ray starts wherever a task's CPUs and GPUs are free. All nodes share the run's folder and the cache.

    Args:
        open_tasks: makes the tasks in each process, when it gets its first one.
        show: called every moment while the workers work.
        cpus: CPUs of one task.
        gpus: GPUs of one task; one is needed only where a node has some.

    Raises:
        ConfigError: no node has so many of both.
    """

    attempts = 1  # Ray repeats them itself

    def __init__(self, open_tasks: OpenTasks, show: Callable[[], None], cpus: int = 1, gpus: int = 1) -> None:
        self._ray = ray = connect("")
        self._show = show
        self._running: dict[Any, str] = {}
        self._needs = needed(ray, cpus, gpus)
        cpus, gpus = self._needs["CPU"], self._needs["GPU"]
        self._compute = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(compute)
        self._open_tasks = ray.put(_Portable(open_tasks, Path.cwd()))

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._running:
            with contextlib.suppress(Exception):  # a node that is gone
                self._ray.cancel(reference, force=True)

    @property
    def count(self) -> int:
        """The number of tasks that fit into the cluster as it is now."""
        return max(1, sum(_fits(node, self._needs) for node in _nodes(self._ray)))

    def start(self, task: Task, results: Results) -> None:
        """Hand a task to Ray."""
        self._running[self._compute.remote(self._open_tasks, task.name, dict(results))] = task.name

    def wait(self) -> list[Outcome]:
        """Wait a moment for the end of a task."""
        ended, _ = self._ray.wait(list(self._running), timeout=MOMENT)
        self._show()
        return [self._outcome(reference) for reference in ended]

    def _outcome(self, reference: Any) -> Outcome:
        name = self._running.pop(reference)
        try:
            result, error = self._ray.get(reference)
        except self._ray.exceptions.RayError as failed:
            return Outcome(name, died=f"its process or node died {RETRIES + 1} times: {first_line(failed)}")
        return Outcome(name, result, error)


class _Portable:
    """The function that makes the tasks, with the folder in which its relative paths hold."""

    def __init__(self, open_tasks: OpenTasks, folder: Path) -> None:
        self.open_tasks = open_tasks
        self.folder = folder
        self.key = secrets.token_hex(8)


def compute(portable_tasks: _Portable, name: str, results: Results) -> tuple[object, Exception | None]:
    """Compute a task in a process of Ray, which keeps the run open for the next one."""
    key = portable_tasks.key
    try:
        if key not in _opened:
            os.chdir(portable_tasks.folder)
            _opened.clear()
            _opened[key] = portable_tasks.open_tasks()
        return _opened[key][name].compute(results), None
    except NotNow:
        return None, NotNow()
    except Exception as error:
        _opened.clear()  # what a failed stage leaves in memory is not used
        return None, portable(error)
