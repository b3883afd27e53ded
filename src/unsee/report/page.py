"""The parts that all pages share: templates, models, the trade-off plot, time and memory."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from unsee.core.text import markdown
from unsee.report.figures import Dot, Plot, plot
from unsee.scoring.intervals import Estimate
from unsee.scoring.names import readable, readable_metric, readable_model
from unsee.scoring.schema import MethodScore
from unsee.scoring.table import rounded, spoken, written

GIBIBYTE = 2**30


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """One model of a page.

    Attributes:
        score: its row of the final table.
        colour: number in the palette of the style sheet, or "control".
        shape: shape of its marker.
        is_control: True for a model for comparison, which no method changed.
    """

    score: MethodScore
    colour: str
    shape: str
    is_control: bool

    @property
    def name(self) -> str:
        """The readable name of the method."""
        return readable(self.score.method)

    @property
    def label(self) -> str:
        """Method and modality."""
        return f"{self.name} · {self.score.modality}" if self.score.modality else self.name

    @property
    def key(self) -> tuple[str, str]:
        """Method and modality as registered."""
        return self.score.method, self.score.modality

    @property
    def remarks(self) -> list[str]:
        """What stands beside the verdict: the sign of collapse."""
        return list(filter(None, [self.score.reason]))


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Time and memory of one model of a run; None if there was no such work or it was not measured.

    `passes` are those of a batch forward through the decoder, and back. `training_seconds` is the time of its training
    or edit, in this run or an earlier one.
    """

    model: str
    trainable_parameters: int | None
    training_seconds: float | None
    peak_gibibytes: float | None
    passes: tuple[int, int] | None
    evaluation_seconds: float | None


def render(template: str, **values: object) -> str:
    """Return a template of this folder, filled in; HTML and Markdown show every text as it is."""
    return _environment(Path(template).suffix).get_template(template).render(**values).lstrip()


@cache
def _environment(suffix: str) -> Environment:
    environment = Environment(
        finalize=_in_markdown if suffix == ".md" else None,
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=suffix == ".html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "readable": readable, "metric": readable_metric, "rounded": rounded, "written": written,
        "fenced": _fenced, "formatted": partial(_formatted, missing="-" if suffix == ".md" else "\N{EN DASH}"),
    }  # fmt: skip
    return environment


def _formatted(value: object, form: str, *, missing: str) -> str:
    return missing if value is None else form.format(value)


def _in_markdown(value: object) -> object:
    return markdown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _fenced(text: str) -> Markup:
    """Return a text for a fenced block of Markdown, which it cannot end."""
    return Markup(text.replace("```", "` ` `"))


def capitalised(text: str) -> str:
    """Return the text with a capital first letter; other capitals stay."""
    return text[:1].upper() + text[1:]


def embedded(path: Path) -> str:
    """Return a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def trade_off(
    models: Sequence[ModelView], x_of: Callable[[MethodScore], Estimate | None], x_word: str, y_word: str = "utility",
    where: Sequence[str] = (),
) -> dict[str, Plot]:  # fmt: skip
    """Return the plots of one number against utility, for wide and for narrow screens.

    Args:
        models: earlier models choose the place of their label first.
        x_of: returns the number; a model without it, or without utility, is left out.
        x_word: the name of the number in the hover text.
        y_word: the name of utility in the hover text.
        where: where each model is from, for the hover text; each mark then has the number of its row.
    """
    dots = []
    for row, model in enumerate(models):
        x, y = x_of(model.score), model.score.utility
        if x is not None and y is not None:
            name = f"{model.label} ({where[row]})" if where else model.label
            dots.append(
                Dot(
                    label=model.label,
                    title=f"{name}: {x_word} {spoken(x)}, {y_word} {spoken(y)}, {model.score.verdict}",
                    shape=model.shape,
                    colour=model.colour,
                    faint=model.score.verdict == "collapsed",
                    x=x,
                    y=y,
                    row=row if where else None,
                )
            )
    return {"wide": plot(dots, 860, 500), "narrow": plot(dots, 360, 400)}


def efforts(events: list[dict[str, Any]], methods: Collection[str]) -> list[Effort]:
    """Return one row per model of the log; the last event counts, because a resumed run repeats events.

    Args:
        events: the events of the log.
        methods: the methods and controls of the run.
    """
    models: dict[str, dict[str, Any]] = {}
    for event in events:
        model = event.get("model")
        if event["event"] in ("training", "trained", "edited", "cached", "evaluated") and isinstance(model, str):
            about = "evaluated" if event["event"] == "evaluated" else "made"
            numbers = {key: value for key, value in event.items() if isinstance(value, int | float)}
            models.setdefault(model, {}).update({f"{about} {key}": value for key, value in numbers.items()})
    return [
        Effort(
            model=readable_model(model, methods),
            trainable_parameters=facts.get("made trainable_parameters"),
            training_seconds=facts.get("made seconds"),
            peak_gibibytes=facts["made peak_bytes"] / GIBIBYTE if facts.get("made peak_bytes") else None,
            passes=(facts["made forward_passes"], facts["made backward_passes"])
            if facts.get("made forward_passes")
            else None,
            evaluation_seconds=facts.get("evaluated seconds"),
        )
        for model, facts in models.items()
    ]
