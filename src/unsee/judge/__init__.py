"""Judges of factuality, one per file: how true is an answer, 1 to 10.

How to add one: write `judge/<name>.py` with one frozen dataclass under `@JUDGES.register("<name>")`; its fields are its
settings. `base.py` says what a judge must provide. Nothing else needs an edit.
"""

from __future__ import annotations

from unsee.core.registry import Registry

JUDGES = Registry("judge", package="unsee.judge", group="unsee.judges")

__all__ = ["JUDGES"]
