"""Searches the options of methods: the same number of trials for each, on people that are not reported."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from unsee.config.recipe import GENERATED, DocumentsConfig, MethodTable, RunConfig
from unsee.config.search import Range, search_space
from unsee.core.errors import ConfigError, UnknownNameError
from unsee.core.files import write
from unsee.core.progress import Progress, Silent
from unsee.methods import METHODS
from unsee.methods.base import Method
from unsee.report.search import Tried, write_search_page
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

    method: str
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
        table: the best options of every method, as tables for a recipe.
        page: what was tried, as plots.
        trials: every trial, method by method, the best first.
    """

    folder: Path
    table: Path
    page: Path
    trials: list[Trial]


def tune(
    config: RunConfig | DocumentsConfig,
    methods: Sequence[str],
    trials: int,
    out: Path | None = None,
    progress: Progress | None = None,
    workers: int | str = 1,
    ranges: Mapping[str, Range] | None = None,
) -> TuneResult:
    """Try options within the ranges that methods declare, the defaults first, and write the best ones.

    Every method gets the same number of trials. Optuna's TPE draws the options, seeded by the recipe, four trials at a
    time. Every trial is a run, whose stages come from the cache if the same search was begun before. So a search that
    was stopped goes on, and one that is repeated ends the same. The people are those of `data.seed`, or of seed 1 if
    that is 0, the seed of what is reported.

    Args:
        config: the recipe. If it has a table of a method, other options and the modality are taken from it.
        methods: names of tables of the recipe, or of methods; none for all methods of the recipe that declare a range.
        trials: their number for each method.
        out: the folder; by default `runs/tune-<recipe>`, followed by the name of the method if it is one.
        progress: where long work is shown.
        workers: as for `unsee.runs.run.run`.
        ranges: in place of declared ones, such as learning rates that suit this model; a method that lacks one of these
            options, or does not search it, goes without, so that all methods can be given the same.

    Raises:
        ConfigError: the recipe is not about people, a method declares no range, `ranges` names an option that no method
            searches, there is no signal, or Optuna is not installed.
        UnseeError: a run cannot be started, or a stage failed.
    """
    if not isinstance(config, RunConfig):
        raise ConfigError("tune: searches by the score of runs about people; this recipe is about documents")
    if not 0 < trials <= MOST_TRIALS:
        raise ConfigError(f"--trials {trials}: must be from 1 to {MOST_TRIALS}")
    searches = [_Search.of(config, method, ranges or {}) for method in methods or config.method]
    searches = [search for search in searches if search.space or methods]
    searched = {name for method in METHODS.usable().values() for name in search_space(method)}
    for name in ranges or {}:
        if name not in searched:
            raise UnknownNameError("--range", name, searched)
    if without := [search.method for search in searches if not search.space]:
        raise ConfigError(f"method.{without[0]}: declares no range to search")
    if not searches:
        raise ConfigError("tune: no method of this recipe declares a range to search; name one with --method")
    if config.data.source != GENERATED:
        log.warning("tune: data.source %s: report figures of other people than these", config.data.source)
    crew, shown = crew_of(workers, config), progress or Silent()
    folder = out or Path("runs") / "-".join(["tune", config.name, *(methods if len(methods) == 1 else ())])
    best, page = folder / "best.toml", folder / "report.html"
    about = f"The best of {trials} trials for each method, recipe {config.name}, data.seed = {searches[0].data_seed}."
    found: dict[str, list[_Found]] = {}
    for search in searches:
        found[search.method] = search.found(trials, folder, crew, shown)
        firsts = {method: tried[0] for method, tried in found.items()}
        scores = "".join(f"# {method}: score {first.row.score}\n" for method, first in firsts.items())
        tables = {"method": {method: first.table for method, first in firsts.items()}}
        write(best, f"# {about}\n{scores}{tomli_w.dumps(tables)}")
        spaces = {one.method: one.space for one in searches}
        plotted = {name: (spaces[name], [one.tried for one in tried]) for name, tried in found.items()}
        write_search_page(page, f"Options of {config.name}", about, plotted)
    return TuneResult(folder, best, page, [one.row for tried in found.values() for one in tried])


