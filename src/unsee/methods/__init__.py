"""Unlearning methods, one published method per file.

How to add one: write `methods/<name>.py` with one frozen dataclass under `@METHODS.register("<name>", paper="...")`.
Its fields are its options, typed, defaulted to the paper's values and range-checked where they are declared; its first
docstring line is its line in `unsee list methods`. Nothing else needs an edit: recipes, the command line, the contract
tests and the report find it by its name. `base.py` says what a method must provide.
"""

from __future__ import annotations

from unsee.core.registry import Registry

METHODS = Registry("method", package="unsee.methods", group="unsee.methods")

__all__ = ["METHODS"]
