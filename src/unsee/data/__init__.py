"""Datasets and their builder: people, portraits, questions, and the four sets.

How to add a dataset: write `data/<name>.py` with one function under `@DATASETS.register("<name>")` that reads a folder
into a `Benchmark` (see `schema.py`). Nothing else needs an edit.
"""

from __future__ import annotations

from unsee.registry import Registry

DATASETS = Registry("dataset", package="unsee.data", group="unsee.datasets")

__all__ = ["DATASETS"]
