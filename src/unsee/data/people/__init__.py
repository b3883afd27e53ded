"""Datasets about people: invented ones, a user's own, and MLLMU-Bench, read into the four sets of one forget ratio.

How to add a dataset: write `data/people/<name>.py` with one subclass of `Dataset` (`base.py`) under
`@DATASETS.register("<name>")`. Its `load` reads a folder into a `Benchmark`. Nothing else needs an edit:
`unsee run --set data.format=<name> --set data.source=DIR` and `unsee eval --format <name> --data DIR` use it.
"""

from __future__ import annotations

from unsee.core.registry import Registry

DATASETS = Registry("dataset", package="unsee.data.people", group="unsee.datasets")

__all__ = ["DATASETS"]
