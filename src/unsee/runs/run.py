"""Runs a recipe in this process or on several workers; the key `kind` decides between people and documents."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from unsee.config.recipe import DocumentsConfig, RunConfig
from unsee.core.errors import ConfigError
from unsee.core.progress import Progress, Silent
from unsee.runs.documents import open_documents_run, start_documents
from unsee.runs.people import open_people, start_people
from unsee.runs.scenario import Run, RunResult
from unsee.runs.watch import Logged, Watcher
from unsee.runtime.distributed import state
from unsee.runtime.quiet import hush
from unsee.runtime.ray_workers import RayWorkers
from unsee.runtime.tasks import Here, NotNow, Results, Task, run_tasks
from unsee.runtime.threads import fixed_threads
from unsee.runtime.workers import Processes, cores, free_memory

AUTO, RAY = "auto", "ray"
WORKER_BYTES = 2**30
"""What a worker takes beside the model: Python, its libraries and the activations of a small model."""
MODEL_COPIES = 4
"""What training takes on a CPU at most: weights, gradients and AdamW's two averages."""


def run(
    config: RunConfig | DocumentsConfig,
    out: Path | None = None,
    progress: Progress | None = None,
    workers: int | str = 1,
) -> RunResult:
    """Run a recipe; stages that an earlier run computed come from the cache. Workers change no number.

    Args:
        config: the recipe.
        out: the run's folder; by default `runs/<name>-<key>`, the same for the same recipe.
        progress: where long work is shown.
        workers: number of processes that compute stages at the same time; "auto" takes one for each GPU, or, without
            one, as many as cores and memory allow. 1 computes everything in this process. "ray" or "ray://HOST:PORT"
            computes on a Ray cluster.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used, or a stage failed.
    """
    shown = progress or Silent()
    crew = _crew(workers)
    with fixed_threads(config.threads):
        started = start(config, out, shown)
        started.scenario.record.log("plan", stages=len(started.tasks))
        started.scenario.stages.log.patient = False  # while another run computes a stage, others are done
        return started.finish(_computed(started, crew, shown))


def start(config: RunConfig | DocumentsConfig, out: Path | None, progress: Progress) -> Run:
    """Check a recipe, and begin its run or go on with it.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used.
    """
    if config.kind == "documents":
        return start_documents(config, out, progress)
    return start_people(config, out, progress)


def kept(run: Run) -> dict[str, object]:
    """Return the results of the stages that are in the cache, and compute nothing."""
    log, results = run.scenario.stages.log, dict[str, object]()
    log.only_kept = True
    for task in run.tasks:
        if all(need in results for need in task.needs):
            try:
                results[task.name] = task.compute(results)
            except NotNow:
                continue
    log.only_kept = False
    return results


class PlanRow(NamedTuple):
    """One stage of a run as text."""

    stage: str
    name: str
    needs: str
    state: str
    share_of_the_work: str


def plan(
    config: RunConfig | DocumentsConfig, out: Path | None = None, progress: Progress | None = None
) -> list[PlanRow]:
    """Return the stages of a run, and which of them are in the cache; compute nothing but the data.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used.
    """
    with fixed_threads(config.threads):
        started = start(config, out, progress or Silent())
        log = started.scenario.stages.log
        log.progress = Silent()
        done = kept(started)
        work = sum(task.cost for task in started.tasks if task.name not in done)
    numbers = {task.name: number for number, task in enumerate(started.tasks, start=1)}
    return [
        PlanRow(
            str(numbers[task.name]), log.readable(task.name), ", ".join(str(numbers[need]) for need in task.needs),
            "in the cache" if task.name in done else "to do",
            "" if task.name in done else f"{task.cost / work:.0%}",
        )
        for task in started.tasks
    ]  # fmt: skip


def _computed(run: Run, crew: int | str, progress: Progress) -> Results:
    if crew == AUTO:
        crew = _fitting(run)
    if crew == 1 or state().num_processes > 1:
        return run_tasks(run.tasks, Here(), unwanted=run.unwanted)
    done = kept(run)
    unwanted = run.unwanted(done)
    left = [task for task in run.tasks if task.name not in done and task.name not in unwanted]
    if not left:
        return done
    stages, folder = run.scenario.stages, run.scenario.record.folder.absolute()
    stages.release()
    opened = partial(_open, run.config, folder)
    with Watcher(folder / "log.jsonl", progress, stages.log.title) as watcher:
        if isinstance(crew, int):
            workers: Processes | RayWorkers = Processes(min(crew, len(left)), opened, watcher.show, _gpus())
        else:
            workers = RayWorkers(crew.removeprefix(RAY), opened, watcher.show, run.config.threads)
        with workers:
            return run_tasks(run.tasks, workers, done=done, unwanted=run.unwanted)


def _open(config: RunConfig | DocumentsConfig, folder: Path) -> Mapping[str, Task]:
    """Open the run in a worker, and return its tasks."""
    hush()
    torch.set_num_threads(config.threads)
    if config.kind == "documents":
        opened: Run = open_documents_run(config, folder, Silent())
    else:
        opened = open_people(config, folder, Silent())
    log = opened.scenario.stages.log
    log.patient, log.progress = False, Logged(log.log)
    return {task.name: task for task in opened.tasks}


def _crew(workers: int | str) -> int | str:
    """Return the number of workers, "auto", or "ray" with the address of a cluster.

    Raises:
        ConfigError: it is nothing of these.
    """
    text = str(workers)
    if text in (AUTO, RAY):
        return text
    if text.startswith(f"{RAY}://"):
        return RAY + text
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 5 and int(text)):
        raise ConfigError(f"--workers {text}: must be a number from 1, '{AUTO}', '{RAY}' or '{RAY}://HOST:PORT'")
    return int(text)


def _gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _fitting(run: Run) -> int:
    """Return the number of workers that have a GPU, or a core for each of their threads, and fit into memory."""
    if torch.accelerator.is_available():
        return max(1, _gpus())
    size = sum(tensor.numel() * tensor.element_size() for tensor in run.scenario.stages.vlm.model.parameters())
    fitting = free_memory() // (WORKER_BYTES + MODEL_COPIES * size)
    return max(1, min(cores() // run.config.threads, fitting))
