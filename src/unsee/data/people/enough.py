"""The number of people to forget, and how many people a run needs to rank methods."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from unsee.core.errors import DataError
from unsee.core.record import MIN_UNITS
from unsee.data.people.layout import PERCENTS, num_forgotten


def check_enough(forgotten: int, percent: int) -> None:
    """Refuse a run that would find no signal for want of people to forget.

    Args:
        forgotten: number of people to forget.
        percent: the forget share, in per cent.

    Raises:
        DataError: there are fewer than `MIN_UNITS`.
    """
    if forgotten < MIN_UNITS:
        raise DataError(f"data: {_too_few(forgotten, percent)}; use more people or a larger data.forget_percent")


def warnings(people: int, percents: Sequence[int] = PERCENTS) -> list[str]:
    """Return a sentence for each forget share at which a benchmark has too few people; one if all are too small."""
    small = [percent for percent in percents if num_forgotten(people, percent) < MIN_UNITS]
    told = small if len(small) < len(percents) else [max(small)]
    return [f"{_too_few(num_forgotten(people, percent), percent).capitalize()}." for percent in told]


def _too_few(forgotten: int, percent: int) -> str:
    needed = next(people for people in itertools.count(1) if num_forgotten(people, percent) >= MIN_UNITS)
    return (
        f"too few people to rank methods at {percent} %: {forgotten} would be forgotten, {MIN_UNITS} are needed "
        f"({needed} people)"
    )
