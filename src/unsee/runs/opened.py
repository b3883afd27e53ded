"""Opens a run that another process has started, and takes from the cache what it holds."""

from __future__ import annotations

from pathlib import Path

import torch

from unsee.config.recipe import DocumentsConfig, RunConfig
from unsee.core.progress import Silent
from unsee.runs.documents import open_documents_run
from unsee.runs.people import open_people
from unsee.runs.scenario import Run
from unsee.runs.watch import Logged
from unsee.runtime.tasks import NotNow


def opened(config: RunConfig | DocumentsConfig, folder: Path) -> Run:
    """Open a run to compute some of its stages; it logs their progress, and waits for nobody.

    Args:
        config: its recipe.
        folder: the run's folder.
    """
    torch.set_num_threads(config.threads)
    run: Run = (
        open_documents_run(config, folder, Silent())
        if config.kind == "documents"
        else open_people(config, folder, Silent())
    )
    log = run.scenario.stages.log
    log.patient, log.progress = False, Logged(log.log)
    return run


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
