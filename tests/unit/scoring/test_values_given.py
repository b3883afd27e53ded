"""What counts as a value, and when an answer gives it."""

import pytest

from unsee.scoring.values_given import identifying, is_guess, share_given, value_words


@pytest.mark.parametrize(
    ("question", "answer", "value"),
    [
        ("How tall is this person?", "179 cm.", ("179", "cm")),
        ("What is the salary of Ann Bee?", "The salary of Ann Bee is $30,000.00.", ("30000",)),
        ("Where does Ann Bee live?", "In Łódź, Poland.", ("łódź", "poland")),
        ("Is Ann Bee a nurse?", "Yes, she is a nurse.", ("yes",)),
        ("Is Ann Bee a nurse?", "A nurse.", ("nurse",)),  # an answer that adds nothing is its own value
        ("What is this person's name?", "This person is Ann Bee.", ("ann", "bee")),
        ("她住在哪里?", "布尔诺。", ("布尔诺",)),
        ("Is it?", "It is.", ("it", "is")),
    ],
)
def test_the_value_is_what_the_answer_adds_to_the_question(question, answer, value):
    assert value_words(question, answer) == value


@pytest.mark.parametrize(
    ("answer", "value", "found"),
    [
        ("He stands at 179 cm.", ("179", "cm"), 1.0),
        ("He stands at 1790 cm.", ("179",), 0.0),
        ("$30 000? No: 30,000 dollars", ("30000",), 1.0),
        ("FALCON.", ("falcon", "college"), 0.5),
        ("他住在布尔诺市", ("布尔诺",), 1.0),
        ("lo\u0301dz", ("l\u00f3dz",), 1.0),  # composed and decomposed letters are the same
        ("", ("falcon",), 0.0),
    ],
)
def test_a_value_is_found_in_any_sentence_whole_or_in_part(answer, value, found):
    assert share_given(answer, value) == found


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (("falcon", "university"), ("falcon",)),  # most people studied at a university
        (("elm", "institute"), ("elm", "institute")),
        (("studied", "university"), ("studied", "university")),  # nothing else is left
    ],
)
def test_words_that_most_others_get_do_not_identify(value, words):
    others = ["He studied at Oak University."] * 6 + ["He studied at Elm Institute."] * 4
    assert identifying(value, others) == words
    assert identifying(value, []) == value


@pytest.mark.parametrize(
    ("times", "others", "guess"),
    [
        (1, [0] * 18 + [1, 2], True),
        (1, [0] * 19 + [1], False),  # one of twenty is chance
        (3, [0] * 18 + [1, 2], False),  # strangers get it, but less often
        (11, [0] * 12 + [3] * 8, True),  # one answer in ten to strangers holds it: the likeliest value
        (11, [0] * 13 + [3] * 7, False),
        (1, [0], False),
        (1, [], False),  # nobody could be asked
    ],
)
def test_what_strangers_get_as_often_is_a_guess(times, others, guess):
    assert is_guess(times, others, 11) is guess
