import pytest

from unsee.data.schema import Person, Question
from unsee.exams.template_floor import template_floor


def make_person(id, name, *asked):
    questions = [
        Question(task="generation", input=kind, question=question, answer=answer) for kind, question, answer in asked
    ]
    return Person(id=id, name=name, images=(), questions=tuple(questions))


ADA = make_person(
    "1", "Ada Berg",
    ("text", "Where does Ada Berg live?", "Ada Berg lives in Oslo."),
    ("image", "Who is this?", "This is Ada Berg."),
    ("image", "Where does this person live?", "This person lives in Oslo."),
)  # fmt: skip
BO = make_person(
    "2", "Bo Lund",
    ("text", "Where does Bo Lund live?", "Bo Lund lives in Lima."),
    ("image", "Who is this?", "This is Bo Lund."),
)  # fmt: skip
CLEO = make_person("3", "Cleo Day", ("text", "Where does Cleo Day live?", "Cleo Day lives in Oslo."))


def floor_of(people, person, index):
    return template_floor(people).get((person.id, person.questions[index]))


def test_it_is_the_mean_over_other_peoples_answers_with_the_name_replaced():
    assert floor_of([ADA, BO], ADA, 0) == pytest.approx(4 / 5)  # "Ada Berg lives in" of five words
    assert floor_of([ADA, BO, CLEO], ADA, 0) == pytest.approx((4 / 5 + 1) / 2)


def test_a_name_that_is_asked_for_is_not_given_away():
    assert floor_of([ADA, BO], ADA, 1) == pytest.approx(2 / 4)


def test_a_question_that_nobody_else_is_asked_has_no_floor():
    assert floor_of([ADA, BO], ADA, 2) is None
    assert template_floor([ADA]) == {}


def test_it_does_not_depend_on_the_order_of_people():
    assert template_floor([ADA, BO, CLEO]) == template_floor([CLEO, BO, ADA])


def test_the_person_is_never_compared_with_themselves():
    again = make_person("4", "Bo Lund", ("text", "Where does Bo Lund live?", "Bo Lund lives in Rome."))
    assert floor_of([BO, again], BO, 0) == pytest.approx(4 / 5)
