"""A stage on several GPUs: `accelerate launch` starts processes that share its work and leave its result in the cache.

The worker that has the stage waits for them, and then takes the result from the cache. So it holds no model itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from unsee.config.recipe import RECIPES, DocumentsConfig, ResourcesConfig, RunConfig, load_recipe
from unsee.core import errors
from unsee.core.errors import UnseeError
from unsee.core.record import NullRecord
from unsee.runs.opened import kept, opened
from unsee.runtime.distributed import state
from unsee.runtime.quiet import hush
from unsee.runtime.tasks import NotNow, Results, Task
from unsee.runtime.workers import portable

MOMENT = 0.5
"""Seconds between two looks whether the worker is still there."""


def launched_tasks(config: RunConfig | DocumentsConfig, folder: Path) -> list[Task]:
    """Return the tasks of a run, each of which is computed by as many processes as it has GPUs."""
    run = opened(config, folder)
    log = run.scenario.stages.log
    log.only_kept, log.record = True, NullRecord(folder)  # the processes log and write everything
    run.scenario.stages.release()
    return [_launched(task, config.resources, folder) for task in run.tasks]


def _launched(task: Task, resources: ResourcesConfig, folder: Path) -> Task:
    def compute(results: Results) -> object:
        with TemporaryDirectory() as told:
            words = [*launcher(resources), str(folder.absolute()), task.name, str(os.getpid()), told]
            _wait_for(words, Path(told))
        return task.compute(results)

    return replace(task, compute=compute)


def launcher(resources: ResourcesConfig) -> list[str]:
    """Return the command that starts the processes of one stage, without its arguments."""
    how = {"ddp": ["--multi_gpu"], "fsdp": ["--config_file", str(RECIPES / "accelerate" / "fsdp.yaml")]}
    number = ["--num_processes", str(resources.gpus), "--main_process_port", "0"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", *how[resources.strategy], *number]
    return [*launch, "-m", __name__]


def _wait_for(words: Sequence[str], told: Path) -> None:
    """Run the processes of a stage to their end.

    Raises:
        NotNow: another run computes the stage.
        UnseeError: what one of them raised.
        RuntimeError: they died.
    """
    with (told / "stderr").open("w+") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            code = process.wait()
        finally:
            process.kill()  # if this worker is to end; the processes follow
        if not code:
            return
        for path in sorted(told.glob("*.json")):
            raised = json.loads(path.read_text())
            kind = NotNow if raised["kind"] == NotNow.__name__ else getattr(errors, raised["kind"], UnseeError)
            raise kind(raised["message"])
        lines = (told / "stderr").read_text().strip().splitlines()
        raise RuntimeError(f"the processes of the stage ended with exit code {code}: {lines[-1] if lines else ''}")


def main(folder: Path, name: str, worker: int, told: Path) -> int:
    """Compute one stage together with the other processes, and return the exit code.

    Args:
        folder: the run's folder.
        name: the stage.
        worker: the process that waits for the result; without it, and without the launcher, this one ends.
        told: the folder for what goes wrong.
    """
    threading.Thread(target=_end_without, args=(psutil.Process(worker), os.getppid()), daemon=True).start()
    hush()
    try:
        run = opened(load_recipe(folder / "config.toml"), folder)
        log = run.scenario.stages.log
        log.record, record = NullRecord(folder), log.record  # what is in the cache has been logged
        results = kept(run)
        log.record = record
        if name not in results:
            next(task for task in run.tasks if task.name == name).compute(results)
    except (NotNow, UnseeError) as error:
        raised = error if isinstance(error, NotNow) else portable(error)
        about = {"kind": type(raised).__name__, "message": str(raised)}
        (told / f"{state().process_index}.json").write_text(json.dumps(about))
        return 1
    return 0


def _end_without(worker: psutil.Process, launcher: int) -> None:
    """End this process when the worker or the launcher is gone."""
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and os.getppid() == launcher:
        time.sleep(MOMENT)
    os._exit(1)


if __name__ == "__main__":
    place, stage, waiting, place_told = sys.argv[1:]
    sys.exit(main(Path(place), stage, int(waiting), Path(place_told)))
