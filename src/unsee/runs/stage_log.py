"""Numbers, logs and shows the stages of a run, and keeps what they compute in the cache."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from unsee.core.progress import Progress
from unsee.core.record import Record
from unsee.runtime.cache import Cache
from unsee.runtime.cost import Cost
from unsee.runtime.tasks import NotNow
from unsee.scoring.names import readable_model


class StageLog:
    """The stages of a run as its log, the terminal and the cache see them.

    Attributes:
        record: the run's folder.
        progress: where long work is shown; inside a stage, under the stage's title.
        cache: where weights and answers are kept.
        only_kept: refuse to compute anything (`NotNow`); what is in the cache is returned as ever.
        patient: wait while another run computes the same stage; False raises `NotNow` instead.
        run: the name of the run among several, for titles; "" for one alone.
    """

    def __init__(self, record: Record, progress: Progress, cache: Cache) -> None:
        self.record = record
        self.progress = progress
        self.cache = cache
        self.only_kept = False
        self.patient = True
        self.run = ""
        self._stages: Sequence[str] = ()
        self._methods: Collection[str] = ()
        self._number = 0
        self._unsaid: Callable[[], None] | None = None

    def plan(self, stages: Sequence[str], methods: Collection[str]) -> None:
        """Set the stages of the run, before the first one; their place is their number.

        Args:
            stages: each is what is done and the name of the model, such as "teach oracle_2".
            methods: the names of the methods, which make the names of models readable.
        """
        self._stages, self._methods = stages, methods

    @contextmanager
    def stage(self, what: str, model: str) -> Iterator[None]:
        """Log when a stage begins and ends, and show its number and name meanwhile.

        A stage begins when it finds its result in the cache or starts to compute. One that ends with `NotNow` before
        that leaves no trace.
        """
        name, outside, started = f"{what} {model}", self.progress, time.monotonic()
        self._number = self._stages.index(name) + 1 if name in self._stages else self._number + 1
        title = self.title(self._number, what, model)
        self._unsaid = lambda: self.log("stage", stage=what, model=model)
        with outside.stage(title) as self.progress:
            try:
                yield
            finally:
                self.progress = outside
        self._begin()
        self.log("done", seconds=round(time.monotonic() - started, 2))

    def title(self, number: int, what: str, model: str) -> str:
        """Return the title of a stage, such as "3 of 50: teach second oracle"."""
        of = f"{number} of {len(self._stages)}: " if self._stages else ""
        return (f"{self.run}: " if self.run else "") + of + self.readable(f"{what} {model}")

    def readable(self, stage: str) -> str:
        """Return the readable name of a stage."""
        what, model, *more = stage.split(" ")
        return " ".join([what, readable_model(model, self._methods), *more])

    def log(self, event: str, **fields: str | float | bool | None) -> None:
        """Log an event with the number of its stage."""
        self.record.log(event, number=self._number, **fields)

    @contextmanager
    def missing(self, *paths: Path) -> Iterator[bool]:
        """Yield True if files have to be computed; meanwhile no other process computes them.

        Raises:
            NotNow: they are missing, and nothing may be computed (`only_kept`), or another process computes them.
        """
        if self._holds(paths):
            yield False
            return
        if self.only_kept:
            raise NotNow
        with self.cache.locked(paths[0], wait=self.patient):
            if is_missing := not self._holds(paths):  # another process may have made them meanwhile
                self._begin()
            yield is_missing

    def _holds(self, paths: Sequence[Path]) -> bool:
        if held := all(self.cache.holds(path) for path in paths):
            self._begin()
        return held

    def _begin(self) -> None:
        if self._unsaid:
            self._unsaid()
            self._unsaid = None

    def say_cached(self) -> None:
        """Show that the stage's result comes from the cache."""
        self.progress.say("from the cache")

    @contextmanager
    def weights_missing(self, model: str, path: Path) -> Iterator[bool]:
        """Yield True if weights have to be computed; else log the time and memory that they took.

        If one of the two files is damaged, both are computed again.
        """
        took = path.with_suffix(".json")
        with self.missing(path, took) as is_missing:
            if not is_missing:
                self.log("cached", model=model, **json.loads(took.read_text()))
                self.say_cached()
            yield is_missing

    def cost_of(self, path: Path) -> Cost:
        """Return the time and memory that weights of the cache took."""
        return Cost(**json.loads(path.with_suffix(".json").read_text()))

    def keep_weights(self, event: str, model: str, path: Path, write: Callable[[Path], object], cost: Cost) -> None:
        """Write weights to the cache, with the time and memory they took."""
        self.log(event, model=model, **asdict(cost))
        self.cache.keep(path.with_suffix(".json"), lambda part: part.write_text(json.dumps(asdict(cost))))
        self.cache.keep(path, write)
