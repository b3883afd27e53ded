"""Judges of factuality, one per file: each scores how true an answer is, from 1 to 10.

How to add one: write `judge/<name>.py` with one frozen dataclass that inherits from `Judge` (`base.py`) under
`@JUDGES.register("<name>")`. Its fields are its options. Nothing else needs an edit:
`unsee judge RUN --judge <name> --set option=value` uses it, and the run's report shows its verdicts.
"""

from __future__ import annotations

from unsee.core.registry import Registry

JUDGES = Registry("judge", package="unsee.judge", group="unsee.judges")

__all__ = ["JUDGES"]
