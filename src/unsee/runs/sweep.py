"""A sweep: one recipe over lists of values. All its runs are one graph of stages, and one page shows them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unsee.config.sweep import load_sweep
from unsee.core.progress import Progress, Silent
from unsee.report.people import write_report
from unsee.runs.run import begin, crew_of, finished
from unsee.runs.scenario import RunResult


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep.

    Attributes:
        folder: its folder, which holds a folder for each run.
        report: the page about all of them.
        runs: the result of each run.
    """

    folder: Path
    report: Path
    runs: list[RunResult]


def sweep(file: Path, out: Path | None = None, progress: Progress | None = None, workers: int | str = 1) -> SweepResult:
    """Run a recipe with every combination of the values of a sweep. Stages that runs share are computed once.

    Args:
        file: the sweep (`unsee.config.sweep`).
        out: the folder; by default `runs/<name>`.
        progress: where long work is shown.
        workers: as for `unsee.runs.run.run`.

    Raises:
        UnseeError: the sweep, a recipe, the data, a model or a folder cannot be used, or a stage failed.
    """
    config, recipes = load_sweep(file)
    crew, folder = crew_of(workers), out or Path("runs") / config.name
    shown = progress or Silent()
    results = finished((begin(recipe, folder / name, shown) for name, recipe in recipes.items()), crew, shown)
    report = folder / "report.html"
    write_report([result.folder for result in results], report)
    return SweepResult(folder, report, results)
