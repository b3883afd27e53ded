"""The page of a search of options: what was tried for each method, and which options were best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unsee.config.search import Range
from unsee.core.files import write
from unsee.report.page import render

WIDTH, HEIGHT = 200, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 28.0, 8.0, 8.0, 22.0


@dataclass(frozen=True)
class Tried:
    """One trial.

    Attributes:
        number: of the trial, in the order in which they were drawn.
        options: the values of the searched options.
        score: 0 for a model that collapsed.
        verdict: "ok" or "collapsed".
    """

    number: int
    options: Mapping[str, float]
    score: float
    verdict: str


@dataclass(frozen=True)
class Panel:
    """The scores of all trials against one option, in pixels.

    Attributes:
        marks: place, title and verdict of each trial, the best one last.
        ends: the ends of the range as text.
    """

    option: str
    marks: list[tuple[float, float, str, str]]
    ends: tuple[str, str]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


def write_search_page(
    path: Path, title: str, about: str, searches: Mapping[str, tuple[Mapping[str, Range], Sequence[Tried]]]
) -> None:
    """Write the page.

    Args:
        path: the file.
        title: its heading.
        about: a sentence about people and number of trials.
        searches: for each method the ranges of its options and its trials, the best first.

    Raises:
        RecordError: the file cannot be written.
    """
    panels = {
        method: [panel(option, one, tried) for option, one in space.items()]
        for method, (space, tried) in searches.items()
    }
    found = {method: tried for method, (_, tried) in searches.items()}
    write(path, render("search.html", title=title, about=about, panels=panels, found=found, size=(WIDTH, HEIGHT)))


def panel(option: str, searched: Range, tried: Sequence[Tried]) -> Panel:
    """Place the trials of one method, the best first, by the value of an option and by score."""
    marks = []
    for one in reversed(tried):
        x = _LEFT + _share(one.options[option], searched) * (WIDTH - _RIGHT - _LEFT)
        y = HEIGHT - _BOTTOM - one.score * (HEIGHT - _BOTTOM - _TOP)
        title = f"trial {one.number}: {option} {one.options[option]:.3g}, score {one.score:.2f}, {one.verdict}"
        marks.append((round(x, 1), round(y, 1), title, one.verdict))
    return Panel(option, marks, (f"{searched.low:g}", f"{searched.high:g}"))


def _share(value: float, searched: Range) -> float:
    """Return where a value lies in its range, from 0 to 1, on the scale of the range."""
    low, high = searched.low, searched.high
    if searched.scale == "log":
        low, high, value = math.log(low), math.log(high), math.log(value)
    return min(1.0, max(0.0, (value - low) / (high - low)))
