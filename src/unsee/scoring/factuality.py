"""Mean factuality of every model by set and input, from judged answers, with intervals over people."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import Field

from unsee.scoring.intervals import Bootstrap, estimate
from unsee.scoring.record_file import RecordFile, Strict

FACTUALITY_FILE = "judge.json"

_CELL = ["method", "modality", "seed", "set", "input"]


class FactualityCell(Strict):
    """The mean score of one model in one set and input, 1 to 10, without the `invalid` answers that got no score."""

    method: str
    modality: str
    seed: int
    set: str
    input: str
    value: float
    low: float
    high: float
    n_units: int
    n_items: int
    invalid: float


class Factuality(RecordFile):
    """The content of judge.json.

    Attributes:
        judge: the names of the judge and of its rubric.
        cases: number of different answers judged; equal answers of several models count once.
        invalid: number of cases without a score.
    """

    version: Literal["unsee.judge/2"] = Field(default="unsee.judge/2", alias="schema")
    judge: str
    cases: int
    invalid: int
    cells: list[FactualityCell]


def factuality_cells(judged: pd.DataFrame, num_resamples: int = 1000, seed: int = 0) -> list[FactualityCell]:
    """Return the means of all cells with at least one score.

    Args:
        judged: sentences with `set`, `unit`, the columns of a cell, and `score` (NaN if there is none).
        num_resamples: resamples of the bootstrap over people.
        seed: of the bootstrap.
    """
    bootstrap = Bootstrap(judged, num_resamples, seed)
    counts = judged.groupby(_CELL).agg(
        n_units=("unit", "nunique"), n_items=("item", "size"), invalid=("score", lambda score: score.isna().mean())
    )
    cells = []
    for key, draws in bootstrap.means(bootstrap.answers, "score", by=_CELL).items():
        if (mean := estimate(draws)) is not None:
            count = counts.loc[key]
            cells.append(
                FactualityCell.model_validate(
                    dict(zip(_CELL, key, strict=True))
                    | mean.model_dump()
                    | {"n_units": int(count["n_units"]), "n_items": int(count["n_items"])}
                    | {"invalid": float(count["invalid"])}
                )
            )
    return cells
