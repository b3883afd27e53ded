"""The attacks of a run as the page shows them: what each attack gets back, in tables and as curves over its steps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from unsee.scoring.intervals import Estimate
from unsee.scoring.schema import AttackResult, Scores

PANEL = (230, 170)
_LEFT, _RIGHT, _TOP, _BOTTOM = 30.0, 10.0, 24.0, 26.0

Model = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class WayView:
    """One way of attacking.

    Attributes:
        name: the number of steps, or the variant of an attack that trains nothing.
        signal: False if it says nothing.
        results: by model.
    """

    name: str
    signal: bool
    results: dict[Model, AttackResult]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one model gives back after more and more steps of an attack.

    Attributes:
        model: method and modality.
        path: of the line, in pixels.
        ends: the last point.
    """

    model: Model
    path: str
    ends: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The curves of one variant that has signal.

    Attributes:
        size: width and height, pixels.
        title: the variant.
        ticks: place and text of each number of steps, or of requests.
        heights: place and text on the other axis.
    """

    size: ClassVar = PANEL
    title: str
    ticks: list[tuple[float, str]]
    heights: list[tuple[float, str]]
    curves: list[Curve]


@dataclass(frozen=True, kw_only=True)
class AttackView:
    """One attack.

    Attributes:
        name: of the attack.
        worst: the most that any way with signal gets back, by model; None for all if none has signal.
        tables: all ways; those of each training under its variant, all others under "".
        panels: curves, if the attack trains.
    """

    name: str
    worst: dict[Model, Estimate | None]
    tables: dict[str, list[WayView]]
    panels: list[Panel]

    @property
    def signal(self) -> bool:
        """False if no way says anything."""
        return any(way.signal for ways in self.tables.values() for way in ways)


def attack_views(scores: Scores) -> list[AttackView]:
    """Return the attacks in the order of the run."""
    views = []
    for name in dict.fromkeys(result.attack for result in scores.attacks):
        own = [result for result in scores.attacks if result.attack == name]
        tables: dict[str, list[WayView]] = {}
        for (variant, budget), here in _grouped(own).items():
            way = WayView(
                name=f"{budget} step{'s' if budget > 1 else ''}" if budget else variant,
                signal=here[0].signal,
                results={(result.method, result.modality): result for result in here},
            )
            tables.setdefault(variant if budget else "", []).append(way)
        ways = list(itertools.chain.from_iterable(tables.values()))
        models = dict.fromkeys((result.method, result.modality) for result in own)
        worst = {
            model: _worst([way.results[model] for way in ways if way.signal and model in way.results])
            for model in models
        }
        views.append(AttackView(name=name, worst=worst, tables=tables, panels=_panels(own)))
    return views


def _grouped(results: Sequence[AttackResult]) -> dict[tuple[str, int], list[AttackResult]]:
    groups: dict[tuple[str, int], list[AttackResult]] = {}
    for result in results:
        groups.setdefault((result.variant, result.budget), []).append(result)
    return groups


def _worst(results: Sequence[AttackResult]) -> Estimate | None:
    found = [result.recovered for result in results if result.recovered]
    return max(found, key=lambda one: one.value, default=None)


def _panels(results: Sequence[AttackResult]) -> list[Panel]:
    panels = []
    for variant in dict.fromkeys(result.variant for result in results if result.budget):
        own = [result for result in results if result.variant == variant and result.signal]
        lines: dict[Model, dict[str, float]] = {}
        for result in sorted(own, key=lambda one: one.budget):
            if result.recovered:
                line = lines.setdefault((result.method, result.modality), {})
                line[str(result.budget)] = result.recovered.value
        panels += panel(variant, lines)
    return panels


def panel(title: str, lines: Mapping[Model, Mapping[str, float]]) -> list[Panel]:
    """Return curves over evenly spaced places; nothing for fewer than two places.

    Args:
        title: what the curves show.
        lines: the value at each place, by model.
    """
    places = list(dict.fromkeys(place for line in lines.values() for place in line))
    if len(places) < 2:
        return []
    width = (PANEL[0] - _LEFT - _RIGHT) / (len(places) - 1)
    at = {place: round(_LEFT + number * width, 1) for number, place in enumerate(places)}
    curves = []
    for model, line in lines.items():
        points = [(at[place], _height(value)) for place, value in line.items()]
        path = "M" + "L".join(f"{x} {y}" for x, y in points)
        curves.append(Curve(model=model, path=path, ends=points[-1]))
    heights = [(_height(share), f"{share:g}") for share in (0.0, 0.5, 1.0)]
    return [Panel(title=title, curves=curves, ticks=[(x, place) for place, x in at.items()], heights=heights)]


def _height(share: float) -> float:
    return round(PANEL[1] - _BOTTOM - share * (PANEL[1] - _TOP - _BOTTOM), 1)
