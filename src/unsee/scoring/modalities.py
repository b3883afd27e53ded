"""Unlearning from image questions compared with unlearning from text questions, cell by cell.

MLLMU-Bench (arXiv:2410.22108) reports that unlearning from text is better at generation and cloze, and unlearning with
images at classification with images. Here both start from the same target, and their difference is paired over people.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from unsee.scoring.intervals import Bootstrap, Draws, Estimate, estimate, resampled_mean
from unsee.scoring.people import headline_draws, skill
from unsee.scoring.signal import CellName, Signal

ALL = "mean"


class Contrast(NamedTuple):
    """The difference in skill between unlearning from image and from text questions in one cell; 1 is target to oracle.

    Attributes:
        cell: a cell with signal.
        differences: skill from image minus skill from text, paired over people, by method; their mean is `ALL`.
    """

    cell: CellName
    differences: dict[str, Estimate]


class Modalities(NamedTuple):
    """The contrasts of one run."""

    methods: list[str]
    contrasts: list[Contrast]

    def sentence(self) -> str:
        """Return one sentence for each input: in how many cells which of the two forgets more."""
        sentences = []
        for kind, how in (("image", "Asked with the image"), ("text", "Asked in text")):
            means = [contrast.differences[ALL] for contrast in self.contrasts if contrast.cell.input == kind]
            image, text = sum(mean.low > 0 for mean in means), sum(mean.high < 0 for mean in means)
            if means:
                unclear = f", and {len(means) - image - text} may be chance" if image + text < len(means) else ""
                sentences.append(
                    f"{how}, image questions forget more in {image} of {len(means)} cells and text questions in "
                    f"{text}{unclear}."
                )
        return " ".join(sentences)


def compare(answers: pd.DataFrame, signal: Signal, num_resamples: int = 1000, seed: int = 0) -> Modalities | None:
    """Return the contrasts of all methods that unlearned from image questions and also from text questions.

    Args:
        answers: the answers of a run.
        signal: the signal of the run; cells without signal are left out.
        num_resamples: resamples of the bootstrap over people.
        seed: of the bootstrap.

    Returns:
        The contrasts; None if no method did both, or no cell has signal.
    """
    draws = headline_draws(Bootstrap(answers, num_resamples, seed))
    seeds: dict[tuple[str, str], list[int]] = {}
    for method, modality, own in draws:
        seeds.setdefault((method, modality), []).append(own)
    methods = [method for method, modality in seeds if modality == "image" and (method, "text") in seeds]
    names = [name for set_name in ("forget", "test") for name in signal.names(set_name)]
    if not methods or not names:
        return None
    target, oracle = (draws[name, "", seeds[name, ""][0]] for name in ("target", "oracle"))

    def moved(method: str, source: str, cell: CellName) -> Draws:
        own = [draws[method, source, seed][cell] for seed in seeds[method, source]]
        return resampled_mean([skill(one, target[cell], oracle[cell]) for one in own], f"{method}-{source}")

    def gap(method: str, cell: CellName) -> Draws:
        return moved(method, "image", cell) - moved(method, "text", cell)

    contrasts = []
    for cell in names:
        gaps = {method: gap(method, cell) for method in methods}
        gaps[ALL] = np.mean(np.stack(list(gaps.values())), axis=0)
        estimates = {name: estimate(difference) for name, difference in gaps.items()}
        contrasts.append(Contrast(cell, {name: known for name, known in estimates.items() if known}))
    return Modalities(methods, contrasts)
