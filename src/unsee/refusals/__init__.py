"""Judges of refusal, one per file: each decides if a reply declines to answer. The report shows all of them.

How to add one: write `refusals/<name>.py` with one frozen dataclass that inherits from `RefusalJudge` (`base.py`) under
`@REFUSALS.register("<name>")`. Nothing else needs an edit: every run about documents and `unsee privacy eval` ask it.
Give every field a default, because a recipe has no options for these judges. The one exception is `classifier`, whose
folder is `privacy.classifier`.
"""

from __future__ import annotations

from unsee.core.registry import Registry

REFUSALS = Registry("refusal judge", package="unsee.refusals", group="unsee.refusals")

__all__ = ["REFUSALS"]
