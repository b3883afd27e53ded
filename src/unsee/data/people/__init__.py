"""Datasets about people: invented ones, a user's own, and MLLMU-Bench, read into the four sets of one forget ratio.

How to add a dataset: write `data/people/<name>.py` with one function under `@DATASETS.register("<name>")` that reads a
folder into a `Benchmark` (see `data/schema.py`). Nothing else needs an edit.
"""

from __future__ import annotations

from unsee.core.registry import Registry

DATASETS = Registry("dataset", package="unsee.data.people", group="unsee.datasets")

__all__ = ["DATASETS"]
