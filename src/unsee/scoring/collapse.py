"""Collapse: signs that a method broke the model, so that its score is 0.

There are four signs, each with its reason as a sentence. Answers about the people to forget count for the first sign
only (free text), because declining to answer about them may be successful unlearning.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from unsee.core.record import GENERAL_SET
from unsee.core.text import words as text_words
from unsee.scoring.intervals import Bootstrap, estimate
from unsee.scoring.schema import BASE

LIMIT = 0.5

FREE_TEXT = ("generation", "cloze")
_KNOWN = ("retain", "celebrity")
_KEPT = ("retain", "celebrity", GENERAL_SET)
_ENGLISH = (
    "i m am sorry but do don not t no can cannot could unable able to answer say tell give share help with that this "
    "question know knowledge aware sure unknown unclear any information about have person private personal details "
    "there is are the a an of it you your on for as who what he she they we his her their its my our me him them us "
    "was were be been being has had did does will would should may might must and or if then than so because when "
    "where which how why in at by from into through over under after before between during without within all each "
    "every some many most more much few other another such only also very just now here one two three first last new "
    "old good great own same like well known part made make used called born lives lived work works worked years "
    "year day time place name world people man woman life way image picture show shows see seen look looks wear wears"
)
"""Common words, among them those of a polite refusal, which no model of a run may have used."""


@lru_cache(maxsize=2**14)
def words(text: str) -> tuple[str, ...]:
    """Return the words of a text, case folded, without punctuation."""
    return tuple(text_words(text.casefold()))


def is_degenerate(text: str, lexicon: Collection[str]) -> bool:
    """Return True if an answer is empty, repeats itself or is not made of words.

    It repeats itself if it has at least three words and one of them is more than half of it, or if it has at least six
    words and fewer than half of its runs of three words are distinct. It is not made of words if more than half of its
    words are not in the lexicon.
    """
    said = words(text)
    if not said or repeats_itself(said):
        return True
    return sum(word not in lexicon for word in said) > len(said) / 2


def repeats_itself(said: Sequence[str]) -> bool:
    """Return True if one of at least three words is most of them, or runs of three of at least six words recur."""
    if len(said) >= 3 and max(map(said.count, set(said))) > len(said) / 2:
        return True
    runs = list(zip(said, said[1:], said[2:], strict=False))
    return len(said) >= 6 and len(set(runs)) < len(runs) / 2


def lexicon(answers: pd.DataFrame) -> frozenset[str]:
    """Return every word of questions, options and truths, of answers of base, target and oracle, and common ones."""
    texts = set(answers["question"]) | set(answers["truth"])
    texts.update(option for options in answers["options"] for option in options)
    texts.update(answers.loc[answers["method"].isin([BASE, "target", "oracle"]), "answer"])
    return frozenset(words(_ENGLISH)).union(*(words(text) for text in texts))


def why_collapsed(model: pd.DataFrame, target: pd.DataFrame, known: frozenset[str], bootstrap: Bootstrap) -> str | None:
    """Return the first sign of collapse in one model's answers as a sentence, or None.

    Args:
        model: rows of `bootstrap.answers` of one model.
        target: rows of the target; a sign that the target shows too does not count.
        known: the `lexicon`.
        bootstrap: gives the interval of the last sign.
    """
    for share, sentence in (
        (_degenerate_share, "{:.0%} of its free answers are empty, repetitive or not made of words"),
        (_same_answer_share, "{:.0%} of its answers about retain people and celebrities are one and the same"),
        (_same_option_share, "{:.0%} of its choices about retain people and celebrities are the same option"),
    ):
        value = share(model, known)
        if value > LIMIT >= (target_value := share(target, known)):
            return f"{sentence.format(value)} (target: {target_value:.0%})"
    rows = model[model["set"].isin(_KEPT)]
    if len(rows) and (invalid := 1 - rows["valid"].mean()) > LIMIT:
        return f"{invalid:.0%} of its answers on retain, celebrity and general questions cannot be read"
    choices = rows[rows["task"] == "classification"]
    choices = choices.assign(above_chance=choices["accuracy"] - choices["chance"])
    for draws in bootstrap.means(choices, "above_chance", by=["method"]).values():
        above = estimate(draws)
        if above is not None and above.low <= 0:
            return (
                f"its choices on retain, celebrity and general questions are no better than chance ({above.value:+.2f})"
            )
    return None


def _degenerate_share(model: pd.DataFrame, known: frozenset[str]) -> float:
    answers = model.loc[model["task"].isin(FREE_TEXT), "answer"]
    return float(np.mean([is_degenerate(answer, known) for answer in answers])) if len(answers) else 0.0


def _same_answer_share(model: pd.DataFrame, _: frozenset[str]) -> float:
    rows = model[model["set"].isin(_KNOWN) & (model["task"] == "generation")]
    return _share_of_commonest(pd.Series([" ".join(words(answer)) for answer in rows["answer"]], dtype=str))


def _same_option_share(model: pd.DataFrame, _: frozenset[str]) -> float:
    rows = model[model["set"].isin(_KNOWN) & (model["task"] == "classification") & model["valid"]]
    positions = [
        list(options).index(answer)
        for options, answer in zip(rows["options"], rows["answer"], strict=True)
        if answer in list(options)
    ]
    return _share_of_commonest(pd.Series(positions, dtype=int))


def _share_of_commonest(values: pd.Series) -> float:
    return float(values.value_counts(normalize=True).iloc[0]) if len(values) else 0.0
