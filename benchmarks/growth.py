"""A drawing of the growth of an evaluation's cost with people, questions, image tokens and model size.

Image tokens are measured under both protocols. Under the published one, every question comes with the photos of its
shots, so the number of image tokens makes most of the difference between the two sides.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from benchmarks.material import Material
from benchmarks.measure import measure
from benchmarks.works import SideName, works
from unsee.data.people.builder import build

PEOPLE, QUESTIONS, IMAGE_PIXELS, WIDTHS = (3, 6, 12), (4, 8, 16), (32, 64, 128), (96, 192, 384)
FEW, USUAL = 3, 8
SHOWN, STAYING = 40, 6  # 40 people, 6 of them forgotten and 6 retained; one or two of each six are shots for the others
PATCH = 8
NEW_TOKENS = 8
PANEL, MARGIN, GAP = 180.0, 46.0, 30.0
SIDES: tuple[SideName, ...] = ("published", "ours")
COLOURS = {"published": "#b4451f", "ours": "#1f5fb4"}


@dataclass(frozen=True)
class Point:
    """Cost of both sides at one size on one axis."""

    axis: str
    size: int
    published_seconds: float
    ours_seconds: float
    ratio: float | None = None


def grow() -> Iterator[Point]:
    """Measure both sides once at every size of every axis. Models of other sizes than nano have random weights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for axis, size, work, material in _sizes(folder):
            published, ours = (measure(work, side, material) for side in SIDES)
            same = works()[work].same(published.answers, ours.answers)
            ratio = round(published.seconds / ours.seconds, 2) if same else None
            yield Point(axis, size, published.seconds, ours.seconds, ratio)


def _sizes(folder: Path) -> Iterator[tuple[str, int, str, Material]]:
    for people in PEOPLE:
        yield "people", people, "evaluate-clean", _of(folder, people)
    few = _of(folder, FEW)
    for questions in QUESTIONS:
        yield "questions a person", questions, "evaluate-clean", replace(few, questions=questions)
    short = replace(few, max_new_tokens=NEW_TOKENS)
    shown = replace(_of(folder, SHOWN), retain=STAYING, max_new_tokens=NEW_TOKENS)
    for pixels in IMAGE_PIXELS:
        model, tokens = str(save_model(folder / f"pixels-{pixels}", pixels=pixels)), (pixels // PATCH) ** 2
        yield "image tokens", tokens, "evaluate-clean", replace(short, model=model)
        yield "image tokens, published protocol", tokens, "evaluate-published", replace(shown, model=model)
    for width in WIDTHS:
        model = str(save_model(folder / f"width-{width}", width=width))
        yield "width of the decoder", width, "evaluate-clean", replace(short, model=model)


def _of(folder: Path, people: int) -> Material:
    data = folder / f"{people}"
    if not data.exists():
        build(data, people=people, celebrities=1, percents=(15,))
    return Material("nano", data, retain=people, celebrities=1, questions=USUAL)


def save_model(folder: Path, *, pixels: int = 64, width: int = 192) -> Path:
    """Write a model like nano of another size, with random weights, and return its folder."""
    from transformers import CLIPVisionModel

    from unsee.models.vlm import VLM
    from unsee.nano.language import make_llava

    nano = VLM.load("nano", dtype="float32")
    settings = nano.model.config.vision_config
    settings.image_size = pixels
    model = make_llava(CLIPVisionModel(settings), nano.processor.tokenizer, width=width)
    model.config.image_seq_length = (pixels // PATCH) ** 2
    images = nano.processor.image_processor
    images.size, images.crop_size = {"shortest_edge": pixels}, {"height": pixels, "width": pixels}
    VLM(model, nano.processor, "grown").save(folder)
    return folder


def draw(points: Sequence[Point]) -> str:
    """Draw an SVG with one panel for each axis of `points`. Both axes of a panel are logarithmic."""
    axes = list(dict.fromkeys(point.axis for point in points))
    width = MARGIN + len(axes) * (PANEL + MARGIN + GAP)
    panels = [_panel(axis, [p for p in points if p.axis == axis], i) for i, axis in enumerate(axes)]
    legend = "".join(
        f'<text x="{MARGIN + 130 * i:.0f}" y="14" fill="{colour}">{side}, seconds</text>'
        for i, (side, colour) in enumerate(COLOURS.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {PANEL + 80:.0f}" '
        f'font-family="sans-serif" font-size="11">{legend}{"".join(panels)}</svg>\n'
    )


def _panel(axis: str, points: Sequence[Point], index: int) -> str:
    left, top = MARGIN + index * (PANEL + MARGIN + GAP), 30.0
    values = [value for point in points for value in (point.published_seconds, point.ours_seconds)]
    low, high = min(values) / 1.2, max(values) * 1.2
    sizes = [point.size for point in points]

    def place(size: float, seconds: float) -> tuple[float, float]:
        across = math.log(size / sizes[0]) / max(1e-9, math.log(sizes[-1] / sizes[0]))
        return left + across * PANEL, top + PANEL * (1 - math.log(seconds / low) / math.log(high / low))

    parts = [f'<rect x="{left}" y="{top}" width="{PANEL}" height="{PANEL}" fill="none" stroke="#bbb"/>']
    for side, colour in COLOURS.items():
        at = [place(point.size, getattr(point, f"{side}_seconds")) for point in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), point in zip(at, points, strict=True):
            value = getattr(point, f"{side}_seconds")
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            parts.append(f'<text x="{x:.1f}" y="{y - 6:.1f}" text-anchor="middle" fill="{colour}">{value:.2g}</text>')
    for size in sizes:
        x, _ = place(size, high)
        parts.append(f'<text x="{x:.1f}" y="{top + PANEL + 14:.1f}" text-anchor="middle">{size}</text>')
    title_x = left + PANEL / 2
    parts.append(f'<text x="{title_x:.1f}" y="{top + PANEL + 30:.1f}" text-anchor="middle">{escape(axis)}</text>')
    return "".join(parts)
