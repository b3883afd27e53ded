"""The attacks of a run as the page shows them: what each attack gets back, in tables and as curves over its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from unsee.scoring.intervals import Estimate
from unsee.scoring.schema import AttackResult, Scores

PANEL = (230, 170)
_LEFT, _RIGHT, _TOP, _BOTTOM = 30.0, 10.0, 24.0, 26.0

Model = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class WayView:
    """One way of attacking.

    Attributes:
        name: variant and number of steps.
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
        title: the variant.
        ticks: place and text of each number of steps.
        heights: place and text on the other axis.
    """

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
        ways: all ways.
        panels: curves, if the attack trains.
    """

    name: str
    worst: dict[Model, Estimate | None]
    ways: list[WayView]
    panels: list[Panel]


def attack_views(scores: Scores) -> list[AttackView]:
    """Return the attacks in the order of the run."""
    views = []
    for name in dict.fromkeys(result.attack for result in scores.attacks):
        own = [result for result in scores.attacks if result.attack == name]
        ways = [
            WayView(
                name=f"{variant}, {budget} step{'s' if budget > 1 else ''}" if budget else variant,
                signal=here[0].signal,
                results={(result.method, result.modality): result for result in here},
            )
            for (variant, budget), here in _grouped(own).items()
        ]
        models = dict.fromkeys((result.method, result.modality) for result in own)
        worst = {
            model: _worst([way.results[model] for way in ways if way.signal and model in way.results])
            for model in models
        }
        views.append(AttackView(name=name, worst=worst, ways=ways, panels=_panels(own)))
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
        own = [result for result in results if result.variant == variant and result.signal and result.recovered]
        budgets = sorted({result.budget for result in own})
        if len(budgets) < 2:
            continue
        last = log2(budgets[-1])

        def place(budget: int, last: float = last) -> float:
            return round(_LEFT + log2(budget) / last * (PANEL[0] - _LEFT - _RIGHT), 1)

        curves = []
        for model in dict.fromkeys((result.method, result.modality) for result in own):
            points = [
                (place(result.budget), _height(result.recovered.value))
                for result in own
                if (result.method, result.modality) == model and result.recovered
            ]
            path = "M" + "L".join(f"{x} {y}" for x, y in points)
            curves.append(Curve(model=model, path=path, ends=points[-1]))
        panels.append(
            Panel(
                title=variant, curves=curves, ticks=[(place(budget), str(budget)) for budget in budgets],
                heights=[(_height(share), f"{share:g}") for share in (0.0, 0.5, 1.0)],
            )
        )  # fmt: skip
    return panels


def _height(share: float) -> float:
    return round(PANEL[1] - _BOTTOM - share * (PANEL[1] - _TOP - _BOTTOM), 1)
