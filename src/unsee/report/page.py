"""What all pages share: templates, names as a reader would write them, and what each model took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from unsee.scoring.table import rounded, written

_READABLE = {
    "npo": "NPO", "oracle_2": "second oracle", "kl_minimisation": "KL minimisation", "ft_l": "FT-L", "rome": "ROME",
    "memit": "MEMIT", "alphaedit": "AlphaEdit", "dinm": "DINM", "sku": "SKU", "memflex": "MemFlex",
}  # fmt: skip
_GIBIBYTE = 2**30


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What one model of a run took; None where it took nothing, or where it was not measured.

    `training_seconds` is what its training or edit took when it was made, in this run or an earlier one.
    """

    model: str
    trainable_parameters: int | None
    training_seconds: float | None
    peak_gibibytes: float | None
    evaluation_seconds: float | None


def render(template: str, **values: object) -> str:
    """One of the templates beside this file, filled in."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"readable": readable, "rounded": rounded, "written": written}
    return environment.get_template(template).render(**values).lstrip()


def readable(name: str) -> str:
    """A registered name as words."""
    return _READABLE.get(name, name.replace("_", " "))


def efforts(events: list[dict[str, Any]]) -> list[Effort]:
    """One row per model of the log; the last word counts, for a resumed run repeats itself."""
    models: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["event"] in ("training", "trained", "edited", "cached", "evaluated"):
            about = "evaluated" if event["event"] == "evaluated" else "made"
            models.setdefault(event["model"], {}).update({f"{about} {key}": event[key] for key in event})
    return [
        Effort(
            model=readable(model),
            trainable_parameters=facts.get("made trainable_parameters"),
            training_seconds=facts.get("made seconds"),
            peak_gibibytes=facts["made peak_bytes"] / _GIBIBYTE if facts.get("made peak_bytes") else None,
            evaluation_seconds=facts.get("evaluated seconds"),
        )
        for model, facts in models.items()
    ]
