"""Sends losses, rates and scores of a run to experiment trackers while it runs.

What is sent comes from the run's log, to which every worker writes: numbers, but no question and no answer about a
person.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers

from unsee.core.errors import ConfigError, UnknownNameError, first_line
from unsee.core.record import Record
from unsee.runs.watch import Tail
from unsee.runtime.distributed import state
from unsee.scoring.schema import Scores

log = logging.getLogger(__name__)

_SECONDS = 1.0
_WITH_STEPS = ("tensorboard", "mlflow")
"""Trackers that take steps for each number; for the others the step of a training is a number of its own."""
_TRAINING, _COST = "step", ("trained", "edited", "evaluated")
_NO_NUMBERS = ("time", "number", "step")
_PARTS = ("efficacy", "generality", "utility", "score", "robustness", "eta", "refused", "leaked")


def check_trackers(names: Sequence[str]) -> None:
    """Check trackers before any work.

    Raises:
        UnknownNameError: accelerate knows no tracker of this name.
        ConfigError: the package of a tracker is missing.
    """
    installed = [str(known.value) for known in get_available_trackers()] if names else []
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UnknownNameError("--track", name, LOGGER_TYPE_TO_CLASS)
        if name not in installed:
            package = "'unsee[track]'" if name == "tensorboard" else name.replace("_", "-")
            raise ConfigError(f"--track {name}: its package is missing; run: pip install {package}")


@contextmanager
def tracked(names: Sequence[str], record: Record, project: str) -> Iterator[None]:
    """Send what the run logs in the meantime, and in the end its scores.

    Args:
        names: of trackers of accelerate ("tensorboard"); none sends nothing.
        record: the run's folder; trackers that write files write them there.
        project: the run's name in a tracker that has projects.

    Raises:
        ConfigError: a tracker does not start.
    """
    if not names or not state().is_main_process:
        yield
        return
    trackers = {name: _started(name, record.folder, project) for name in names}
    with ExitStack() as stack:
        for tracker in trackers.values():
            stack.callback(tracker.finish)
        tail, stop = Tail(record.folder / "log.jsonl"), Event()

        def send() -> None:
            for event in tail.new():
                for name in list(trackers):
                    try:
                        _send(name, trackers[name], event)
                    except Exception as error:  # a run goes on without its tracker
                        log.warning("tracker %s: %s; nothing more is sent to it", name, first_line(error))
                        del trackers[name]

        def follow() -> None:
            while not stop.wait(_SECONDS):
                send()

        thread = Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            send()
        if "scores.json" in record:
            for tracker in trackers.values():
                tracker.log(_scores(Scores.model_validate(record.read_json("scores.json"))))


def _started(name: str, folder: Path, project: str) -> GeneralTracker:
    """Return a tracker that has started; what it writes is as private as the rest of the run."""
    cls, before = LOGGER_TYPE_TO_CLASS[name], os.umask(0o077)
    try:
        tracker = cls(name, folder) if cls.requires_logging_directory else cls(f"unsee-{project}")
        tracker.start()
    except Exception as error:
        raise ConfigError(f"--track {name}: does not start: {first_line(error)}") from error
    finally:
        os.umask(before)
    return tracker


def _send(name: str, tracker: GeneralTracker, event: Mapping[str, Any]) -> None:
    """Send the numbers of one event, under the name of its model."""
    kind, model = event["event"], event.get("model")
    if kind not in (_TRAINING, *_COST):
        return
    values = {
        f"{model}/{key if kind == _TRAINING else f'{kind}_{key}'}": value
        for key, value in event.items()
        if isinstance(value, int | float) and key not in _NO_NUMBERS
    }
    step = event.get("step") if kind == _TRAINING else None
    if step is not None and name not in _WITH_STEPS:
        values[f"{model}/step"] = step
    tracker.log(values, step=step if name in _WITH_STEPS else None)


def _scores(scores: Scores) -> dict[str, float]:
    """Return every number of the final table."""
    found = {}
    for method in scores.methods:
        label = "-".join(filter(None, (method.method, method.modality)))
        for part in _PARTS:
            if (number := getattr(method, part, None)) is not None:
                found[f"{label}/{part}"] = float(number.value)
    return found
