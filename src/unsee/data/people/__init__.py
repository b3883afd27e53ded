"""Datasets about people: invented ones, a user's own, and published ones, read into the four sets of one forget ratio.

How to add a dataset: write `data/people/<name>.py` with one subclass of `Dataset` (`base.py`) under
`@DATASETS.register("<name>")`. Its `load` reads a folder into a `Benchmark`. Its fields are its
options (`data.options`); its `recognises` tells its files from those of other formats. Nothing else needs an edit:
`unsee run --set data.source=DIR` and `unsee eval --data DIR` use it, or choose it with `data.format` and `--format`.
"""

from __future__ import annotations

from unsee.core.registry import Registry

DATASETS = Registry("dataset", package="unsee.data.people", group="unsee.datasets")

__all__ = ["DATASETS"]
