"""Scores of one answer, one metric per file.

How to add one: write `metrics/<name>.py` with one function or frozen dataclass under `@METRICS.register("<name>")`. A
metric is a pure function of one example; means and intervals are made in one other place. Its first docstring line is
its line in `unsee list metrics` and says which way is better. Its fields, if any, are keys of `[evaluation]`. What is
to be kept has its column in `record.ANSWER_COLUMNS`, what is to be reported its name in `report.scores.METRICS`.
"""

from __future__ import annotations

from unsee.core.registry import Registry

METRICS = Registry("metric", package="unsee.metrics", group="unsee.metrics")

__all__ = ["METRICS"]
