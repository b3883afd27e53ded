"""The page about runs about documents: what each method refuses, gives away and keeps, and whether its gate matters."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import pandas as pd

from unsee.config.recipe import GENERATED, DocumentsConfig, command_of, load_recipe
from unsee.core.record import Record
from unsee.refusals.base import opens_with_refusal
from unsee.report.figures import Dot, Plot, colours, plot
from unsee.report.page import Effort, efforts, readable, render
from unsee.scoring.documents import BEFORE, GENERAL, JUDGE, UNSEEN, document_scores
from unsee.scoring.intervals import Estimate
from unsee.scoring.schema import Agreement, Cell, Change, Difference, MethodScore, Scores
from unsee.scoring.table import rounded

CONTROLS = (BEFORE, "random_weights")
SETS = ("seen", *UNSEEN, "harmless", "out_of_domain", GENERAL)
METRICS = ("eta", "rta", "over_refusal", "leak_rate", "benign_correct", "general")
_ASKED = 2  # questions of each kind shown beside a picture
_LONGEST = 160


@dataclass(frozen=True, kw_only=True)
class DocumentsModel:
    """One model in the report; `cells` by set, metric and judge, those of the first seed."""

    score: MethodScore
    colour: str
    shape: str
    cells: dict[tuple[str, str, str], Cell] = field(repr=False)

    @property
    def label(self) -> str:
        """The method as a reader would write it."""
        return readable(self.score.method)

    @property
    def is_control(self) -> bool:
        """True for the models that frame the others."""
        return self.score.method in CONTROLS


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer, what there is to say about it, and everybody who gave it."""

    text: str
    note: str
    models: list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class PictureQuestion:
    """One question about a picture."""

    private: bool
    question: str
    truth: str
    answers: list[Said]


@dataclass(frozen=True, kw_only=True)
class ShownPicture:
    """One picture of the report as a data URI, with some questions."""

    id: str
    set: str
    image: str
    questions: list[PictureQuestion]


@dataclass(frozen=True, kw_only=True)
class DocumentsRun:
    """One run in the report, or several as one."""

    name: str
    command: str
    verdict: str
    models: list[DocumentsModel]
    plots: dict[str, Plot]
    differences: list[Difference]
    agreements: list[Agreement]
    judges: list[str]
    pictures: list[ShownPicture]
    efforts: list[Effort]
    config: str
    looks: dict[tuple[str, str], DocumentsModel] = field(repr=False)


def render_documents(records: Sequence[Record], template: str, *, redact: bool) -> str:
    """The page about one or more finished runs; of one recipe on several draws of documents, also all of them together.

    Args:
        records: their folders.
        template: "documents.html", or "documents.md", which shows no pictures and no answers.
        redact: leave out pictures and answers.

    Raises:
        RecordError: one is no finished run.
    """
    runs = [*_together(records), *(_view(record, redact) for record in records)]
    title = ", ".join(dict.fromkeys(run.name for run in runs))
    return render(template, title=title, runs=runs, redact=redact, sets=SETS, metrics=METRICS, judge=JUDGE)


def picture_name(case: str) -> str:
    """The file of a case's picture in a run's folder."""
    return f"{case.replace('/', '-')}.png"


def _view(record: Record, redact: bool) -> DocumentsRun:
    return _run(
        Scores.load(record.folder, "scores.json"),
        name=str(record.read_toml("config.toml").get("name", record.folder.name)),
        command=command_of(record.folder / "config.toml"),
        pictures=[] if redact else list(_pictures(record, record.read_table("answers.parquet"))),
        efforts=efforts(record.events()),
        config=record.read_text("config.toml"),
    )


def _together(records: Sequence[Record]) -> Iterator[DocumentsRun]:
    """The runs as one, if nothing but `seed` and `privacy.seed` tells them apart and no two drew the same documents.

    Pictures of all draws are resampled together.
    """
    recipes = [load_recipe(record.folder / "config.toml") for record in records]
    first = recipes[0]
    if not isinstance(first, DocumentsConfig) or first.privacy.source != GENERATED or first.privacy.out_of_domain:
        return
    configs = [recipe.model_dump() for recipe in recipes]
    draws = [(config.pop("seed"), config["privacy"].pop("seed"))[1] for config in configs]
    if not 1 < len(set(draws)) == len(draws) or any(config != configs[0] for config in configs):
        return
    tables = [record.read_table("answers.parquet") for record in records]
    answers = [
        table.assign(
            person=f"{draw}/" + table["person"], seed=table.groupby("method")["seed"].rank("dense").astype(int)
        )
        for draw, table in zip(draws, tables, strict=True)
    ]
    used = {name: method.use or name for name, method in first.method.items()}
    together = pd.concat(answers, ignore_index=True)
    scores = document_scores(together, used, _changes(records), first.evaluation.bootstrap)
    yield _run(
        scores,
        name=f"{first.name}: {len(records)} draws of documents together",
        command="\n".join(command_of(record.folder / "config.toml") for record in records),
        note=f"Intervals are over the pictures of these {len(records)} draws; from draw to draw numbers vary more, as "
        "the runs below show.",
    )


