"""Utility benchmarks: a model's general abilities, one published benchmark per file.

How to add one: write `utility/<name>.py` with one frozen dataclass that inherits from `UtilityBenchmark` (`base.py`)
under `@UTILITY.register("<name>", paper="...")`. It reads the benchmark's own files into items, reads a model's answers
as published, and computes the published metrics. Nothing else needs an edit:
`unsee utility MODEL --benchmark <name>` uses it.
"""

from __future__ import annotations

from unsee.core.registry import Registry

UTILITY = Registry("utility benchmark", package="unsee.utility", group="unsee.utility")

__all__ = ["UTILITY"]
