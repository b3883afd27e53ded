"""Refusal and leak rates for runs about people, defined as in runs about documents.

Refusals are read off the first words of free answers. Leaks are counted for blanks only, where the value alone is the
truth; a sentence that tells it in other words would not be recognised.
"""

from __future__ import annotations

import math

import pandas as pd

from unsee.refusals.base import opens_with_refusal
from unsee.scoring.disclosure import discloses
from unsee.scoring.intervals import Bootstrap, Estimate, estimate

_FREE = ("generation", "cloze")


def refused_and_leaked(bootstrap: Bootstrap, rows: pd.DataFrame) -> tuple[Estimate | None, Estimate | None]:
    """Return the share of free questions about the people to forget that is refused, and of blanks that leak a value.

    Args:
        bootstrap: over people.
        rows: of one model, rows of `bootstrap.answers`.
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
        next((estimate(draws) for draws in bootstrap.means(asked, column, ["set"]).values()), None)
        for column in ("refused", "leaked")
    )
