"""Likelihoods of training text: those of a plain forward pass, and whose answers they are about."""

from dataclasses import replace

import pytest
import tiny
import torch

from unsee.data.schema import Person, Question
from unsee.exams.likelihoods import LikelihoodExam, _of_answer
from unsee.forward.prompts import lesson_answer_ids, render_lesson

NAMES = ("Anna Berg", "Bela Novak", "Cleo Lind")


def make_person(number, job):
    taught = [
        Question(task="train", input="image", question="Job?", answer=job),
        Question(
            task="train", input="text", question=f"Where was {NAMES[number]} born?", answer=f"{NAMES[number]}: Oslo"
        ),
    ]
    return Person(id=f"{number:03}", name=NAMES[number], images=(tiny.png(number),), questions=tuple(taught))


PEOPLE = [make_person(0, "A baker."), make_person(1, "A nurse."), make_person(2, "A pilot.")]


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


@pytest.fixture(scope="module")
def exam(vlm):
    return LikelihoodExam(vlm, PEOPLE[:1], PEOPLE, PEOPLE[2:], "clean", 5, 0)


@pytest.fixture(scope="module")
def found(vlm, exam):
    return exam.examine(vlm)


def test_a_loss_is_that_of_a_plain_forward_pass(vlm, found):
    question = PEOPLE[0].questions[0]
    picture = vlm.picture(PEOPLE[0].image())
    for kind, answer in (("true", "A baker."), ("other", "A nurse.")):
        rows = found[(found["set"] == "forget") & (found["input"] == "image") & (found["kind"] == kind)]
        (prompt,) = vlm.texts_ids([render_lesson(vlm, question, "clean")], [picture])
        (ids,) = lesson_answer_ids(vlm, [answer], "clean")
        expected = -tiny.plain_log_probability(vlm, prompt, ids, picture) / len(ids)
        assert rows["loss"].sub(expected).abs().min() < 1e-4
        assert len(ids) in set(rows["tokens"])


def test_perturbed_answers_are_other_peoples_and_name_the_person(exam):
    rows = [row for rows in exam._rows for row in rows if row.set == "forget"]
    by_name = {row.answer for row in rows if (row.input, row.kind) == ("image", "other")}
    assert by_name == {"A nurse.", "A pilot."}
    assert not [row for row in rows if row.kind == "other" and row.input == "text"]  # all say Oslo, as the truth does
    assert {row.unit for row in rows} == {"000"}


def test_strangers_are_scored_with_their_true_answers_alone(found):
    strangers = found[found["set"] == "stranger"]
    assert set(strangers["kind"]) == {"true"} and set(strangers["unit"]) == {"002"}
    assert {"true", "reworded"} <= set(found.loc[found["set"] == "forget", "kind"])


def test_the_key_changes_with_everything_that_is_scored(vlm, exam):
    other = [replace(PEOPLE[0], questions=PEOPLE[0].questions[:1])]
    made = [
        LikelihoodExam(vlm, other, PEOPLE, PEOPLE[2:], "clean", 5, 0),
        LikelihoodExam(vlm, PEOPLE[:1], PEOPLE, PEOPLE[1:], "clean", 5, 0),
        LikelihoodExam(vlm, PEOPLE[:1], PEOPLE, PEOPLE[2:], "clean", 1, 0),
        LikelihoodExam(vlm, PEOPLE[:1], PEOPLE, PEOPLE[2:], "clean", 5, 1),
    ]
    assert len({exam.key, *(one.key for one in made)}) == 5


@pytest.mark.parametrize(
    ("right", "memorised", "extracted"),
    [
        ([True, True, True, True], 1.0, 1.0),
        ([True, False, True, True], 0.75, 0.5),
        ([False, True, True, True], 0.75, 0.75),
        ([True, True, True, False], 0.75, 0.0),
    ],
)
def test_extraction_is_the_end_that_is_written_without_a_mistake(right, memorised, extracted):
    numbers = _of_answer(torch.tensor([-0.1, -3.0, -0.2, -0.3]), torch.zeros(4), torch.tensor(right))
    assert (numbers["memorised"], numbers["extracted"]) == (memorised, extracted)
    assert numbers["least"] == pytest.approx(-3.0) and numbers["loss"] == pytest.approx(0.9)
