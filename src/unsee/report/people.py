"""The page of runs about people: what it shows of each run, and of several as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from unsee.config.recipe import command_of, load_recipe
from unsee.core.errors import RecordError
from unsee.core.record import GENERAL_SET, Record
from unsee.report.attacks import AttackView, Panel, attack_views, panel
from unsee.report.examples import Example
from unsee.report.figures import Plot, colours
from unsee.report.page import Effort, ModelView, capitalised, efforts, trade_off
from unsee.report.shown_people import shown_people
from unsee.scoring.attacks import with_attacks
from unsee.scoring.cells import HEADLINE
from unsee.scoring.comparison import attack_tables, scored_runs
from unsee.scoring.factuality import FACTUALITY_FILE, Factuality, FactualityCell
from unsee.scoring.modalities import Modalities, compare
from unsee.scoring.names import listed, readable
from unsee.scoring.people import score_runs, signal_of
from unsee.scoring.schema import BOTH, Cell, Measure, MethodScore, Scores, check_models, is_control
from unsee.scoring.signal import Signal
from unsee.scoring.table import percent, rounded

_SHAPES = {"image": "square", "text": "triangle", "both": "circle"}
_SOURCES = {"image": "from image questions", "text": "from text questions", "both": "from image and text questions"}
SETS = ("forget", "test", "retain", "celebrity", GENERAL_SET)
_TASKS = tuple(HEADLINE)
_GARBLED = 0.02  # of a model that works, one answer in a hundred looks garbled


@dataclass(frozen=True, kw_only=True)
class TaskCells:
    """The cells of one set and task of one model, by input.

    Attributes:
        set: the set.
        task: the task.
        metric: the headline metric.
        headline: cells of the headline metric.
        probability: cells of the probability.
        further: cells of the optional metrics and of those of other distributions, by metric.
        both: the cell of pairs; None without pairs.
    """

    set: str
    task: str
    metric: str
    headline: dict[str, Cell]
    probability: dict[str, Cell]
    further: dict[str, dict[str, Cell]]
    both: Cell | None


@dataclass(frozen=True, kw_only=True)
class PeopleModel(ModelView):
    """One model of a run about people."""

    cells: list[TaskCells]

    @property
    def remarks(self) -> list[str]:
        """What stands beside the verdict: the sign of collapse, the scores of its trainings, garbled answers."""
        scores = [rounded(one.score) for one in self.score.trainings if one.score is not None]
        return [
            *super().remarks,
            *([f"{len(scores)} trainings: {', '.join(scores)}"] if scores and not self.is_control else []),
            *([f"{self.score.garbled:.0%} of its free answers are garbled"] if self._garbles else []),
        ]

    @property
    def _garbles(self) -> bool:
        return self.score.garbled is not None and self.score.garbled >= _GARBLED

    @property
    def source(self) -> str:
        """The questions that the method unlearned from, in words; "" if none."""
        return _SOURCES.get(self.score.modality, self.score.modality)


@dataclass(frozen=True, kw_only=True)
class FactualityView:
    """The scores of a judge: by model, the cell of each set and input."""

    judge: str
    cases: int
    invalid: int
    sets: list[str]
    models: dict[tuple[str, str], dict[tuple[str, str], FactualityCell]]


@dataclass(frozen=True, kw_only=True)
class PeopleRun:
    """One run about people on the page."""

    name: str
    command: str
    verdict: str
    best: PeopleModel | None
    signal: Signal
    scores: Scores
    models: list[PeopleModel]
    plots: dict[str, Plot]
    modalities: Modalities | None
    covers: str
    people: list[Example]
    factuality: FactualityView | None
    attacks: list[AttackView]
    measures: dict[str, dict[tuple[str, str], Measure]]
    efforts: list[Effort]
    config: str
    looks: dict[tuple[str, str], PeopleModel] = field(repr=False)

    @property
    def chains(self) -> list[Panel]:
        """The curves of methods over one request after another."""
        panels = []
        for name in ("now", "past", "utility", "score"):
            lines: dict[tuple[str, str], dict[str, float]] = {}
            for one in self.scores.requests:
                if number := getattr(one, name):
                    lines.setdefault((one.method, one.modality), {})[str(one.request)] = number.value
            panels += panel(name, lines)
        return panels

    @property
    def measured(self) -> list[PeopleModel]:
        """The models that have measures."""
        return [model for model in self.models if any(model.key in found for found in self.measures.values())]

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Set and task of each column, the same for all models."""
        return [(row.set, row.task) for row in self.models[0].cells]

    @property
    def attacked(self) -> list[PeopleModel]:
        """The models that some attack was run on, but the oracle, against which they are read."""
        known = {model for attack in self.attacks for model in attack.worst}
        return [model for model in self.models if model.key in known and model.score.method != "oracle"]