@dataclass(frozen=True)
class _Search:
    """The search of the options of one method.

    Attributes:
        config: the recipe with this method alone, on the people of the search.
        method: the name of its table.
        space: the options to search.
    """

    config: RunConfig
    method: str
    space: Mapping[str, Range]

    @classmethod
    def of(cls, config: RunConfig, method: str, ranges: Mapping[str, Range]) -> _Search:
        """Return the search of a method with the options that its table in the recipe has."""
        table = config.method.get(method) or MethodTable.model_validate({})
        modality = table.modality if len(table.modality) == 1 else ("both",)
        table = table.model_copy(update={"modality": modality, "seeds": ()})
        space = search_space(METHODS.get(table.use or method))
        data = config.data.model_copy(update={"seed": config.data.seed or 1})
        config = config.model_copy(update={"data": data, "method": {method: table}})
        return cls(config, method, space | {name: one for name, one in ranges.items() if name in space})

    @property
    def data_seed(self) -> int:
        """The seed of the people."""
        return self.config.data.seed

    def found(self, trials: int, folder: Path, crew: int | str, progress: Progress) -> list[_Found]:
        """Return all trials, the best first."""
        study, defaults = _study(self.config.seed), make_method(self.method, self.config.method[self.method])
        study.enqueue_trial({name: one.clipped(getattr(defaults, name)) for name, one in self.space.items()})
        found: list[_Found] = []
        for start in range(0, trials, BATCH):
            asked = {number: study.ask() for number in range(start, min(start + BATCH, trials))}
            options = {number: _drawn(trial, self.space, defaults) for number, trial in asked.items()}
            recipes = {number: self._with(own) for number, own in options.items()}
            names = {number: f"{self.method}-{number}" for number in recipes}
            runs = finished(
                (begin(one, folder / self.method / f"trial-{n}", progress, names[n]) for n, one in recipes.items()),
                crew, progress,
            )  # fmt: skip
            for number, run in zip(asked, runs, strict=True):
                if run.verdict != "ok":
                    raise ConfigError(f"tune: no signal, so nothing can be searched: {run.reason}")
                (score,) = [one for one in run.scores.methods if one.method == self.method]
                found.append(_Found(number, options[number], score, recipes[number].method[self.method]))
                study.tell(asked[number], found[-1].value)
        return sorted(found, key=lambda one: (-one.value, one.number))

    def _with(self, options: Mapping[str, float]) -> RunConfig:
        """Return the recipe with these options of the method."""
        table = self.config.method[self.method].model_copy(update=dict(options))
        return self.config.model_copy(update={"method": {self.method: table}})


@dataclass(frozen=True)
class _Found:
    """A trial with its result."""

    number: int
    options: dict[str, float]
    score: MethodScore
    settings: MethodTable

    @property
    def value(self) -> float:
        return self.score.score.value if self.score.score else 0.0

    @property
    def table(self) -> dict[str, object]:
        """The table for a recipe: the method and every option that is set."""
        return {**({"use": self.settings.use} if self.settings.use else {}), **self.settings.options}

    @property
    def tried(self) -> Tried:
        return Tried(self.number, self.options, self.value, self.score.verdict)

    @property
    def row(self) -> Trial:
        score = self.score
        options = ", ".join(f"{name} {value:.3g}" for name, value in self.options.items())
        parts = (score.efficacy, score.generality, score.utility, score.score)
        efficacy, generality, utility, whole = ("-" if part is None else rounded(part.value) for part in parts)
        return Trial(score.method, str(self.number), options, efficacy, generality, utility, whole, score.verdict)


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
    """Draw a value for each option, whole where the default is, else with three digits, so that it can be read."""
    options: dict[str, float] = {}
    for name, one in space.items():
        whole = isinstance(getattr(defaults, name), int)
        low, high = (int(one.low), int(one.high)) if whole else (one.low, one.high)
        suggest = trial.suggest_int if whole else trial.suggest_float
        value = suggest(name, low, high, log=one.scale == "log")
        options[name] = value if whole else float(f"{value:.3g}")
    return options
