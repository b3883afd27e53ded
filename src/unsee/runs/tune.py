"""Searches the options of one method: the same number of trials for every method, on people that are not reported."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from unsee.config.recipe import GENERATED, DocumentsConfig, MethodTable, RunConfig
from unsee.config.search import Range, search_space
from unsee.core.errors import ConfigError
from unsee.core.files import write
from unsee.core.progress import Progress, Silent
from unsee.methods import METHODS
from unsee.methods.base import Method
from unsee.runs.graph import crew_of, finished
from unsee.runs.method_runs import make_method
from unsee.runs.run import begin
from unsee.scoring.schema import MethodScore
from unsee.scoring.table import rounded

log = logging.getLogger(__name__)

BATCH = 4
"""Trials that are drawn together, whatever the number of workers, so that it changes no trial."""
STARTUP = 6
"""Trials that are drawn at random before TPE begins to choose."""
MOST_TRIALS = 10_000


class Trial(NamedTuple):
    """One trial as text."""

    trial: str
    options: str
    efficacy: str
    generality: str
    utility: str
    score: str
    verdict: str


@dataclass(frozen=True)
class TuneResult:
    """The result of a search.

    Attributes:
        folder: its folder, with a run for each trial.
        table: the best options, as a table for a recipe.
        trials: every trial, the best first.
    """

    folder: Path
    table: Path
    trials: list[Trial]


def tune(
    config: RunConfig | DocumentsConfig,
    method: str,
    trials: int,
    out: Path | None = None,
    progress: Progress | None = None,
    workers: int | str = 1,
    ranges: Mapping[str, Range] | None = None,
) -> TuneResult:
    """Try options within the ranges that a method declares, the defaults first, and write the best ones.

    Optuna's TPE draws the options, seeded by the recipe, four trials at a time. Every trial is a run, whose stages come
    from the cache if the same search was begun before. So a search that was stopped goes on, and one that is repeated
    ends the same. The people are those of `data.seed`, or of seed 1 if that is 0, the seed of what is reported.

    Args:
        config: the recipe. If it has a table of this name, other options and the modality are taken from it.
        method: the name of the method's table, or of the method.
        trials: their number.
        out: the folder; by default `runs/tune-<recipe>-<method>`.
        progress: where long work is shown.
        workers: as for `unsee.runs.run.run`.
        ranges: in place of declared ones, such as learning rates that suit this model; those of options that the method
            lacks or that are not searched are left aside, so that all methods can be given the same.

    Raises:
        ConfigError: the recipe is not about people, the method declares no range, there is no signal, or Optuna is not
            installed.
        UnseeError: a run cannot be started, or a stage failed.
    """
    if not isinstance(config, RunConfig):
        raise ConfigError("tune: searches by the score of runs about people; this recipe is about documents")
    if not 0 < trials <= MOST_TRIALS:
        raise ConfigError(f"--trials {trials}: must be from 1 to {MOST_TRIALS}")
    table = config.method.get(method) or MethodTable.model_validate({})
    modality = table.modality if len(table.modality) == 1 else ("both",)
    table = table.model_copy(update={"modality": modality, "seeds": ()})
    cls = METHODS.get(table.use or method)
    if not (space := search_space(cls)):
        raise ConfigError(f"method.{method}: declares no range to search")
    space |= {name: one for name, one in (ranges or {}).items() if name in space}
    if config.data.source != GENERATED:
        log.warning("tune: data.source %s: report figures of other people than these", config.data.source)
    data = config.data.model_copy(update={"seed": config.data.seed or 1})
    config = config.model_copy(update={"data": data, "method": {method: table}})
    crew, shown = crew_of(workers), progress or Silent()
    folder = out or Path("runs") / f"tune-{config.name}-{method}"
    study = _study(config.seed)
    defaults = make_method(method, table)
    study.enqueue_trial({name: one.clipped(getattr(defaults, name)) for name, one in space.items()})
    found: list[_Found] = []
    for start in range(0, trials, BATCH):
        asked = {number: study.ask() for number in range(start, min(start + BATCH, trials))}
        options = {number: _drawn(trial, space, defaults) for number, trial in asked.items()}
        recipes = {number: _with(config, method, own) for number, own in options.items()}
        runs = finished(
            (begin(one, folder / f"trial-{n}", shown, f"trial-{n}") for n, one in recipes.items()), crew, shown
        )
        for number, run in zip(asked, runs, strict=True):
            if run.verdict != "ok":
                raise ConfigError(f"tune: no signal, so nothing can be searched: {run.reason}")
            (score,) = [one for one in run.scores.methods if one.method == method]
            found.append(_Found(number, options[number], score, recipes[number]))
            study.tell(asked[number], found[-1].value)
    found.sort(key=lambda one: (-one.value, one.number))
    best, first = folder / "best.toml", found[0]
    about = f"# Score {first.row.score}: the best of {trials} trials, recipe {config.name}, data.seed = {data.seed}\n"
    write(best, about + tomli_w.dumps({"method": {method: first.options}}))
    return TuneResult(folder, best, [one.row for one in found])


@dataclass(frozen=True)
class _Found:
    """A trial with its result."""

    number: int
    options: dict[str, float]
    score: MethodScore
    config: RunConfig

    @property
    def value(self) -> float:
        return self.score.score.value if self.score.score else 0.0

    @property
    def row(self) -> Trial:
        score = self.score
        options = ", ".join(f"{name} {value:.3g}" for name, value in self.options.items())
        parts = (score.efficacy, score.generality, score.utility, score.score)
        efficacy, generality, utility, whole = ("-" if part is None else rounded(part.value) for part in parts)
        return Trial(str(self.number), options, efficacy, generality, utility, whole, score.verdict)


def _study(seed: int) -> Any:
    """Return an empty search of Optuna.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        optuna = importlib.import_module("optuna")
    except ImportError:
        raise ConfigError("tune: Optuna is not installed; pip install 'unsee[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it warns that this sampler is experimental
    # The trials of one batch are drawn before any of them is scored: each is taken for a bad one meanwhile.
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _drawn(trial: Any, space: Mapping[str, Range], defaults: Method) -> dict[str, float]:
    """Draw a value for each option, whole numbers where the default is one."""
    options: dict[str, float] = {}
    for name, one in space.items():
        whole = isinstance(getattr(defaults, name), int)
        low, high = (int(one.low), int(one.high)) if whole else (one.low, one.high)
        suggest = trial.suggest_int if whole else trial.suggest_float
        options[name] = suggest(name, low, high, log=one.scale == "log")
    return options


def _with(config: RunConfig, method: str, options: Mapping[str, float]) -> RunConfig:
    """Return the recipe with these options of the method."""
    table = config.method[method].model_copy(update=dict(options))
    return config.model_copy(update={"method": {method: table}})