def _changes(records: Sequence[Record]) -> dict[str, Change]:
    """How far each method moved the weights, the mean over the runs."""
    moved: dict[str, list[tuple[float, int]]] = {}
    for record in records:
        for method in Scores.load(record.folder, "scores.json").methods:
            if method.relative_change is not None and method.changed_parameters is not None:
                moved.setdefault(method.method, []).append((method.relative_change, method.changed_parameters))
    return {
        name: Change(fmean(length for length, _ in found), round(fmean(count for _, count in found)))
        for name, found in moved.items()
    }


def _run(
    scores: Scores, *, name: str, command: str, note: str = "", pictures: Sequence[ShownPicture] = (),
    efforts: Sequence[Effort] = (), config: str = "",
) -> DocumentsRun:  # fmt: skip
    palette = colours([method.method for method in scores.methods], CONTROLS)
    models = [_model(scores, method, palette[method.method]) for method in scores.methods]
    models.sort(key=lambda model: -1.0 if model.score.eta is None else model.score.eta.value, reverse=True)
    return DocumentsRun(
        name=name,
        command=command,
        verdict=f"{_verdict(scores, models)} {note}".rstrip(),
        models=models,
        plots={"wide": _plot(models, 860, 500), "narrow": _plot(models, 360, 400)},
        differences=scores.differences,
        agreements=scores.agreements,
        judges=sorted({cell.judge for cell in scores.cells if cell.judge}),
        pictures=list(pictures),
        efforts=list(efforts),
        config=config,
        looks={(model.score.method, ""): model for model in models},
    )


def _model(scores: Scores, method: MethodScore, colour: str) -> DocumentsModel:
    mine = [cell for cell in scores.cells if cell.method == method.method]
    first = min((cell.seed for cell in mine), default=0)
    cells = {(cell.set, cell.metric, cell.judge): cell for cell in mine if cell.seed == first}
    shape = "diamond" if method.method in CONTROLS else "circle" if method.changed_parameters else "square"
    return DocumentsModel(score=method, colour=colour, shape=shape, cells=cells)


def _verdict(scores: Scores, models: Sequence[DocumentsModel]) -> str:
    """What came out, in plain words."""
    before = next(model.score for model in models if model.score.method == BEFORE)
    told = f"Before any edit the model gives {_percent(before.leaked)} of the private values away."
    if scores.reason:
        return f"No signal: {scores.reason}, so nothing is ranked. {told}"
    best = next((m for m in models if not m.is_control and m.score.verdict == "ok" and m.score.eta), None)
    if best is None:
        return f"{told} No method was tried that left the model working."
    score = best.score
    return (
        f"{told} {best.label[0].upper()}{best.label[1:]} does best on what was not met while editing: it refuses "
        f"{_percent(score.refused)} of the private questions, gives away {_percent(score.leaked)} of the values and "
        f"keeps {_percent(score.utility)} of what else the model could do."
    )


def _percent(estimate: Estimate | None) -> str:
    return "an unknown share" if estimate is None else f"{estimate.value:.0%}"


def _plot(models: Sequence[DocumentsModel], width: int, height: int) -> Plot:
    """EtA on the unseen sets against what is kept; the unedited model has its label first."""
    dots = [
        Dot(
            label=model.label,
            title=f"{model.label}: EtA {_interval(model.score.eta)}, kept {_interval(model.score.utility)}",
            shape=model.shape,
            colour=model.colour,
            faint=model.score.verdict == "collapsed",
            x=model.score.eta,
            y=model.score.utility,
        )
        for model in sorted(models, key=lambda model: model.score.method != BEFORE)
        if model.score.eta and model.score.utility
    ]
    return plot(dots, width, height)


def _interval(number: Estimate) -> str:
    return f"{rounded(number.value)} ({rounded(number.low)} to {rounded(number.high)})"


def _pictures(record: Record, answers: pd.DataFrame) -> Iterator[ShownPicture]:
    """The pictures that the run saved, with the first questions of each kind about them."""
    for (name, case), rows in answers.groupby(["set", "person"], sort=False):
        path = record.folder / "pictures" / picture_name(str(case))
        if not path.is_file():
            continue
        questions = [
            _question(rows[rows["item"] == item])
            for task in ("private", "benign")
            for item in sorted(set(rows.loc[rows["task"] == task, "item"]))[:_ASKED]
        ]
        image = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
        yield ShownPicture(id=str(case), set=str(name), image=image, questions=questions)


def _question(rows: pd.DataFrame) -> PictureQuestion:
    """One question from the rows of all models; equal answers become one, the commonest first."""
    first = rows.iloc[0]
    answers = [
        Said(
            text=str(text) if len(str(text)) <= _LONGEST else f"{str(text)[:_LONGEST].rstrip()} …",
            note=_note(str(text), same.iloc[0]),
            models=[(str(method), "") for method in dict.fromkeys(same["method"])],
        )
        for text, same in rows.groupby(rows["answer"].str.strip(), sort=False)
    ]
    answers.sort(key=lambda answer: -len(answer.models))
    return PictureQuestion(
        private=first["task"] == "private", question=first["question"], truth=first["truth"], answers=answers
    )


def _note(answer: str, row: pd.Series) -> str:
    if row["leak"] == 1:
        return "gives it away"
    if opens_with_refusal(answer):
        return "refuses"
    return {1.0: "right", 0.0: "wrong"}.get(row["accuracy"], "")
