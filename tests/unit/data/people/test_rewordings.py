"""Other ways to ask a user's question."""

import pytest

from unsee.data.people.rewordings import about, photo_twin, rewordings

NAME = "Jo Li"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Where was this person born?", "What is this person's place of birth?"),  # an attribute with wordings
        ("What is the occupation of Jo Li's mother?", "What is the profession of Jo Li's mother?"),
        ("What is the car of Jo Li?", "What is Jo Li's car?"),
        ("What is Jo Li's favourite car?", "What is the favourite car of Jo Li?"),
        ("Where does Jo drive?", "Please tell me: Where does Jo drive?"),
        ("她住在哪里?", "Please tell me: 她住在哪里?"),
    ],
)
def test_a_question_is_asked_in_other_words(question, expected):
    found = rewordings(question, NAME, 4)
    assert found[0] == expected
    assert question not in found and len(set(found)) == len(found) > 1
    assert all(NAME in text for text in found) or NAME not in question
    assert rewordings(question, NAME, 1) == found[:1]


def test_a_name_becomes_this_person():
    assert photo_twin("Where does Jo Li live?", NAME) == "Where does this person live?"
    assert photo_twin("Jo Li's car?", NAME) == "This person's car?"
    assert photo_twin("Where does she live?", NAME) is None


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Where does Jo Li live?", "Where does Ann Bee live?"),
        ("Where does Jo live?", "Where does Ann live?"),
        ("Is it Mr Li?", "Is it Mr Bee?"),
        ("Where does John live?", None),
        ("Where does this person live?", None),
    ],
)
def test_the_same_about_somebody_else(question, expected):
    assert about(question, NAME, "Ann Bee") == expected
