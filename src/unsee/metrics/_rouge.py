"""ROUGE of one answer, in the kinds that the metrics `rouge_1`, `rouge_2` and `rouge_l` report."""

from __future__ import annotations

from functools import cache
from typing import Literal

from rouge_score.rouge_scorer import RougeScorer

Kind = Literal["rouge1", "rouge2", "rougeL"]


def f_measure(kind: Kind, truth: str, answer: str) -> float:
    """Return the F-measure of shared stemmed words, word pairs or longest common subsequence of two texts, 0 to 1."""
    return float(_scorer(kind).score(truth, answer)[kind].fmeasure)


@cache
def _scorer(kind: Kind) -> RougeScorer:
    return RougeScorer([kind], use_stemmer=True)
