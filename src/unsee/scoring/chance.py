"""Whether chance explains the values that a model gives: what strangers get, and an oracle, says how many it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEVEL = 0.01
"""The probability of as many values by chance below which they are recovered; attacks share it between them."""
DOUBT, DOUBT_BESIDE_ORACLE, DOUBTED_SHARE = 0.05, 0.2, 0.5
"""Without an oracle it cannot be told below the first probability, nor from this share of what the model before gives
on, whatever the strangers get; beside an oracle from this share on and below the second probability."""


def is_doubtful(probability: float, is_much: bool, has_oracle: bool) -> bool:
    """Return True if chance is no good explanation, and no excluded one."""
    if has_oracle:
        return is_much and probability < DOUBT_BESIDE_ORACLE
    return is_much or probability < DOUBT


def chance(count: int, strangers: Sequence[int], oracle: int | None = None) -> float:
    """Return the probability that somebody of whom a model knows nothing gets as many rows, or more.

    It is the larger of two: the share of strangers who get as many, and a Poisson number whose mean is that of the
    strangers, with one further row among all of them, as twenty strangers who get nothing do not show that nobody does.
    What an oracle gives is known to be chance, so the mean is at least that. A model that knows the people may tell
    strangers their values too; that makes the number too large, never too small, and an oracle tells them nothing.

    Args:
        count: the number of rows given.
        strangers: how many of the same rows each stranger gets, from the oracle if there is one.
        oracle: the number of rows that the oracle gives; None without one.
    """
    mean = max((sum(strangers) + 1) / max(1, len(strangers)), float(oracle or 0))
    below = sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count))
    as_many = sum(other >= count for other in strangers) / max(1, len(strangers))
    return float(min(1.0, max(as_many, 1 - below, 0.0)))
