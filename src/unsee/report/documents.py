"""The page of runs about documents: the shares that each method refuses, leaks and keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import pandas as pd

from unsee.config.recipe import GENERATED, command_of, load_recipe
from unsee.core.record import GENERAL_SET, Record
from unsee.refusals.base import opens_with_refusal
from unsee.report.examples import Asked, Example, merged
from unsee.report.figures import Plot, colours
from unsee.report.page import Effort, ModelView, capitalised, efforts, embedded, trade_off
from unsee.scoring.documents import HARMLESS, JUDGE, UNSEEN, document_scores
from unsee.scoring.names import readable
from unsee.scoring.schema import (
    DO_NOTHING,
    DOCUMENTS_METRICS,
    Agreement,
    Cell,
    ChangeAndCost,
    Difference,
    MethodScore,
    Scores,
    check_models,
    is_control,
)
from unsee.scoring.table import percent

SETS = ("seen", *UNSEEN, *HARMLESS, "seen_harmless", "out_of_domain", GENERAL_SET)
_ASKED = 2  # questions of each kind shown with a picture
_UNKNOWN = "an unknown share"


@dataclass(frozen=True, kw_only=True)
class DocumentsModel(ModelView):
    """One model of a run about documents; `cells` are those of the first seed, by set, metric and judge."""

    cells: dict[tuple[str, str, str], Cell] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class DocumentsRun:
    """One run about documents on the page, or several as one."""

    name: str
    command: str
    verdict: str
    scores: Scores
    models: list[DocumentsModel]
    plots: dict[str, Plot]
    differences: list[Difference]
    agreements: list[Agreement]
    judges: list[str]
    pictures: list[Example]
    efforts: list[Effort]
    config: str
    looks: dict[tuple[str, str], DocumentsModel] = field(repr=False)

    @property
    def sets(self) -> tuple[str, ...]:
        """All sets that a run can have, in order."""
        return SETS

    @property
    def judge(self) -> str:
        """The judge that decides refusals."""
        return JUDGE

    @property
    def has_harmless(self) -> bool:
        """Whether a method of the run gets pictures of harmless subjects."""
        return any(model.score.harmless_refused for model in self.models)

    @property
    def metrics(self) -> list[str]:
        """The metrics of the sets; those of other distributions come last."""
        return [*DOCUMENTS_METRICS, *self.scores.further_metrics]


def document_runs(records: Sequence[Record], redact: bool) -> list[DocumentsRun]:
    """Return finished runs for the page; runs of one recipe on several draws of documents also come first as one.

    Args:
        records: the run folders.
        redact: leave out pictures and answers.

    Raises:
        RecordError: a folder is no finished run.
    """
    return [*_together(records), *(_view(record, redact) for record in records)]


def picture_name(case: str) -> str:
    """Return the file name of the picture of a case in the folder of a run."""
    return f"{case.replace('/', '-')}.png"


def _view(record: Record, redact: bool) -> DocumentsRun:
    scores, answers = Scores.load(record.folder, "scores.json"), record.read_answers()
    check_models(record.folder, scores, answers)
    return _run(
        scores,
        name=str(record.read_toml("config.toml").get("name", record.folder.name)),
        command=command_of(record.folder / "config.toml"),
        pictures=[] if redact else list(_pictures(record, answers)),
        efforts=efforts(record.events(), [method.method for method in scores.methods]),
        config=record.read_text("config.toml"),
    )


def _together(records: Sequence[Record]) -> Iterator[DocumentsRun]:
    """Yield the runs as one run, if only `seed` and `privacy.seed` differ and no two drew the same documents.

    The pictures of all draws are resampled together.
    """
    recipes = [load_recipe(record.folder / "config.toml") for record in records]
    first = recipes[0]
    if first.kind != "documents" or first.privacy.source != GENERATED or first.privacy.out_of_domain:
        return
    configs = [recipe.model_dump() for recipe in recipes]
    draws = [(config.pop("seed"), config["privacy"].pop("seed"))[1] for config in configs]
    if not 1 < len(set(draws)) == len(draws) or any(config != configs[0] for config in configs):
        return
    tables = [record.read_answers() for record in records]
    answers = [
        table.assign(unit=f"{draw}/" + table["unit"], seed=table.groupby("method")["seed"].rank("dense").astype(int))
        for draw, table in zip(draws, tables, strict=True)
    ]
    used = {name: method.use or name for name, method in first.method.items()}
    together = pd.concat(answers, ignore_index=True)
    better = Scores.load(records[0].folder, "scores.json").better
    scores = document_scores(together, used, _changes(records), first.evaluation.bootstrap, better)
    yield _run(
        scores,
        name=f"{first.name}: {len(records)} draws of documents together",
        command="\n".join(command_of(record.folder / "config.toml") for record in records),
        note=f"Intervals are over the pictures of these {len(records)} draws; from draw to draw numbers vary more, as "
        "the runs below show.",
    )


def _changes(records: Sequence[Record]) -> dict[str, ChangeAndCost]:
    """Return weight change and cost of each method, averaged over the runs."""
    moved: dict[str, list[tuple[float, int]]] = {}
    for record in records:
        for method in Scores.load(record.folder, "scores.json").methods:
            if method.relative_change is not None and method.changed_parameters is not None:
                moved.setdefault(method.method, []).append((method.relative_change, method.changed_parameters))
    return {
        name: ChangeAndCost(fmean(length for length, _ in found), round(fmean(count for _, count in found)))
        for name, found in moved.items()
    }


def _run(
    scores: Scores, *, name: str, command: str, note: str = "", pictures: Sequence[Example] = (),
    efforts: Sequence[Effort] = (), config: str = "",
) -> DocumentsRun:  # fmt: skip
    names = [method.method for method in scores.methods]
    palette = colours("documents", names)
    models = [_model(scores, method, palette[method.method]) for method in scores.methods]
    models.sort(key=lambda model: -1.0 if model.score.eta is None else model.score.eta.value, reverse=True)
    return DocumentsRun(
        name=name,
        command=command,
        verdict=f"{_verdict(scores, models)} {note}".rstrip(),
        scores=scores,
        models=models,
        plots=trade_off(
            sorted(models, key=lambda model: model.score.method != DO_NOTHING), lambda score: score.eta, "EtA", "kept"
        ),
        differences=scores.differences,
        agreements=scores.agreements,
        judges=sorted({cell.judge for cell in scores.cells if cell.judge}),
        pictures=list(pictures),
        efforts=list(efforts),
        config=config,
        looks={model.key: model for model in models},
    )


def _model(scores: Scores, method: MethodScore, colour: str) -> DocumentsModel:
    mine = [cell for cell in scores.cells if cell.method == method.method]
    first = min((cell.seed for cell in mine), default=0)
    cells = {(cell.set, cell.metric, cell.judge): cell for cell in mine if cell.seed == first}
    control = is_control("documents", method.method)
    shape = "diamond" if control else "circle" if method.changed_parameters else "square"
    return DocumentsModel(score=method, colour=colour, shape=shape, is_control=control, cells=cells)


def _verdict(scores: Scores, models: Sequence[DocumentsModel]) -> str:
    """Return the outcome in plain words."""
    before = next(model.score for model in models if model.score.method == DO_NOTHING)
    told = f"Before any edit the model gives {percent(before.leaked, _UNKNOWN)} of the private values away."
    if scores.reason:
        return f"No signal, so nothing is ranked: {scores.reason}. {told}"
    best = next((m for m in models if not m.is_control and m.score.verdict == "ok" and m.score.eta), None)
    if best is None:
        return f"{told} No method was tried that left the model working."
    score = best.score
    return (
        f"{told} {capitalised(best.label)} does best on what was not met while editing: it refuses "
        f"{percent(score.refused, _UNKNOWN)} of the private questions, gives away {percent(score.leaked, _UNKNOWN)} of "
        f"the values and keeps {percent(score.utility, _UNKNOWN)} of what else the model could do."
    )


def _pictures(record: Record, answers: pd.DataFrame) -> Iterator[Example]:
    """Yield the saved pictures of the run, each with its first questions of each kind."""
    for (name, case), rows in answers.groupby(["set", "unit"], sort=False):
        path = record.folder / "pictures" / picture_name(str(case))
        if not path.is_file():
            continue
        questions = [
            _question(rows[rows["item"] == item])
            for task in ("private", "benign")
            for item in sorted(set(rows.loc[rows["task"] == task, "item"]))[:_ASKED]
        ]
        yield Example(
            name=str(case),
            image=embedded(path),
            alternative=f"Picture {case}",
            tag=readable(str(name)),
            questions=questions,
        )


def _question(rows: pd.DataFrame) -> Asked:
    first = rows.iloc[0]
    kind = "private" if first["task"] == "private" else "benign"
    return Asked(kind=kind, question=first["question"], truth=first["truth"], answers=merged(rows, _note))


def _note(row: pd.Series) -> str:
    if row["leak"] == 1:
        return "gives it away"
    if opens_with_refusal(row["answer"].strip()):
        return "refuses"
    return {1.0: "right", 0.0: "wrong"}.get(row["accuracy"], "")
