"""The cells of a run about people: every metric of every model, by set, task and input, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from unsee.core.errors import RecordError
from unsee.core.record import ANSWER_COLUMNS, metric_columns
from unsee.scoring.in_pairs import paired_cells
from unsee.scoring.intervals import Bootstrap, Draws, estimate, resampled_mean
from unsee.scoring.schema import Cell

HEADLINE = {
    "classification": "accuracy", "generation": "rouge_l", "cloze": "accuracy", "instruction": "accuracy",
    "prose": "probability",
}  # fmt: skip
"""The metric of each task that scores are made of."""
MODEL = ["method", "modality", "seed"]
CELL = ["set", "task", "input"]


def cells(answers: pd.DataFrame, num_resamples: int = 1000, seed: int = 0) -> list[Cell]:
    """Return every metric with a value, for every model and cell; models are not compared.

    Raises:
        RecordError: a column is missing.
    """
    check_columns(answers)
    return cells_of([Bootstrap(answers, num_resamples, seed)])


def headline_metrics(answers: pd.DataFrame) -> list[str]:
    """Return the metrics that scores of these answers are made of; prose, which is seldom asked, needs one more."""
    tasks = [task for task in HEADLINE if task != "prose" or "prose" in set(answers.get("task", ()))]
    return list(dict.fromkeys(HEADLINE[task] for task in tasks))


def check_columns(answers: pd.DataFrame) -> None:
    """Refuse a table that lacks a column.

    Raises:
        RecordError: it does.
    """
    needed = dict.fromkeys((*ANSWER_COLUMNS, *headline_metrics(answers)))
    if missing := [column for column in needed if column not in answers.columns]:
        raise RecordError(f"answers: no column {', '.join(missing)}; expected {', '.join(needed)}")


def cells_of(bootstraps: Sequence[Bootstrap]) -> list[Cell]:
    """Return every metric of every model: the mean over its seeds within each run, then over the runs."""
    answers, by = pd.concat([bootstrap.answers for bootstrap in bootstraps]), MODEL + CELL
    first = answers.groupby(MODEL[:2])["seed"].transform("first") == answers["seed"]
    counts = answers[first | (len(bootstraps) > 1)].groupby(MODEL[:2] + CELL).agg(
        seed=("seed", "first"), n_units=("unit", "nunique"), n_items=("item", "size"), chance=("chance", "mean"),
        floor=("floor", "mean"),
    ).to_dict("index")  # fmt: skip
    valid = answers.groupby(MODEL[:2] + CELL)["valid"].mean().to_dict()
    cells = []
    for metric in metric_columns(answers):
        found: dict[tuple[object, ...], list[list[Draws]]] = {}
        for number, bootstrap in enumerate(bootstraps):
            for (method, modality, _, *cell), draws in bootstrap.means(bootstrap.answers, metric, by).items():
                of_runs = found.setdefault((method, modality, *cell), [[] for _ in bootstraps])
                of_runs[number].append(draws)
        for key, of_runs in found.items():
            label = f"{key[0]}-{key[1]}"
            means = [resampled_mean(seeds, label) for seeds in of_runs if seeds]
            if (interval := estimate(resampled_mean(means, "runs"))) is None:
                continue
            count = counts[key]
            is_headline = metric == HEADLINE[str(key[3])]
            cells.append(
                Cell.model_validate(
                    dict(zip(MODEL[:2] + CELL, key, strict=True))
                    | interval.model_dump()
                    | {
                        "metric": metric,
                        "seed": int(count["seed"]),
                        "n_units": int(count["n_units"]),
                        "n_items": int(count["n_items"]),
                        "chance": defined(count["chance"]) if is_headline else None,
                        "floor": defined(count["floor"]) if metric == "rouge_l" else None,
                        "invalid": 1 - float(valid[key]),
                    }
                )
            )
    return [*cells, *paired_cells(bootstraps)]


def defined(value: float) -> float | None:
    """Return the value, or None in place of NaN."""
    return None if np.isnan(value) else float(value)
