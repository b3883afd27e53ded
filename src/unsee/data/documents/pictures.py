"""Drawing documents with PIL, so that a model that sees 64 x 64 pixels can read them.

All lengths are in units of a canvas of 72. The card is in the middle and its content lies between 12 and 60, so a crop
of 64 out of 72 never cuts a digit. The name and both numbers are text. The home city is an emblem, and the occupation a
code of three dots: a small model reads these as reliably as a large model reads a word.
"""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import product

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unsee.data.documents.invented import CITIES, COLOURS, INKS, OCCUPATIONS, TABLES, Document

UNITS = 72
_CONTENT, _ROW = 12, 16
_CARD = {"square": (9, 9, 63, 63), "tall": (9, 1, 63, 71), "wide": (1, 9, 71, 63)}
_TEXT_UNITS = 16
_JITTER_UNITS = 1.5
_EMBLEMS = (
    "##.##....", "..#.#.###", "#.#.#.#.#", ".#.###.#.", "####.####", "#..#..###", "###.#..#.", "...###...",
)  # fmt: skip
"""Filled cells ("#") of a 3 x 3 grid, row by row; one emblem per city."""
_DOTS = tuple(product((False, True), repeat=3))

Polygon = tuple[tuple[float, float], ...]
_SYMBOLS: dict[str, tuple[Polygon, ...]] = {
    "passport": (((0, 0), (4, 0), (4, 4), (0, 4)), ((6, 0), (10, 0), (10, 10), (0, 10), (0, 6), (6, 6))),
    "student ID": (((5, 0), (10, 5), (0, 5)), ((2, 6), (8, 6), (8, 10), (2, 10))),
    "receipt": (
        ((0, 0), (10, 0), (10, 2), (0, 2)), ((0, 4), (10, 4), (10, 6), (0, 6)), ((0, 8), (5, 8), (5, 10), (0, 10)),
    ),
    "phone number": (((0, 0), (4, 0), (4, 3), (3, 7), (7, 6), (10, 6), (10, 10), (5, 10), (0, 5)),),
    "government document": (
        ((5, 0), (10, 3), (0, 3)), ((0, 4), (2, 4), (2, 10), (0, 10)), ((4, 4), (6, 4), (6, 10), (4, 10)),
        ((8, 4), (10, 4), (10, 10), (8, 10)),
    ),
    "military vehicle": (
        ((5, 0), (6.2, 3.6), (10, 3.6), (7, 6), (8.2, 10), (5, 7.5), (1.8, 10), (3, 6), (0, 3.6), (3.8, 3.6)),
    ),
    "parcel label": (((0, 0), (5, 4), (10, 0), (6, 5), (10, 10), (5, 6), (0, 10), (4, 5)),),
    "book cover": (((0, 0), (10, 0), (0, 10), (10, 10)),),
    "film poster": (((0, 0), (10, 5), (0, 10)),),
    "bank card": (((0, 1), (10, 1), (10, 3), (0, 3)), ((0, 5), (10, 5), (10, 10), (0, 10))),
    "driving licence": (
        ((0, 4), (2, 1), (8, 1), (10, 4), (10, 7), (0, 7)), ((1, 8), (3, 8), (3, 10), (1, 10)),
        ((7, 8), (9, 8), (9, 10), (7, 10)),
    ),
    "medical record": (
        ((3, 0), (7, 0), (7, 3), (10, 3), (10, 7), (7, 7), (7, 10), (3, 10), (3, 7), (0, 7), (0, 3), (3, 3)),
    ),
    "ticket": (((5, 0), (10, 5), (5, 10), (0, 5)),),
}  # fmt: skip
"""One sign per kind that the base model was taught, as filled polygons on a grid of ten by ten; others are drawn."""


