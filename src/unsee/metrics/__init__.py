"""Scores of one answer, one metric per file.

How to add one: write `metrics/<name>.py` with one frozen dataclass under `@METRICS.register("<name>", paper="...")`, or
register it in a distribution of your own under the entry-point group `unsee.metrics`. `base.py` describes the class.
A metric is a pure function of one example; `unsee.scoring` computes means and intervals. The first line of its
docstring is its line in `unsee list metrics`. Its fields are its options: a field with the name of a key of
`[evaluation]` takes that key's value; any other is set by the table `[metric.<name>]` of a recipe. Nothing else needs
an edit: the values are a column of answers.parquet, the means are cells of scores.json, and the report shows them.
"""

from __future__ import annotations

from unsee.core.registry import Registry

METRICS = Registry("metric", package="unsee.metrics", group="unsee.metrics")

__all__ = ["METRICS"]
