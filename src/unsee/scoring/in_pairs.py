"""Questions that are asked twice, with the image and in text: is a fact forgotten, or kept, in both?

A model may forget a fact in one modality and give it in the other; the mean over all questions does not show that. Of
each pair, a and b are the values of the two answers (1 or 0 if right or wrong; ROUGE-L for sentences):

acc_f   forgetting, choices and blanks: 1 if both are wrong, (1 - a)(1 - b)
acc_r   knowledge, choices and blanks: 1 if both are right, ab
rl_f    forgetting, sentences: (a^2 + b^2) / (a + b), 0 if both are 0; one known side keeps it high
rl_r    knowledge, sentences: 2ab / (a + b), 0 if both are 0

Source: UMU-Bench, AccF, AccR, RLF and RLR. Its code computes them as percentages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from unsee.core.record import PAIR
from unsee.scoring.intervals import Bootstrap, estimate, resampled_mean
from unsee.scoring.schema import BOTH, Cell

FORGETTING = {"accuracy": "acc_f", "rouge_l": "rl_f"}
KEEPING = {"accuracy": "acc_r", "rouge_l": "rl_r"}
_MODEL = ["method", "modality", "seed"]
_CELL = ["set", "task"]


def paired_cells(bootstraps: Sequence[Bootstrap]) -> list[Cell]:
    """Return the cells of all pairs: mean over the seeds within each run, then over the runs; none without pairs.

    The people to forget (forget, test) get the measures of forgetting, all others those of knowledge.
    """
    tables = [_pairs(bootstrap.answers) for bootstrap in bootstraps]
    found: dict[tuple[str, ...], list[list[np.ndarray]]] = {}
    for number, (bootstrap, table) in enumerate(zip(bootstraps, tables, strict=True)):
        if not table.empty:
            for (method, modality, _, *cell), draws in bootstrap.means(
                table, "value", [*_MODEL, *_CELL, "metric"]
            ).items():
                key = tuple(map(str, (method, modality, *cell)))
                found.setdefault(key, [[] for _ in bootstraps])[number].append(draws)
    every = pd.concat(tables)
    cells = []
    for (method, modality, set_name, task, metric), of_runs in found.items():
        means = [resampled_mean(seeds, f"{method}-{modality}") for seeds in of_runs if seeds]
        own = every[(every["method"] == method) & (every["modality"] == modality) & (every["set"] == set_name)]
        own = own[(own["task"] == task) & (own["metric"] == metric)]
        first = own[own["seed"] == own["seed"].iloc[0]]
        if (interval := estimate(resampled_mean(means, "runs"))) is not None:
            cells.append(
                Cell(
                    method=method, modality=modality, seed=int(first["seed"].iloc[0]), set=set_name, task=task,
                    input=BOTH, metric=metric, **interval.model_dump(), n_units=int(first["unit"].nunique()),
                    n_items=len(first), chance=None, invalid=float(first["invalid"].mean()),
                )
            )  # fmt: skip
    return cells


def _pairs(answers: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each pair, and for each photo that it is asked with."""
    columns = [*_MODEL, *_CELL, "unit", "cluster", "value", "metric", "invalid"]
    if PAIR not in answers or not answers[PAIR].astype(bool).any():
        return pd.DataFrame(columns=columns)
    asked = answers[answers[PAIR].astype(bool)]
    asked = asked.assign(
        metric=np.where(asked["task"] == "generation", "rouge_l", "accuracy"),
        known=asked["rouge_l"].where(asked["task"] == "generation", asked["accuracy"]),
    )
    on = [*_MODEL, *_CELL, "unit", "cluster", "metric", PAIR]
    sides = [asked.loc[asked["input"] == kind, [*on, "known", "valid"]] for kind in ("image", "text")]
    both = sides[0].merge(sides[1], on=on, suffixes=("_a", "_b"))
    a, b = both["known_a"], both["known_b"]
    forgotten = both["set"].isin(["forget", "test"])
    is_sentence = both["metric"] == "rouge_l"
    total = (a + b).where(a + b > 0, 1.0)
    sentence = np.where(forgotten, a * a + b * b, 2 * a * b) / total
    choice = np.where(forgotten, (1 - a) * (1 - b), a * b)
    names = both["metric"].map(FORGETTING).where(forgotten, both["metric"].map(KEEPING))
    invalid = 1 - (both["valid_a"].astype(float) + both["valid_b"].astype(float)) / 2
    made = both.assign(value=np.where(is_sentence, sentence, choice), metric=names, invalid=invalid)
    return made[columns].reset_index(drop=True)
