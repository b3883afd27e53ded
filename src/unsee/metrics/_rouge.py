"""ROUGE of one answer, shared by the leaves that each report one kind of it."""

from __future__ import annotations

from functools import cache
from typing import Literal

from rouge_score.rouge_scorer import RougeScorer

Kind = Literal["rouge1", "rouge2", "rougeL"]


def f_measure(kind: Kind, truth: str, answer: str) -> float:
    """F-measure of the words, pairs of words or longest common subsequence that two texts share, stemmed, 0 to 1."""
    return float(_scorer(kind).score(truth, answer)[kind].fmeasure)


@cache
def _scorer(kind: Kind) -> RougeScorer:
    return RougeScorer([kind], use_stemmer=True)
