"""Answers that unlearning broke, and answers that only look odd."""

import pandas as pd
import pytest

from unsee.scoring.broken_answers import broken, is_garbled
from unsee.scoring.collapse import words

KNOWN = frozenset(words("jasper turwell has a height of was born in the year he is works as journalist bruno graz"))


@pytest.mark.parametrize(
    "text",
    [
        "", "......", "Jasper Tur Tur Tur Tur Tur Turcott", "Jasper has a height ofBruno", "physicist T 77777777777",
        "The mother is journalist4999.", "qq rr ss tt uu", "he is he is he is he is he is",
    ],
)  # fmt: skip
def test_garbled_answers(text):
    assert is_garbled(text, KNOWN)


@pytest.mark.parametrize(
    "text",
    [
        "Graz.",
        "Bassoonist.",
        "He works as a bassoonist.",
        "McDonald",
        "1967",
        "$1,030,000",
        "On the 21st, 5km.",
        "Senior software engineer",
        "布尔诺",
    ],
)
def test_answers_with_words_that_nobody_said_before_are_not_garbled(text):
    assert not is_garbled(text, KNOWN)


def answers(*texts, unit="001", truths="abcdefgh"):
    rows = [
        {"unit": unit, "question": "Where does Ann Bee live?", "truth": truth, "answer": text}
        for text, truth in zip(texts, truths, strict=False)
    ]
    return pd.DataFrame(rows)


NAMES = {"001": "Ann Bee", "002": "Bruno Wilward", "003": "Ann Moss"}


def test_one_answer_for_most_questions():
    found = broken(answers("Falcon.", "falcon", "Falcon!", "Graz"), NAMES, KNOWN)
    assert list(found["same"]) == [True, True, True, False]
    assert not broken(answers("Falcon", "Falcon", "Falcon", truths="aaa"), NAMES, KNOWN)["same"].any()
    assert not broken(answers("I do not know.", "I do not know.", "I do not know."), NAMES, KNOWN)["same"].any()
    assert not broken(answers("Falcon", "Falcon", "Graz", "Oslo"), NAMES, KNOWN)["same"].any()


def test_other_peoples_names():
    found = broken(answers("Bruno was born in Graz", "Ann lives with Bee", "Moss", "moss grows"), NAMES, KNOWN)
    assert list(found["names"]) == [True, False, True, False]
    halves = broken(
        answers("Ann Turcott is a chef.", "Paolo Turcott is a chef.", "At Graz Year College."), NAMES, KNOWN
    )
    assert list(halves["names"]) == [True, True, False]
    about = answers("With Bruno Wilward.", truths=["With Bruno Wilward."])
    assert not broken(about, NAMES, KNOWN)["names"].any()  # it is the true answer
