"""Judges of refusal, one per file: each decides whether a reply declines to answer; all are reported side by side.

How to add one: write `refusals/<name>.py` with one frozen dataclass that inherits from `RefusalJudge` (`base.py`) under
`@REFUSALS.register("<name>")`. Nothing else needs an edit: a judge whose fields all have defaults decides about every
run about documents and in `unsee privacy eval`. One that lacks a default (`classifier`) is left out of those that name
no value for it.
"""

from __future__ import annotations

from unsee.core.registry import Registry

REFUSALS = Registry("refusal judge", package="unsee.refusals", group="unsee.refusals")

__all__ = ["REFUSALS"]
