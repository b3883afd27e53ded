"""The geometry of the trade-off plot: positions of points, whiskers and labels, which the template draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import hypot, inf

from unsee.config.tables import Kind
from unsee.scoring.intervals import Estimate
from unsee.scoring.schema import is_control

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_CHARACTER_WIDTH, _LINE_HEIGHT, _MARKER = 6.3, 15.0, 7.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 26.0, 38.0, 46.0
_DISTANCES = (11.0, 18.0, 26.0, 38.0, 50.0, 64.0, 80.0)
_DIRECTIONS = (
    (1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1),
    (0.5, -1), (-0.5, -1), (0.5, 1), (-0.5, 1), (1, -0.5), (-1, -0.5), (1, 0.5), (-1, 0.5),
)  # fmt: skip
"""Where a label may be, seen from its marker: to the right and down."""
_CLEARLY = 4.0  # pixels by which a label is nearer to its own marker than to any other
_FAR = 14.0  # pixels between any other marker and a label that a line leads to
_STEPS = 24  # places at which a line to a label is looked at
_GAP = 8.0  # pixels between two labels on one line, so that they do not read as one
_BEYOND = 0.04  # the axes run a little past 0 and 1 so that no marker is cut

_PALETTE = 8  # colours of the style sheet

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
        row: the number of its row in a table that can be filtered.
    """

    label: str
    title: str
    shape: str
    colour: str
    faint: bool
    x: Estimate
    y: Estimate
    row: int | None = None


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
    taken += [(x - 1, to_y(dot.y.high), x + 1, to_y(dot.y.low)) for dot, (x, _) in zip(dots, places, strict=True)]
    frame = (_LEFT, 2.0, float(width), bottom)
    marks = []
    crowds = _crowds(places)
    for number, (dot, (x, y)) in enumerate(zip(dots, places, strict=True)):
        label = None
        if number in crowds:
            text = ", ".join(dict.fromkeys(dots[n].label for n in crowds[number]))
            others = [place for n, place in enumerate(places) if n not in crowds[number]]
            label = _place(text, x, y, taken, others, frame)
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


def _place(
    text: str, x: float, y: float, taken: list[Box], others: Sequence[tuple[float, float]], frame: Box
) -> Label | None:
    """Return a label at the first free place: nearer to its own marker than to any other, or led to it by a line.

    Args:
        text: the label.
        x: of its marker.
        y: of its marker.
        taken: boxes that it must not touch; its own is added.
        others: the other markers.
        frame: the box that it must be in.
    """
    width = len(text) * _CHARACTER_WIDTH
    for led in (False, True):
        for distance in _DISTANCES:
            for right, down in _DIRECTIONS:
                at_x, at_y = x + right * distance, y + down * (distance + 2)
                side = (right > 0.5) - (right < -0.5)
                left = at_x - width * (1 - side) / 2
                box = (left, at_y - _LINE_HEIGHT / 2, left + width, at_y + _LINE_HEIGHT / 2)
                end = (at_x - side * 3, at_y - down * 6)
                if not _inside(box, frame) or any(_overlap(box, other) for other in taken):
                    continue
                apart = min((_distance(box, other) for other in others), default=inf)
                near = _distance(box, (x, y)) + _CLEARLY < apart
                line = _line((x, y), end) if led or distance > 20 else []
                if (apart > _FAR if led else near) and not _crosses(line, taken, others):
                    taken += [(box[0] - _GAP, box[1], box[2] + _GAP, box[3]), *line]
                    anchor = ("end", "middle", "start")[side + 1]
                    return Label(
                        text=text, x=round(at_x, 1), y=round(at_y + 4, 1), anchor=anchor, leader=end if line else None
                    )
    return None


def _line(start: tuple[float, float], end: tuple[float, float]) -> list[Box]:
    """Return the small boxes that a line from a marker covers."""
    boxes = []
    for step in range(1, _STEPS + 1):
        x, y = (start[axis] + (end[axis] - start[axis]) * step / _STEPS for axis in (0, 1))
        boxes.append((x - 1, y - 1, x + 1, y + 1))
    return [box for box in boxes if _distance(box, start) > _MARKER]


def _crosses(line: Sequence[Box], taken: Sequence[Box], others: Sequence[tuple[float, float]]) -> bool:
    """Return True if a line touches a label or another marker; it may cross whiskers and other lines."""
    texts = [box for box in taken if box[3] - box[1] == _LINE_HEIGHT]
    return any(
        any(_overlap(here, box) for box in texts) or any(_distance(here, other) < _MARKER - 1 for other in others)
        for here in line
    )


def _distance(box: Box, point: tuple[float, float]) -> float:
    """Return the distance of a point from a box; 0 inside it."""
    return hypot(max(box[0] - point[0], point[0] - box[2], 0.0), max(box[1] - point[1], point[1] - box[3], 0.0))


def _inside(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def colours(kind: Kind, names: Iterable[str]) -> dict[str, str]:
    """Return a number in the palette of the style sheet for each method, in order of appearance; controls share one."""
    found = {name: "control" if is_control(kind, name) else "" for name in names}
    methods = [name for name, colour in found.items() if not colour]
    return found | {name: str(number % _PALETTE) for number, name in enumerate(methods)}