def people_runs(records: Sequence[Record], redact: bool) -> list[PeopleRun]:
    """Return runs about people as a page shows them; before them all as one, if they differ only in their seeds."""
    together = _together(records) if len(records) > 1 else ()
    return [*together, *(_view(record, redact) for record in records)]


def read_finished(record: Record) -> tuple[Scores, Signal, pd.DataFrame]:
    """Return the scores, the signal and the answers of a finished run about people.

    Raises:
        RecordError: a file is missing, or they do not belong together.
    """
    scores, signal = Scores.load(record.folder, "scores.json"), Signal.load(record.folder, "signal.json")
    answers = record.read_answers()
    if "rouge_l" not in answers:
        raise RecordError(
            f"{record.folder / 'answers.parquet'}: no column rouge_l; the same command makes the run again"
        )
    check_models(record.folder, scores, answers)
    return scores, signal, answers


def _view(record: Record, redact: bool) -> PeopleRun:
    scores, signal, answers = read_finished(record)
    return _run(
        scores,
        signal,
        name=str(record.read_toml("config.toml").get("name", record.folder.name)),
        command=command_of(record.folder / "config.toml"),
        covers=_covers(scores),
        modalities=compare(answers, signal),
        people=[] if redact else shown_people(_first_seeds(answers), record.folder / "portraits"),
        factuality=_factuality(record),
        efforts=efforts(record.events(), [method.method for method in scores.methods]),
        config=record.read_text("config.toml"),
    )


def _together(records: Sequence[Record]) -> Iterator[PeopleRun]:
    """Yield the runs as one run, if all have signal and only `seed` and `data.seed` differ, and no two are the same."""
    recipes = [load_recipe(record.folder / "config.toml") for record in records]
    configs = [recipe.model_dump() for recipe in recipes]
    seeds = [(config.pop("seed"), config["data"].pop("seed")) for config in configs]
    if not 1 < len(set(seeds)) == len(seeds) or any(config != configs[0] for config in configs):
        return
    runs = scored_runs(records)
    if not all(run.signal.signal for run in runs):
        return
    scores = score_runs(runs, better=Scores.load(records[0].folder, "scores.json").better)
    attacks = attack_tables(records)
    if attacks:
        scores = with_attacks(scores, runs, attacks)
    yield _run(
        scores,
        signal_of(runs),
        name=f"{recipes[0].name}, {len(runs)} runs together",
        command="\n".join(command_of(record.folder / "config.toml") for record in records),
        covers=(
            f"Every number is the mean over {len(runs)} runs, each with its own target and oracle; intervals are over "
            f"runs, trainings and people together. {len(runs)} runs say little about the spread between runs."
        ),
    )


def _run(
    scores: Scores, signal: Signal, *, name: str, command: str, covers: str, modalities: Modalities | None = None,
    people: Sequence[Example] = (), factuality: FactualityView | None = None, efforts: Sequence[Effort] = (),
    config: str = "",
) -> PeopleRun:  # fmt: skip
    models = _models(scores)
    best = next((m for m in models if not m.is_control and m.score.score and m.score.score.value > 0), None)
    framing = [model for model in models if model.score.method in ("oracle", "target")]
    return PeopleRun(
        name=name,
        command=command,
        verdict=_verdict(signal, models, best),
        best=best,
        signal=signal,
        scores=scores,
        models=models,
        plots=trade_off(
            framing + [model for model in models if model not in framing],
            lambda score: score.efficacy, "efficacy",
        ),
        modalities=modalities,
        covers=covers,
        people=list(people),
        factuality=factuality,
        attacks=attack_views(scores),
        measures=_measures(scores),
        efforts=list(efforts),
        config=config,
        looks={model.key: model for model in models},
    )  # fmt: skip


