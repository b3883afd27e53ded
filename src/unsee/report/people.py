"""Run folders -> one self-contained HTML file: no network, no library, light and dark, any width; or Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from unsee.config.recipe import command_of
from unsee.core.errors import RecordError
from unsee.core.record import Record
from unsee.report.documents import render_documents
from unsee.report.figures import Dot, Plot, colours, plot
from unsee.report.page import Effort, efforts, readable, render
from unsee.report.shown_people import Shown, shown_people
from unsee.scoring.factuality import FACTUALITY_FILE, Factuality, FactualityCell
from unsee.scoring.intervals import Estimate
from unsee.scoring.modalities import Modalities, compare
from unsee.scoring.people import HEADLINE
from unsee.scoring.schema import Cell, Gate, MethodScore, Scores
from unsee.scoring.table import rounded

CONTROLS = ("target", "oracle", "do_nothing", "random_weights")
SHAPES = {"image": "square", "text": "triangle", "both": "circle", "": "diamond"}
_SOURCES = {"image": "from image questions", "text": "from text questions", "both": "from image and text questions"}
_SETS = ("forget", "test", "retain", "celebrity", "general")
_TASKS = ("classification", "generation", "cloze")


@dataclass(frozen=True, kw_only=True)
class CellRow:
    """One set and task of one model: headline metric and probability, by input."""

    set: str
    task: str
    metric: str
    headline: dict[str, Cell]
    probability: dict[str, Cell]


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """One model in the report."""

    score: MethodScore
    colour: str
    shape: str
    cells: list[CellRow]

    @property
    def name(self) -> str:
        """The method as a reader would write it."""
        return readable(self.score.method)

    @property
    def source(self) -> str:
        """Which questions the method unlearned from, in words; empty if from none."""
        return _SOURCES.get(self.score.modality, self.score.modality)

    @property
    def label(self) -> str:
        """Method and modality."""
        return f"{self.name} · {self.score.modality}" if self.score.modality else self.name

    @property
    def is_control(self) -> bool:
        """True for models that are no unlearning method but frame the scores."""
        return is_control(self.score.method)


@dataclass(frozen=True, kw_only=True)
class FactualityView:
    """What a judge found: by model, the cell of each set and input."""

    judge: str
    cases: int
    invalid: int
    sets: list[str]
    models: dict[tuple[str, str], dict[tuple[str, str], FactualityCell]]


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run in the report."""

    name: str
    command: str
    verdict: str
    best: ModelView | None
    gate: Gate
    models: list[ModelView]
    plots: dict[str, Plot]
    modalities: Modalities | None
    people: list[Shown]
    factuality: FactualityView | None
    efforts: list[Effort]
    config: str
    looks: dict[tuple[str, str], ModelView] = field(repr=False)

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Set and task of every cell row, the same for all models."""
        return [(row.set, row.task) for row in self.models[0].cells]


def write_report(run_dirs: list[Path], out: Path, redact: bool = False) -> Path:
    """Writes one page about one or more finished runs.

    Args:
        run_dirs: run folders, all about people or all about documents.
        out: the file; a name in `.md` makes Markdown, which holds no answers and no people.
        redact: leave out names, answers and portraits.

    Returns:
        `out`.

    Raises:
        RecordError: a folder is no finished run, runs about people and about documents are mixed, or the file cannot be
            written.
    """
    records = [Record.open(folder) for folder in run_dirs]
    about_documents = {"privacy" in record.read_toml("config.toml") for record in records}
    if len(about_documents) > 1:
        raise RecordError("runs about people and runs about documents make two pages; give those of one kind")
    markdown = out.suffix == ".md"
    if about_documents == {True}:
        page = render_documents(records, "documents.md" if markdown else "documents.html", redact=redact)
    else:
        runs = [_view(record, redact) for record in records]
        title = ", ".join(dict.fromkeys(run.name for run in runs))
        template = "people.md" if markdown else "people.html"
        page = render(template, title=title, runs=runs, redact=redact, sets=_SETS)
    Record(out.parent).write_text(out.name, page)
    return out


def is_control(method: str) -> bool:
    """True for the models every run has: they frame the scores and are no attempt to forget."""
    return method in CONTROLS or method.startswith("oracle_")


def _view(record: Record, redact: bool) -> RunView:
    scores, found = Scores.load(record.folder, "scores.json"), Gate.load(record.folder, "gate.json")
    names = [method.method for method in scores.methods]
    palette = colours(names, filter(is_control, names))
    models = [
        ModelView(
            score=method,
            colour=palette[method.method],
            shape=SHAPES.get(method.modality, "diamond"),
            cells=_cell_rows(scores, method),
        )
        for method in scores.methods
    ]
    models.sort(key=lambda model: -1.0 if model.score.score is None else model.score.score.value, reverse=True)
    answers = record.read_table("answers.parquet")
    best = next((m for m in models if not m.is_control and m.score.score and m.score.score.value > 0), None)
    return RunView(
        name=str(record.read_toml("config.toml").get("name", record.folder.name)),
        command=command_of(record.folder / "config.toml"),
        verdict=_verdict(found, models, best),
        best=best,
        gate=found,
        models=models,
        plots={"wide": _plot(models, 860, 500), "narrow": _plot(models, 360, 400)},
        modalities=compare(answers, found),
        people=[] if redact else shown_people(answers, record.folder / "portraits"),
        factuality=_factuality(record),
        efforts=efforts(record.events()),
        config=record.read_text("config.toml"),
        looks={(model.score.method, model.score.modality): model for model in models},
    )


def _factuality(record: Record) -> FactualityView | None:
    """What a judge found, if one was asked."""
    if FACTUALITY_FILE not in record:
        return None
    found = Factuality.load(record.folder, FACTUALITY_FILE)
    models: dict[tuple[str, str], dict[tuple[str, str], FactualityCell]] = {}
    for cell in found.cells:
        models.setdefault((cell.method, cell.modality), {})[cell.set, cell.input] = cell
    sets = [name for name in _SETS if any(cell.set == name for cell in found.cells)]
    return FactualityView(judge=found.judge, cases=found.cases, invalid=found.invalid, sets=sets, models=models)


def _verdict(found: Gate, models: list[ModelView], best: ModelView | None) -> str:
    """What came out, in plain words."""
    if not found.signal:
        return (
            "No signal: target and oracle answer the questions about the forget people alike, "
            "so there is nothing to forget and nothing is ranked."
        )
    collapsed = [m for m in models if not m.is_control and m.score.verdict == "collapsed"]
    methods = [m for m in models if not m.is_control]
    broke = f" {len(collapsed)} of {len(methods)} attempts broke the model." if collapsed else ""
    if best is None:
        return f"No method made the model forget and kept it working.{broke}"
    score = best.score
    learned = f", unlearning {best.source}," if best.source else ""
    again = next((m.score.score for m in models if m.score.method == "oracle_2"), None)
    total = "-" if score.score is None else rounded(score.score.value)
    beside = f"; a second retrained model scores {rounded(again.value)}" if again else ""
    return (
        f"{best.name[0].upper()}{best.name[1:]}{learned} forgot best: it went {_percent(score.efficacy)} of the way "
        f"to a model that never saw the people ({_percent(score.generality)} in other photos and words) and kept "
        f"{_percent(score.utility)} of what else the model knew. Score {total}{beside}.{broke}"
    )


def _percent(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.0%}"


def _cell_rows(scores: Scores, method: MethodScore) -> list[CellRow]:
    mine = [c for c in scores.cells if (c.method, c.modality) == (method.method, method.modality)]
    rows = []
    for set_name in _SETS:
        for task in _TASKS:
            here = [c for c in mine if (c.set, c.task) == (set_name, task)]
            if not here:
                continue
            headline = {c.input: c for c in sorted(here, key=lambda cell: cell.input) if c.metric == HEADLINE[task]}
            rows.append(
                CellRow(
                    set=set_name,
                    task=task,
                    metric=HEADLINE[task],
                    headline=headline,
                    probability={c.input: c for c in here if c.metric == "probability"},
                )
            )
    return rows


def _plot(models: list[ModelView], width: int, height: int) -> Plot:
    """Efficacy against utility; frames and good methods choose the place of their label first."""
    first = [m for m in models if m.score.method in ("oracle", "target")]
    dots = []
    for model in first + [m for m in models if m not in first]:
        score = model.score
        if score.efficacy is None or score.utility is None:
            continue
        title = f"{model.label}: efficacy {_interval(score.efficacy)}, utility {_interval(score.utility)}"
        dots.append(
            Dot(
                label=model.label,
                title=f"{title}, {score.verdict}",
                shape=model.shape,
                colour=model.colour,
                faint=score.verdict == "collapsed",
                x=score.efficacy,
                y=score.utility,
            )
        )
    return plot(dots, width, height)


def _interval(number: Estimate) -> str:
    return f"{rounded(number.value)} ({rounded(number.low)} to {rounded(number.high)})"