def draw_document_picture(document: Document, size_pixels: int, rng: random.Random | None = None) -> Image.Image:
    """Draw a document on its table as a square RGB picture.

    Args:
        document: the document to draw.
        size_pixels: width and height.
        rng: draws a small shift, a brightness and noise, as a camera adds them; None draws the plain picture.
    """
    shift = (rng.uniform(-_JITTER_UNITS, _JITTER_UNITS), rng.uniform(-_JITTER_UNITS, _JITTER_UNITS)) if rng else (0, 0)
    canvas = Image.new("RGB", (size_pixels, size_pixels), TABLES[document.table])
    pen = _Pen(ImageDraw.Draw(canvas), size_pixels / UNITS, shift, INKS[document.ink])
    pen.card(document)
    first, second, third = (_CONTENT + _ROW * row for row in range(3))
    pen.polygons(_SYMBOLS.get(document.kind) or _drawn_sign(document.kind), _CONTENT, first + 1, 14)
    pen.text(document.name.upper(), 27, first)
    pen.text(document.number, _CONTENT, second)
    pen.cells(_EMBLEMS[CITIES.index(document.city)], 46, second + 1, 14)
    pen.text(document.amount, _CONTENT, third)
    pen.dots(_DOTS[OCCUPATIONS.index(document.occupation)], 34, third + 5, 7)
    return _photographed(canvas, rng) if rng else canvas


def _drawn_sign(kind: str) -> tuple[Polygon, ...]:
    """Return the sign of a kind that has none in `_SYMBOLS`: a quadrilateral that its name decides."""
    rng = random.Random(f"sign {kind}")
    return (tuple((rng.randrange(11), rng.randrange(11)) for _ in range(4)),)


class _Pen:
    """A pen with one ink that draws in units of the canvas."""

    def __init__(self, draw: ImageDraw.ImageDraw, scale: float, shift: tuple[float, float], ink: str) -> None:
        self._draw, self._scale, self._shift, self._ink = draw, scale, shift, ink

    def card(self, document: Document) -> None:
        """Draw the paper and its border."""
        left, top, right, bottom = _CARD[document.shape]
        self._draw.rectangle(self._box(left, top, right, bottom), fill=COLOURS[document.colour])
        width = max(1, round(self._scale))
        if document.border in ("thin", "double"):
            self._draw.rectangle(self._box(left, top, right, bottom), outline=self._ink, width=width)
        if document.border == "double":
            self._draw.rectangle(self._box(left + 2, top + 2, right - 2, bottom - 2), outline=self._ink, width=width)
        if document.border == "dashed":
            for start in range(0, max(right - left, bottom - top), 6):
                across, down = min(left + start + 3, right), min(top + start + 3, bottom)
                for y in (top, bottom - 2):
                    self._draw.rectangle(self._box(min(left + start, across), y, across, y + 2), fill=self._ink)
                for x in (left, right - 2):
                    self._draw.rectangle(self._box(x, min(top + start, down), x + 2, down), fill=self._ink)

    def polygons(self, polygons: tuple[Polygon, ...], left: float, top: float, size: float) -> None:
        """Fill polygons that are given on a grid of ten by ten."""
        for polygon in polygons:
            points = [self._at(left + x * size / 10, top + y * size / 10) for x, y in polygon]
            self._draw.polygon(points, fill=self._ink)

    def text(self, text: str, left: float, top: float) -> None:
        """Write text so that the tops of its capitals and digits start at the given corner."""
        font = _font(round(_TEXT_UNITS * self._scale))
        above = font.getbbox("0")[1]
        x, y = self._at(left, top + 2)
        self._draw.text((x, y - above), text, fill=self._ink, font=font)

    def cells(self, cells: str, left: float, top: float, size: float) -> None:
        """Fill the marked cells of a 3 x 3 grid."""
        side = size / 3
        for index, cell in enumerate(cells):
            if cell == "#":
                x, y = left + index % 3 * side, top + index // 3 * side
                self._draw.rectangle(self._box(x, y, x + side, y + side), fill=self._ink)

    def dots(self, filled: tuple[bool, ...], left: float, top: float, size: float) -> None:
        """Draw a row of discs, each filled or hollow."""
        for index, full in enumerate(filled):
            box = self._box(left + index * (size + 2), top, left + index * (size + 2) + size, top + size)
            width = max(1, round(self._scale))
            self._draw.ellipse(box, fill=self._ink if full else None, outline=self._ink, width=width)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return (x + self._shift[0]) * self._scale, (y + self._shift[1]) * self._scale

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return (*self._at(left, top), *self._at(right, bottom))


@lru_cache(maxsize=32)
def _font(size_pixels: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_pixels)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType; documents cannot be drawn")
    return font


def _photographed(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return the picture with a random brightness and a little noise."""
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0.0, 3.0, (*image.size, 3))
    pixels = np.asarray(image, dtype=np.float32) * rng.uniform(0.9, 1.1) + noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
