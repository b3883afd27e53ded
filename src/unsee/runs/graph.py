"""Computes the stages of one or more runs as one graph, in this process or on workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from unsee.config.recipe import DocumentsConfig, RunConfig
from unsee.core.errors import ConfigError
from unsee.core.progress import Progress
from unsee.runs.launch import launched_tasks
from unsee.runs.opened import kept, opened
from unsee.runs.scenario import Run, RunResult
from unsee.runs.watch import Watcher
from unsee.runtime.distributed import state
from unsee.runtime.quiet import hush
from unsee.runtime.ray_workers import RayWorkers, connect, needed
from unsee.runtime.tasks import Here, Results, Task, run_tasks
from unsee.runtime.threads import fixed_threads
from unsee.runtime.workers import AUTO, Processes, cores, free_memory

RAY = "ray"
WORKER_BYTES = 2**30
"""What a worker takes beside the model: Python, its libraries and the activations of a small model."""
MODEL_COPIES = 4
"""What training takes on a CPU at most: weights, gradients and AdamW's two averages."""


def finished(runs: Iterable[Run], crew: int | str, progress: Progress) -> list[RunResult]:
    """Compute the stages of one or more runs as one graph, and write their scores and reports.

    Args:
        runs: runs that `begin` starts, at least one. In one process each is computed before the next one begins.
        crew: from `crew_of`.
        progress: where long work is shown.

    Raises:
        UnseeError: a stage failed.
    """
    waiting = iter(runs)
    first = next(waiting)
    if crew == AUTO:
        crew = _fitting(first)
    every = itertools.chain([first], waiting)
    if (crew == 1 and first.config.resources.gpus == 1) or state().num_processes > 1:
        return [_finished_here(run) for run in every]
    begun = []
    for run in every:
        begun.append((run, kept(run)))
        run.scenario.stages.release()
    names = {f"{run.scenario.stages.log.run}: " if len(begun) > 1 else "": run for run, _ in begun}
    done = {
        f"{name}{task}": result for name, (_, own) in zip(names, begun, strict=True) for task, result in own.items()
    }
    results = {**done, **_computed(names, done, crew, progress)}
    return [run.finish(_own(results, name)) for name, run in names.items()]


def _finished_here(run: Run) -> RunResult:
    with fixed_threads(run.config.threads):
        return run.finish(run_tasks(run.tasks, Here(), unwanted=run.unwanted))


def _computed(runs: Mapping[str, Run], done: Results, crew: int | str, progress: Progress) -> Results:
    """Compute on workers what is not done.

    Args:
        runs: by what stands before the names of their tasks: nothing for one run, else the name of its folder.
    """
    tasks = [task for name, run in runs.items() for task in _prefixed(run.tasks, name)]

    def unwanted(results: Results) -> set[str]:
        return {f"{name}{task}" for name, run in runs.items() for task in run.unwanted(_own(results, name))}

    skipped = unwanted(done)
    left = [task for task in tasks if task.name not in done and task.name not in skipped]
    if not left:
        return {}
    folders = {name: (run.config, run.scenario.record.folder.absolute()) for name, run in runs.items()}
    open_tasks = partial(_Opened, folders)
    with ExitStack() as stack:
        watchers = [
            stack.enter_context(Watcher(folder / "log.jsonl", progress, runs[name].scenario.stages.log.title))
            for name, (_, folder) in folders.items()
        ]

        def show() -> None:
            for watcher in watchers:
                watcher.show()

        if isinstance(crew, int):
            count, gpus = min(crew, len(left)), _most_gpus(runs.values())
            workers: Processes | RayWorkers = Processes(count, open_tasks, show, _gpus(), __name__, gpus)
        else:
            cpus = max(run.config.threads * run.config.resources.gpus for run in runs.values())
            workers = RayWorkers(open_tasks, show, cpus, _most_gpus(runs.values()))
        with workers:
            return run_tasks(tasks, workers, done=done, unwanted=unwanted)


def _prefixed(tasks: Sequence[Task], name: str) -> list[Task]:
    """Return the tasks with a name before theirs; what they need has it too."""

    def renamed(task: Task) -> Task:
        needs = tuple(name + need for need in task.needs)
        return replace(task, name=name + task.name, needs=needs, compute=lambda found: task.compute(_own(found, name)))

    return [renamed(task) for task in tasks]


def _own(results: Results, name: str) -> dict[str, object]:
    """Return the results of one run, by the names of its own tasks."""
    return {key.removeprefix(name): value for key, value in results.items() if key.startswith(name)}


class _Opened(Mapping[str, Task]):
    """The tasks of one or more runs in a worker. It opens a run when it gets its first task, and holds one at a time.

    Args:
        runs: recipe and folder of each run, by what stands before the names of its tasks.
    """

    def __init__(self, runs: Mapping[str, tuple[RunConfig | DocumentsConfig, Path]]) -> None:
        hush()
        self._runs = runs
        self._tasks: dict[str, Task] = {}

    def __getitem__(self, key: str) -> Task:
        if key not in self._tasks:
            self._tasks.clear()  # frees the model of the run before
            name = next(name for name in self._runs if key.startswith(name))
            self._tasks = {task.name: task for task in _prefixed(_tasks(*self._runs[name]), name)}
        return self._tasks[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def _tasks(config: RunConfig | DocumentsConfig, folder: Path) -> list[Task]:
    return opened(config, folder).tasks if config.resources.gpus == 1 else launched_tasks(config, folder)


def crew_of(workers: int | str, config: RunConfig | DocumentsConfig) -> int | str:
    """Return the number of workers, "auto", or "ray" once this process is connected to the cluster.

    Args:
        workers: as it was typed.
        config: the recipe of a run, for what one of its stages takes.

    Raises:
        ConfigError: it is nothing of these, the cluster cannot be reached, or there are fewer GPUs than a stage takes.
    """
    text, gpus = str(workers), config.resources.gpus
    if gpus > 1 and state().num_processes > 1:
        raise ConfigError(
            f"resources.gpus = {gpus}: `accelerate launch` has started this command in {state().num_processes} "
            "processes already; start it without, or leave resources.gpus out"
        )
    if text == RAY or text.startswith(f"{RAY}://"):
        needed(connect(text.removeprefix(RAY) and text), config.threads * gpus, gpus)
        return RAY
    if gpus > 1 and gpus > (found := _gpus()):
        raise ConfigError(
            f"resources.gpus = {gpus}: one stage takes more GPUs than this machine has ({found}); lower it, or compute "
            "on a cluster (--workers ray)"
        )
    if text == AUTO:
        return text
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 5 and int(text)):
        raise ConfigError(f"--workers {text}: must be a number from 1, '{AUTO}', '{RAY}' or '{RAY}://HOST:PORT'")
    return int(text)


def _gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _most_gpus(runs: Iterable[Run]) -> int:
    return max(run.config.resources.gpus for run in runs)


def _fitting(run: Run) -> int:
    """Return the number of workers that have GPUs, or a core for each of their threads, and fit into memory."""
    if torch.accelerator.is_available():
        return max(1, _gpus() // run.config.resources.gpus)
    size = sum(tensor.numel() * tensor.element_size() for tensor in run.scenario.stages.vlm.model.parameters())
    fitting = free_memory() // (WORKER_BYTES + MODEL_COPIES * size)
    return max(1, min(cores() // run.config.threads, fitting))
