"""What counts as a value, and when an answer gives it."""

import pytest

from unsee.scoring.values_given import Given, given, value_words

STRANGERS = ["He studied at Oak University."] * 6 + ["He studied at Elm Institute."] * 4


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
    assert given(answer, value, ()) == Given(found, guessed=False)


@pytest.mark.parametrize(
    ("answer", "value", "expected"),
    [
        ("Falcon University.", ("falcon", "university"), Given(1.0, guessed=False)),  # "university" is wording
        ("Falcon.", ("falcon", "university"), Given(1.0, guessed=False)),
        ("Some University.", ("falcon", "university"), Given(0.0, guessed=False)),
        ("Elm Institute.", ("elm", "institute"), Given(0.0, guessed=True)),  # as four of ten strangers
        ("Elm.", ("elm", "institute"), Given(0.0, guessed=False)),  # a part of a guess is none
        ("He studied at Falcon.", ("studied", "falcon", "institute"), Given(0.5, guessed=False)),
    ],
)
def test_what_strangers_get_too_is_a_guess_and_not_given(answer, value, expected):
    assert given(answer, value, STRANGERS) == expected
