"""Refusal and leak rates for runs about people, defined as in runs about documents.

Refusals are recognised by the first words of free answers. Leaks are counted for blanks only, because their truth is
the value alone; a sentence that states it in other words would be missed.
"""

from __future__ import annotations

import math

import pandas as pd

from unsee.refusals.base import opens_with_refusal
from unsee.scoring.disclosure import discloses
from unsee.scoring.intervals import Bootstrap, Draws

_FREE = ("generation", "cloze")


def refused_and_leaked(bootstrap: Bootstrap, rows: pd.DataFrame) -> tuple[Draws | None, Draws | None]:
    """Return two shares on the forget set: free questions that are refused, and blanks that leak the value.

    Args:
        bootstrap: resamples of people.
        rows: rows of one model in `bootstrap.answers`.
    """
    asked = rows[(rows["set"] == "forget") & rows["task"].isin(_FREE)]
    asked = asked.assign(
        refused=[float(opens_with_refusal(answer)) for answer in asked["answer"]],
        leaked=[
            float(discloses(answer, truth)) if task == "cloze" and any(map(str.isalnum, truth)) else math.nan
            for task, answer, truth in zip(asked["task"], asked["answer"], asked["truth"], strict=True)
        ],
    )
    return tuple(  # type: ignore[return-value]
        next(iter(bootstrap.means(asked, column, ["set"]).values()), None) for column in ("refused", "leaked")
    )
