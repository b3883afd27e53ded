"""What the models of an audit answer about people to keep and about nobody: a broken model gives no value either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from unsee.core.record import GENERAL_SET
from unsee.scoring.collapse import lexicon, why_collapsed
from unsee.scoring.findings import BEFORE, ModelFound
from unsee.scoring.intervals import Bootstrap
from unsee.scoring.values_given import share_given

_HALF = 0.5  # of a value; it counts as given from here on


def models_found(answers: pd.DataFrame, values: Mapping[str, Sequence[str]], resamples: int) -> list[ModelFound]:
    """Return what each model answers besides the rows to forget.

    Args:
        answers: all plain answers of all models, told apart by `method`.
        values: the words of the value of each row, by side and row ("retain/006-0002").
        resamples: number of resamples for the signs of collapse.
    """
    known = lexicon(answers.assign(method=answers["method"].replace(BEFORE, "target")))
    bootstrap = Bootstrap(answers[answers["set"].isin(["retain", GENERAL_SET])], resamples)
    start = bootstrap.answers[bootstrap.answers["method"] == BEFORE]
    was_broken = why_collapsed(start, start, known, bootstrap)
    found = []
    for model, rows in bootstrap.answers.groupby("method", sort=False):
        keep, general = rows[rows["set"] == "retain"], rows[rows["set"] == GENERAL_SET]
        given = [
            share_given(answer, values["/".join(item.split("/")[:2])]) >= _HALF
            for answer, item in zip(keep["answer"], keep["item"], strict=True)
        ]
        found.append(
            ModelFound(
                model=str(model), kept=sum(given) / len(given) if given else None,
                general=float(general["accuracy"].mean()),
                collapsed=None if was_broken else why_collapsed(rows, start, known, bootstrap),
            )
        )  # fmt: skip
    return found
