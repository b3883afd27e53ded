"""Starts and runs a recipe; the key `kind` decides between people and documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from unsee.config.arguments import checked
from unsee.config.recipe import DocumentsConfig, RunConfig
from unsee.core.progress import Progress, Silent
from unsee.exams.metrics import make_metrics
from unsee.runs.attacker import attacks_of
from unsee.runs.documents import start_documents
from unsee.runs.graph import crew_of, finished
from unsee.runs.method_runs import documents_methods, people_methods
from unsee.runs.opened import kept
from unsee.runs.people import start_people
from unsee.runs.scenario import Run, RunResult
from unsee.runs.tracking import check_trackers, tracked
from unsee.runtime.cache import notes_of
from unsee.runtime.threads import fixed_threads


@checked("unsee.run_recipe")
def run(
    config: RunConfig | DocumentsConfig,
    out: str | Path | None = None,
    progress: Progress | None = None,
    workers: int | str = 1,
    track: Sequence[str] = (),
) -> RunResult:
    """Run a recipe; stages that an earlier run computed come from the cache. Workers change no number.

    Args:
        config: the recipe.
        out: the run's folder; by default `runs/<name>-<key>`, the same for the same recipe.
        progress: where long work is shown.
        workers: number of processes that compute stages at the same time; "auto" takes one for each GPU, or, without
            one, as many as cores and memory allow. 1 computes everything in this process. "ray" or "ray://HOST:PORT"
            computes on a Ray cluster.
        track: experiment trackers of accelerate that get losses, rates and scores ("tensorboard", "wandb", ...).

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used, or a stage failed.
    """
    check_trackers(track)
    shown, crew = progress or Silent(), crew_of(workers, config)
    started = begin(config, Path(out) if out else None, shown)
    with tracked(track, started.scenario.record, config.name):
        (result,) = finished([started], crew, shown)
    return result


def begin(config: RunConfig | DocumentsConfig, out: Path | None, progress: Progress, name: str = "") -> Run:
    """Start a run, and log how many stages it has.

    Args:
        config: the recipe.
        out: the run's folder, as for `run`.
        progress: where long work is shown.
        name: the run's name among several; "" for one alone.
    """
    with fixed_threads(config.threads):
        started = start(config, out, progress)
    started.scenario.record.log("plan", stages=len(started.tasks))
    log = started.scenario.stages.log
    log.run, log.patient = name, False  # while another run computes a stage, others are done
    return started


def check(config: RunConfig | DocumentsConfig) -> None:
    """Check the methods and metrics of a recipe, without the model and the data.

    Raises:
        ConfigError: an option or a name cannot be used.
    """
    if config.kind == "documents":
        list(documents_methods(config.method, config.seed))
    else:
        list(people_methods(config.method, config.seed))
        attacks_of(config.attack)
    make_metrics(config.evaluation, config.metric)


def start(config: RunConfig | DocumentsConfig, out: Path | None, progress: Progress) -> Run:
    """Check a recipe, and begin its run or go on with it.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used.
    """
    if config.kind == "documents":
        return start_documents(config, out, progress)
    return start_people(config, out, progress)


class PlanRow(NamedTuple):
    """One stage of a run as text."""

    stage: str
    name: str
    needs: str
    state: str
    share_of_the_work: str


def plan(config: RunConfig | DocumentsConfig, progress: Progress | None = None) -> list[PlanRow]:
    """Return the stages of a run, and which of them are in the cache; compute only the data, leave no folder.

    Raises:
        UnseeError: the recipe, the data or the model cannot be used.
    """
    with fixed_threads(config.threads), TemporaryDirectory() as folder:
        started = start(config, Path(folder) / "run", progress or Silent())
        log, started.scenario.stages.exports = started.scenario.stages.log, False
        log.progress = Silent()
        done = kept(started)
        notes_of(Path(folder) / "run").unlink(missing_ok=True)
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
