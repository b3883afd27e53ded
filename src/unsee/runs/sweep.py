"""A sweep: one recipe over lists of values. All its runs are one graph of stages, and one page shows them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unsee.config.recipe import dump_config
from unsee.config.sweep import load_sweep
from unsee.core.errors import ConfigError
from unsee.core.files import write
from unsee.core.progress import Progress, Silent
from unsee.report.reports import write_report
from unsee.runs.graph import crew_of, finished
from unsee.runs.run import begin, check
from unsee.runs.scenario import RunResult

SWEEP_FILE = "sweep.toml"
"""The sweep's own copy of its file."""


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
    folder, shown = out or Path("runs") / config.name, progress or Silent()
    for name, recipe in recipes.items():
        try:
            check(recipe)
        except ConfigError as error:
            raise ConfigError(f"{file}: run {name}: {error}") from None
    crew = crew_of(workers, max(recipes.values(), key=lambda recipe: recipe.resources.gpus))
    write(folder / SWEEP_FILE, dump_config(config))
    results = finished((begin(recipe, folder / name, shown, name) for name, recipe in recipes.items()), crew, shown)
    report = folder / "report.html"
    write_report([result.folder for result in results], report)
    return SweepResult(folder, report, results)
