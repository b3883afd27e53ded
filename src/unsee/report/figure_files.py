"""The trade-off plot as a vector graphic for a paper: SVG or PDF (extra `unsee[figures]`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reportlab.graphics import renderPDF, renderSVG
from reportlab.graphics.shapes import Circle, Drawing, Group, Line, Polygon, Rect, String
from reportlab.lib.colors import Color, HexColor

from unsee.core.files import write
from unsee.report.figures import Mark, Plot

_COLOURS = ("1f64ad", "bf5412", "12796b", "7a4bab", "b42e69", "77700c", "7d4a2b", "46586e")
"""The palette of report.css on white."""
_CONTROL, _LINE, _MUTED, _INK, _PAPER = "6d7178", "e3e0d9", "62666d", "1b1d21", "ffffff"
_FONT, _SIZE = "Helvetica", 11.5


def write_figure(plot: Plot, out: Path, x_axis: str, y_axis: str) -> None:
    """Write a plot as a vector graphic.

    Args:
        plot: with at least one mark.
        out: the file; .svg or .pdf.
        x_axis: what grows to the right.
        y_axis: what grows upwards.

    Raises:
        RecordError: the file cannot be written.
    """
    drawing = _drawn(plot, x_axis, y_axis)
    content = renderSVG.drawToString(drawing) if out.suffix == ".svg" else renderPDF.drawToString(drawing, autoSize=1)
    write(out, content)


def _drawn(plot: Plot, x_axis: str, y_axis: str) -> Drawing:
    sheet = _Sheet(Drawing(plot.width, plot.height), plot.height)
    for x, text in plot.x_ticks:
        sheet.line(x, plot.top, x, plot.bottom, _LINE)
        sheet.text(x, plot.bottom + 18, text, "middle", _MUTED)
    for y, text in plot.y_ticks:
        sheet.line(plot.left, y, plot.right, y, _LINE)
        sheet.text(plot.left - 8, y + 4, text, "end", _MUTED)
    sheet.text(plot.right, plot.height - 6, x_axis, "end", _MUTED)
    upwards = Group(_string(0, 0, y_axis, "end", _MUTED))
    upwards.translate(12, plot.height - plot.top)
    upwards.rotate(90)
    sheet.drawing.add(upwards)
    for mark in reversed(plot.marks):
        _mark(sheet, mark)
    return sheet.drawing


def _mark(sheet: _Sheet, mark: Mark) -> None:
    """Draw one model: its interval in both directions, its marker and its label."""
    colour = _CONTROL if mark.dot.colour == "control" else _COLOURS[int(mark.dot.colour)]
    sheet.line(mark.x_low, mark.y, mark.x_high, mark.y, colour, 0.45)
    sheet.line(mark.x, mark.y_low, mark.x, mark.y_high, colour, 0.45)
    if mark.label:
        if mark.label.leader:
            sheet.line(mark.x, mark.y, *mark.label.leader, _MUTED)
        sheet.text(mark.label.x, mark.label.y, mark.label.text, mark.label.anchor, _INK)
    sheet.marker(mark.x, mark.y, mark.dot.shape, colour, hollow=mark.dot.faint)


class _Sheet:
    """A drawing whose y axis points down, as that of a page does."""

    def __init__(self, drawing: Drawing, height: float) -> None:
        self.drawing = drawing
        self._height = height

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str, opacity: float = 1.0) -> None:
        stroke = _colour(colour, opacity)
        self.drawing.add(Line(x1, self._height - y1, x2, self._height - y2, strokeColor=stroke, strokeWidth=1))

    def text(self, x: float, y: float, text: str, anchor: str, colour: str) -> None:
        self.drawing.add(_string(x, self._height - y, text, anchor, colour))

    def marker(self, x: float, y: float, shape: str, colour: str, *, hollow: bool) -> None:
        y = self._height - y
        inside, edge = (_PAPER, colour) if hollow else (colour, _PAPER)
        look: dict[str, Any] = {"fillColor": _colour(inside), "strokeColor": _colour(edge), "strokeWidth": 1.25}
        if shape == "square":
            self.drawing.add(Rect(x - 5, y - 5, 10, 10, **look))
        elif shape == "triangle":
            self.drawing.add(Polygon([x, y + 6.4, x + 6, y - 5, x - 6, y - 5], **look))
        elif shape == "diamond":
            self.drawing.add(Polygon([x, y + 6.4, x + 6.4, y, x, y - 6.4, x - 6.4, y], **look))
        else:
            self.drawing.add(Circle(x, y, 5.4, **look))


def _string(x: float, y: float, text: str, anchor: str, colour: str) -> String:
    return String(x, y, text, fontName=_FONT, fontSize=_SIZE, fillColor=_colour(colour), textAnchor=anchor)


def _colour(code: str, opacity: float = 1.0) -> Color:
    colour = HexColor(f"#{code}")
    colour.alpha = opacity
    return colour
