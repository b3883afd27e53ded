"""Judges of refusal: whether a reply declines to answer, one judge per file, all reported side by side.

How to add one: write `refusals/<name>.py` with one frozen dataclass under `@REFUSALS.register("<name>")` that has
`refused` (see `base.py`). A judge whose fields all have defaults is always asked. Nothing else needs an edit.
"""

from __future__ import annotations

from unsee.core.registry import Registry

REFUSALS = Registry("refusal judge", package="unsee.refusals", group="unsee.refusals")

__all__ = ["REFUSALS"]