def _first_seeds(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the answers of the first training of each method."""
    return answers[answers["seed"] == answers.groupby(["method", "modality"])["seed"].transform("first")]


def _models(scores: Scores) -> list[PeopleModel]:
    """Return the models, best first."""
    names = [method.method for method in scores.methods]
    palette = colours("people", names)
    models = [
        PeopleModel(
            score=method,
            colour=palette[method.method],
            shape=_SHAPES.get(method.modality, "diamond"),
            is_control=is_control("people", method.method),
            cells=_task_cells(scores, method),
        )
        for method in scores.methods
    ]
    return sorted(models, key=lambda m: -1.0 if m.score.score is None else m.score.score.value, reverse=True)


def _measures(scores: Scores) -> dict[str, dict[tuple[str, str], Measure]]:
    """Return what likelihoods tell, by measure and model."""
    found: dict[str, dict[tuple[str, str], Measure]] = {}
    for measure in scores.measures:
        found.setdefault(measure.name, {})[measure.method, measure.modality] = measure
    return found


def _factuality(record: Record) -> FactualityView | None:
    """Return the scores of a judge, if the run was judged."""
    if FACTUALITY_FILE not in record:
        return None
    found = Factuality.load(record.folder, FACTUALITY_FILE)
    models: dict[tuple[str, str], dict[tuple[str, str], FactualityCell]] = {}
    for cell in found.cells:
        models.setdefault((cell.method, cell.modality), {}).setdefault((cell.set, cell.input), cell)
    sets = [name for name in SETS if any(cell.set == name for cell in found.cells)]
    return FactualityView(judge=found.judge, cases=found.cases, invalid=found.invalid, sets=sets, models=models)


def _covers(scores: Scores) -> str:
    """Return what the intervals cover and what not."""
    several = [method for method in scores.methods if method.trainings]
    if not several:
        return (
            "Intervals are over people only. Another seed of training or another machine gives other figures, and "
            "methods close to each other can change places."
        )
    names = listed(list(dict.fromkeys(readable(method.method) for method in several)))
    return (
        f"Rows with several trainings ({names}) are means over them, with intervals over people and trainings; all "
        "other intervals are over people only. "
        "Target and oracle are taught once, and no interval covers what another teaching would change."
    )


def _verdict(signal: Signal, models: Sequence[PeopleModel], best: PeopleModel | None) -> str:
    """Return the outcome in plain words."""
    if not signal.signal:
        return f"No signal, so nothing is ranked: {signal.reason}."
    methods = [model for model in models if not model.is_control]
    collapsed = [model for model in methods if model.score.verdict == "collapsed"]
    broke = f" {len(collapsed)} of {len(methods)} attempts broke the model: {_named(collapsed)}." if collapsed else ""
    if best is None:
        return f"No method made the model forget and kept it working.{broke}"
    score = best.score
    learned = f", unlearning {best.source}," if best.source else ""
    again = next((m.score.score for m in models if m.score.method == "oracle_2"), None)
    total = "-" if score.score is None else rounded(score.score.value)
    elsewhere = f" ({percent(score.generality)} in other photos and words)" if score.generality else ""
    beside = f"; a second retrained model scores {rounded(again.value)}" if again else ""
    equal = [model for model in methods if model is not best and score.rank and model.score.rank == score.rank]
    found = f"has the highest score, but chance could explain its lead over {_named(equal)}" if equal else "forgot best"
    return (
        f"{capitalised(best.name)}{learned} {found}: it went {percent(score.efficacy)} of the way "
        f"to a model that never saw the people{elsewhere} and kept "
        f"{percent(score.utility)} of what else the model knew. Score {total}{beside}.{broke}"
    )


def _named(models: Sequence[PeopleModel]) -> str:
    """Return the names of models, each method once with what it unlearned from."""
    sources: dict[str, list[str]] = {}
    for model in models:
        sources.setdefault(model.name, []).append(model.score.modality)
    return listed([f"{name} ({', '.join(found)})" if any(found) else name for name, found in sources.items()])


def _task_cells(scores: Scores, method: MethodScore) -> list[TaskCells]:
    mine = [c for c in scores.cells if (c.method, c.modality) == (method.method, method.modality)]
    rows = []
    for set_name in SETS:
        for task in _TASKS:
            here = sorted((c for c in mine if (c.set, c.task) == (set_name, task)), key=lambda cell: cell.input)
            by_metric = {c.metric: {d.input: d for d in here if d.metric == c.metric} for c in here}
            if here:
                rows.append(
                    TaskCells(
                        set=set_name,
                        task=task,
                        metric=HEADLINE[task],
                        headline=by_metric.get(HEADLINE[task], {}),
                        probability=by_metric.get("probability", {}),
                        further={metric: by_metric.get(metric, {}) for metric in scores.further_metrics},
                        both=next((cell for cell in here if cell.input == BOTH), None),
                    )
                )
    return rows
