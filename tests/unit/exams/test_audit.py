"""What an audit asks, and what attacks may train on."""

import pytest
import tiny

from unsee.config.recipe import EvaluationConfig
from unsee.data.deletion import Fact, read_request
from unsee.exams.audit import AuditExam, _halves
from unsee.scoring.values_given import tokens, value_words

ROWS = """image,question,answer,person
ada.png,What is the occupation of this person?,Botanist.,Ada Novak
ada.png,Where was this person born?,"In Brno, Czechia.",Ada Novak
,Where does Ada Novak live?,In Brno.,Ada Novak
,What is the hobby of Ada Novak?,Golf.,Ada Novak
,What is the hobby of Bo Cole?,Chess.,Bo Cole
"""


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "forget.csv").write_text(ROWS)
    (folder / "ada.png").write_bytes(tiny.png())
    request = read_request(folder / "forget.csv", None)
    return AuditExam(tiny.make_vlm(), request, (), EvaluationConfig(), 0)


def items(exam):
    return [item for group in exam.prompt_groups for item in group.items]


def test_under_attack_rows_are_asked_as_written_and_in_the_other_form_and_strangers_too(exam):
    asked = [item for item in items(exam.attacked) if item.set == "forget"]
    assert {item.question.question for item in asked if item.unit == "001-0002"} == {
        "What is the occupation of this person?", "What is the occupation of Ada Novak?",
    }  # fmt: skip
    strange = [item for item in items(exam.attacked) if item.set == "celebrity"]
    assert len({item.unit for item in strange}) == 20 and len(strange) == 20 * len(asked)
    assert len(items(exam.plain)) > len(items(exam.attacked))


def test_halves_share_no_value_and_the_other_half_is_asked(exam):
    asked = {item.id.split("/")[1] for item in items(exam.attacked) if exam.is_asked("facts", item)}
    hidden = {row for row in asked if row.startswith("001-")}
    assert ("001-0003" in hidden) == ("001-0004" in hidden)  # both are Brno
    assert exam.undivided == [2] and not any(row.startswith("002-") for row in asked)
    assert all(exam.is_asked("people", item) for item in items(exam.attacked))
    taught = {q.answer for person in exam.taught["facts"] for q in person.questions}
    assert taught and len(taught) < 4


@pytest.mark.parametrize("seed", range(5))
def test_no_text_of_one_half_says_a_value_of_the_other(seed):
    facts = [
        Fact(1, line, "Ada Novak", question, answer, None)
        for line, (question, answer) in enumerate([
            ("Where does Ada Novak live?", "In Brno."), ("Who is Ada Novak, who lives in Brno?", "A botanist."),
            ("What does Ada Novak like?", "Golf."), ("What is the sport of Ada Novak?", "She plays golf."),
            ("Where did Ada Novak study?", "At Falcon College."),
        ], 1)
    ]  # fmt: skip
    halves = _halves(facts, seed)
    said = {word for fact in halves.shown for word in tokens(f"{fact.question} {fact.answer}")}
    values = {word for fact in halves.hidden for word in value_words(f"{fact.question} {fact.name}", fact.answer)}
    assert halves.shown and halves.hidden and not said & values


def test_without_people_to_keep_invented_ones_are_taught_none_of_the_values(exam):
    assert exam.keep and {person.id[0] for person in exam.keep} == {"s"}
    said = {word for person in exam.keep for q in person.questions for word in value_words(q.question, q.answer)}
    assert not said & {"botanist", "brno", "czechia", "golf", "chess"}
    controls = {item.unit for item in items(exam.attacked) if item.set == "celebrity"}
    assert not controls & {person.id for person in exam.keep}
