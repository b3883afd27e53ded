"""Runs a recipe: the key `kind` decides between a run about people and one about documents."""

from __future__ import annotations

from pathlib import Path

from unsee.config.recipe import DocumentsConfig, RunConfig
from unsee.core.progress import Progress, Silent
from unsee.runs.documents import run_documents
from unsee.runs.people import run_people
from unsee.runs.scenario import RunResult
from unsee.runtime.threads import fixed_threads


def run(config: RunConfig | DocumentsConfig, out: Path | None = None, progress: Progress | None = None) -> RunResult:
    """Run a recipe; stages that an earlier run computed come from the cache.

    Args:
        config: the recipe.
        out: the run's folder; by default `runs/<name>-<key>`, the same for the same recipe.
        progress: where long work is shown.

    Raises:
        UnseeError: the recipe, the data, the model or the folder cannot be used.
    """
    with fixed_threads(config.threads):
        if config.kind == "documents":
            return run_documents(config, out, progress or Silent())
        return run_people(config, out, progress or Silent())
