"""All means and intervals: a bootstrap over units, paired across models.

A unit is a person, a picture or an item of the general set. Answers about one unit depend on each other, so a unit is
drawn as a whole. Shapes: R resamples (row 0 is the sample itself), C units.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from unsee.core.record import CLUSTER

Draws = npt.NDArray[np.float64]
"""One statistic over all resamples, shape [R]; `draws[0]` is its value on the sample itself."""

CONFIDENCE = 0.95

_Groups = tuple[npt.NDArray[np.intp], list[tuple[object, ...]]]

_STRATUM = {
    "test": "forget"
}  # the test set is about the forget people, so a person is drawn for both sets or for neither


class Estimate(BaseModel):
    """A value with its 95% interval; low <= value <= high."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    value: float
    low: float
    high: float


def estimate(draws: Draws) -> Estimate | None:
    """Return the value with its percentile interval, or None if the statistic is undefined on the sample itself.

    A bounded statistic (a score of 1) can lie outside its percentiles; then the interval is widened to contain it.
    """
    value = float(draws[0])
    resampled = draws[1:][~np.isnan(draws[1:])]
    if np.isnan(value):
        return None
    if not resampled.size:
        return Estimate(value=value, low=value, high=value)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value))


def mean_of_defined(draws: Sequence[Draws]) -> Draws:
    """Return the mean per resample over the statistics that are defined in it; NaN if none is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.asarray(np.nanmean(np.stack(draws), axis=0), dtype=np.float64)


def resampled_mean(draws: Sequence[Draws], label: str) -> Draws:
    """Return the mean over trainings, or over runs; each resample draws as many of them, with replacement.

    Together with units that are drawn within each training, this is a hierarchical bootstrap.

    Args:
        draws: the same statistic of each training or run.
        label: seeds the draws; equal labels and lengths give equal draws, so that differences are paired.
    """
    if len(draws) == 1:
        return draws[0]
    size = len(draws)
    rng = np.random.default_rng([size, *label.encode()])
    drawn_RS = rng.multinomial(size, np.full(size, 1 / size), size=len(draws[0]) - 1)
    weights_RS = np.vstack([np.ones((1, size)), drawn_RS]) / size
    return np.asarray((weights_RS * np.stack(draws, axis=1)).sum(axis=1), dtype=np.float64)


class Bootstrap:
    """Resamples of the units behind a table of answers.

    Units are drawn with replacement within each set (forget and test together), so each set keeps its number of units.
    All models and cells share the same draws, so differences between models are paired.

    Args:
        answers: the answers table; every row needs `set` and `unit`.
        num_resamples: number of resamples.
        seed: the same seed and units give the same draws, for any models in the table.

    Attributes:
        answers: the table with a further column `cluster`, the number of the unit; `means` needs it. Texts are objects,
            which are faster than arrow's where a table is cut into many small ones.
    """

    def __init__(self, answers: pd.DataFrame, num_resamples: int = 1000, seed: int = 0) -> None:
        strata = answers["set"].astype(str).replace(_STRATUM)
        clusters = pd.MultiIndex.from_arrays([strata, answers["unit"].astype(str)])
        unique = clusters.unique().sort_values()
        texts = answers.select_dtypes("str").columns
        self.answers = answers.astype(dict.fromkeys(texts, object)).assign(**{CLUSTER: unique.get_indexer(clusters)})
        self._groups: dict[tuple[str, ...], _Groups] = {}
        sizes = unique.get_level_values(0).value_counts().sort_index()
        blocks = []
        for stratum, size in sizes.items():
            rng = np.random.default_rng([seed, *str(stratum).encode()])
            drawn = rng.multinomial(size, np.full(size, 1 / size), size=num_resamples)
            blocks.append(np.vstack([np.ones((1, size)), drawn]))
        self._weights_RC: npt.NDArray[np.float64] = np.hstack(blocks)

    def weights(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return how often each row is drawn in each resample, [R, rows]; `rows` are rows of `self.answers`."""
        return self._weights_RC[:, rows[CLUSTER].to_numpy()]

    def means(self, rows: pd.DataFrame, value: str, by: Sequence[str]) -> dict[tuple[object, ...], Draws]:
        """Return the mean of a column within each group, on the sample and on every resample.

        Args:
            rows: any rows of `self.answers`.
            value: the column to average; missing values are left out.
            by: the columns to group by.

        Returns:
            The draws of each group; NaN if a resample holds no value of the group.
        """
        group, keys = self._grouped(rows, tuple(by))
        numbers = rows[value].to_numpy(dtype=np.float64)
        known = ~np.isnan(numbers)
        shape = (self._weights_RC.shape[1], len(keys))
        flat = rows[CLUSTER].to_numpy() * shape[1] + group
        size = shape[0] * shape[1]
        sums = np.bincount(flat[known], weights=numbers[known], minlength=size).reshape(shape)
        counts = np.bincount(flat[known], minlength=size).reshape(shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (self._weights_RC @ sums) / (self._weights_RC @ counts)
        return {key: means[:, number] for number, key in enumerate(keys)}

    def _grouped(self, rows: pd.DataFrame, by: tuple[str, ...]) -> _Groups:
        """Return the number of each row's group, and the key of each group in order of appearance."""
        if rows is self.answers and by in self._groups:
            return self._groups[by]
        columns = [rows[name].to_numpy() for name in by]
        combined = np.zeros(len(rows), dtype=np.intp)
        for column in columns:
            codes, values = pd.factorize(column, use_na_sentinel=False)
            combined = combined * len(values) + codes
        group, _ = pd.factorize(combined)
        _, first = np.unique(group, return_index=True)
        found = group, list(zip(*(column[first].tolist() for column in columns), strict=True))
        if rows is self.answers:
            self._groups[by] = found
        return found
