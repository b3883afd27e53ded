"""Attacks on an unlearned model, one per file: is the knowledge gone, or only hidden?

How to add one: write `attacks/<name>.py` with one frozen dataclass under `@ATTACKS.register("<name>", paper="...")`, or
register it in a distribution of your own under the entry-point group `unsee.attacks`. `base.py` has one class for each
kind of attack. Its fields are its options, typed and range-checked where they are declared; the first line of its
docstring is its line in `unsee list attacks`. Every attack is run on the target, on both oracles and on every method,
with the same questions, budget and seed, and `unsee.scoring.attacks` reads the results against each other.
"""

from __future__ import annotations

from unsee.core.registry import Registry

ATTACKS = Registry("attack", package="unsee.attacks", group="unsee.attacks")

__all__ = ["ATTACKS"]
