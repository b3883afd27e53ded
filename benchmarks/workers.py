"""Time the scheduler, and whole runs on several workers: `python -m benchmarks.workers --workers 1 2 4`.

First, stages that only sleep, which shows what the scheduler adds on a machine with as many cores as workers. Then one
recipe for each number of workers, every time with a cache of its own; their scores must be equal.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from unsee.runtime.tasks import Results, Task, run_tasks
from unsee.runtime.workers import Processes

TAUGHT, METHODS = 3, 24  # models taught and methods applied, as in a run
TEACH, UNLEARN, EVALUATE = 1.6, 0.16, 0.06  # seconds, in the ratio of `quick`


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the sleeping stages, then the recipe, and print one line each."""
    parser = argparse.ArgumentParser(prog="benchmarks.workers", description=__doc__)
    parser.add_argument("--recipe", default="tiny", help="recipe to run with each number of workers; '' for none")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--no-sleep", dest="sleep", action="store_false", help="leave out the stages that sleep")
    options = parser.parse_args(arguments)
    tasks = [task for name, task in sleeping().items() if not name.startswith("ready")]
    work, critical = sum(task.cost for task in tasks), TEACH + UNLEARN + EVALUATE
    for count in (1, 2, 4, 8) if options.sleep else ():
        with Processes(count, sleeping) as workers:
            run_tasks([Task(f"ready {number}", (), print) for number in range(count)], workers)
            started = time.perf_counter()
            run_tasks(tasks, workers)
            seconds = time.perf_counter() - started
        least = max(work / count, critical, TEACH + METHODS * (UNLEARN + EVALUATE) / count)
        print(f"{len(tasks)} sleeping stages, {count} workers: {seconds:.2f} s, at least {least:.2f} s")
    scores = []
    for count in options.workers if options.recipe else ():
        with tempfile.TemporaryDirectory() as folder:
            seconds = run(options.recipe, count, Path(folder))
            scores.append(without_cost(json.loads((Path(folder) / "run/scores.json").read_text())))
        same = "equal" if scores[-1] == scores[0] else "DIFFER"
        print(f"{options.recipe}, {count} workers: {seconds:.1f} s, scores {same}")


def sleeping() -> Mapping[str, Task]:
    """Return the stages of a run, each of which sleeps for its cost, and some to begin all workers with."""
    stages = [Task(f"ready {number}", (), partial(sleep, 1.0)) for number in range(8)]
    for number in range(TAUGHT):
        stages.append(Task(f"teach {number}", (), partial(sleep, TEACH), TEACH))
        stages.append(Task(f"evaluate {number}", (f"teach {number}",), partial(sleep, EVALUATE), EVALUATE))
    for number in range(METHODS):
        stages.append(Task(f"unlearn {number}", ("teach 0",), partial(sleep, UNLEARN), UNLEARN))
        stages.append(Task(f"evaluate method {number}", (f"unlearn {number}",), partial(sleep, EVALUATE), EVALUATE))
    return {task.name: task for task in stages}


def sleep(seconds: float, results: Results) -> None:
    """Sleep."""
    del results
    time.sleep(seconds)


def run(recipe: str, workers: int, folder: Path) -> float:
    """Run a recipe in a process of its own with an empty cache, and return its seconds."""
    started = time.perf_counter()
    words = ["run", recipe, "--workers", str(workers), "--out", str(folder / "run")]
    environment = {**os.environ, "UNSEE_CACHE": str(folder / "cache")}
    ended = subprocess.run([sys.executable, "-m", "unsee", *words], env=environment, capture_output=True, text=True)
    if ended.returncode not in (0, 3):  # 3: no signal, as `tiny`
        raise SystemExit(ended.stderr)
    return time.perf_counter() - started


def without_cost(value: Any) -> Any:
    """Return scores without time and memory, which differ from run to run."""
    if isinstance(value, dict):
        return {key: without_cost(part) for key, part in value.items() if key not in ("seconds", "peak_bytes")}
    return [without_cost(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
