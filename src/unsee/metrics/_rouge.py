"""ROUGE of one answer, in the kinds that the metrics `rouge_1`, `rouge_2` and `rouge_l` report."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Literal

from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

from unsee.core.text import words

Kind = Literal["rouge1", "rouge2", "rougeL"]


def f_measure(kind: Kind, truth: str, answer: str) -> float:
    """Return the F-measure of shared stemmed words, word pairs or longest common subsequence of two texts, 0 to 1."""
    return float(_scorer(kind).score(truth, answer)[kind].fmeasure)


@cache
def _scorer(kind: Kind) -> RougeScorer:
    return RougeScorer([kind], tokenizer=_Words())


class _Words:
    """The words of every script, in lower case. English ones are stemmed, as by the tokenizer of `rouge_score`."""

    def __init__(self) -> None:
        self._stem = lru_cache(maxsize=2**14)(PorterStemmer().stem)

    def tokenize(self, text: str) -> list[str]:
        """Return the words; those of up to three letters keep their endings."""
        return [self._stem(word) if word.isascii() and len(word) > 3 else word for word in words(text.lower())]
