"""The unlearning depth score: how much of what an oracle's states lack is also lacking in a model's.

With the loss of a value in the target, in which the output of layer l is replaced by that of another model, and

    lack(l) = loss with the model's states - loss with the target's own
    gap(l)  = the same with the oracle's states

only layers count in which the oracle lacks something, gap(l) > `NOTICEABLE`. The score of a value is

    UDS = sum over l of clip(lack(l), 0, gap(l)) / sum over l of gap(l)

which is the mean of the erased parts lack / gap, weighted by the gap. 0: the states hold what the target's do; 1: no
more than the oracle's. Source: github.com/gnueaj/unlearning-depth-score (UDS; activation patching in two stages).
"""

from __future__ import annotations

import pandas as pd

from unsee.scoring.intervals import Bootstrap, estimate
from unsee.scoring.schema import DO_NOTHING, Measure

NOTICEABLE = 0.05
"""Nats by which an oracle's states must raise the loss of a value for a layer to count."""
_PLACE = ["unit", "input", "question", "layer"]


def depths(patched: pd.DataFrame, num_resamples: int = 1000, seed: int = 0) -> list[Measure]:
    """Return the score of every model; none without target and oracle, or if the oracle's states lack nothing.

    Args:
        patched: the losses of `unsee.exams.depth`, with the columns method and modality.
        num_resamples: resamples of people.
        seed: of the resamples.
    """
    plain, oracle = (patched[patched["method"] == name].set_index(_PLACE)["loss"] for name in (DO_NOTHING, "oracle"))
    gap = oracle - plain
    gap = gap[gap > NOTICEABLE]
    if gap.empty:
        return []
    found = []
    for (method, modality), rows in patched.groupby(["method", "modality"], sort=False):
        lack = (rows.set_index(_PLACE)["loss"] - plain).loc[gap.index].clip(0, gap)
        of_value = pd.DataFrame({"lack": lack, "gap": gap}).groupby(_PLACE[:-1]).sum()
        table = (of_value["lack"] / of_value["gap"]).rename("depth").reset_index().assign(set="forget", method=method)
        bootstrap = Bootstrap(table, num_resamples, seed)
        for draws in bootstrap.means(bootstrap.answers, "depth", ["set"]).values():
            if value := estimate(draws):
                found.append(
                    Measure(name="unlearning depth (UDS)", method=str(method), modality=str(modality), value=value)
                )
    return found
