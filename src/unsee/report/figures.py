"""The geometry of the trade-off plot: positions of points, whiskers and labels, which the template draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unsee.scoring.intervals import Estimate

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_CHARACTER_WIDTH, _LINE_HEIGHT, _MARKER = 6.3, 15.0, 7.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 26.0, 38.0, 46.0
_BEYOND = 0.04  # the axes run a little past 0 and 1 so that no marker is cut

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One model to plot.

    Attributes:
        label: drawn beside the marker.
        title: shown on hover and read by a screen reader.
        shape: "circle", "square", "triangle" or "diamond".
        colour: number in the palette of the style sheet, or "control".
        faint: drawn hollow; a collapsed model.
    """

    label: str
    title: str
    shape: str
    colour: str
    faint: bool
    x: Estimate
    y: Estimate


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text beside its marker, with a leader line if it is further away."""

    text: str
    x: float
    y: float
    anchor: str
    leader: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A dot in pixels."""

    dot: Dot
    x: float
    y: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    label: Label | None


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Everything the template needs to draw one plot."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    marks: list[Mark]


def plot(dots: Sequence[Dot], width: int, height: int) -> Plot:
    """Lay out dots, whiskers and labels; a label without a free place is left to the legend and the hover title.

    Args:
        dots: earlier dots choose the place of their label first.
        width: width of the drawing, pixels.
        height: height of the drawing, pixels.
    """
    right, bottom = width - _RIGHT, height - _BOTTOM

    def to_x(value: float) -> float:
        return round(_LEFT + (value + _BEYOND) / (1 + 2 * _BEYOND) * (right - _LEFT), 1)

    def to_y(value: float) -> float:
        return round(bottom - (value + _BEYOND) / (1 + 2 * _BEYOND) * (bottom - _TOP), 1)

    places = [(to_x(dot.x.value), to_y(dot.y.value)) for dot in dots]
    taken = [_around(x, y) for x, y in places]
    taken += [(to_x(dot.x.low), y - 1, to_x(dot.x.high), y + 1) for dot, (_, y) in zip(dots, places, strict=True)]
    frame = (_LEFT, 2.0, float(width), bottom)
    marks = []
    crowds = _crowds(places)
    for number, (dot, (x, y)) in enumerate(zip(dots, places, strict=True)):
        label = None
        if number in crowds:
            text = ", ".join(dict.fromkeys(dots[n].label for n in crowds[number]))
            label = _place(text, x, y, taken, frame)
        marks.append(
            Mark(
                dot=dot,
                x=x,
                y=y,
                x_low=to_x(dot.x.low),
                x_high=to_x(dot.x.high),
                y_low=to_y(dot.y.low),
                y_high=to_y(dot.y.high),
                label=label,
            )
        )
    return Plot(
        width=width,
        height=height,
        left=_LEFT,
        right=right,
        top=_TOP,
        bottom=bottom,
        x_ticks=[(to_x(tick), f"{tick:g}") for tick in TICKS],
        y_ticks=[(to_y(tick), f"{tick:g}") for tick in TICKS],
        marks=marks,
    )


def _crowds(places: Sequence[tuple[float, float]]) -> dict[int, list[int]]:
    """Return the markers that share one label because they overlap, by the first of each group."""
    crowds: dict[int, list[int]] = {}
    for number, (x, y) in enumerate(places):
        near = [
            first
            for first, crowd in crowds.items()
            if any(abs(places[n][0] - x) < _MARKER and abs(places[n][1] - y) < _MARKER for n in crowd)
        ]
        joined = [n for first in near for n in crowds.pop(first)] + [number]
        crowds[min(joined)] = sorted(joined)
    return crowds


def _around(x: float, y: float) -> Box:
    return (x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER)


def _place(text: str, x: float, y: float, taken: list[Box], frame: Box) -> Label | None:
    """Return a label at the first free place near a marker."""
    width = len(text) * _CHARACTER_WIDTH
    for distance in (11.0, 24.0, 38.0, 54.0):
        for right, down in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)):
            at_x, at_y = x + right * distance, y + down * (distance + 2)
            left = at_x - width * (1 - right) / 2
            box = (left, at_y - _LINE_HEIGHT / 2, left + width, at_y + _LINE_HEIGHT / 2)
            if _inside(box, frame) and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                anchor = ("end", "middle", "start")[right + 1]
                leader = (at_x - right * 3, at_y - down * 6) if distance > 20 else None
                return Label(text=text, x=round(at_x, 1), y=round(at_y + 4, 1), anchor=anchor, leader=leader)
    return None


def _inside(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def colours(names: Iterable[str], controls: Iterable[str], palette: int = 8) -> dict[str, str]:
    """Return a palette number for every method, in order of appearance; controls share one."""
    known = set(controls)
    methods = [name for name in dict.fromkeys(names) if name not in known]
    return {name: str(number % palette) for number, name in enumerate(methods)} | dict.fromkeys(known, "control")
