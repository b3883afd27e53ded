"""What a model is asked in a deletion request: every row, in every other way, and about strangers."""

import pytest
import tiny

from unsee.config.recipe import EvaluationConfig
from unsee.data.deletion import Fact, Request
from unsee.exams.deletion import NUM_STRANGERS, DeletionExam
from unsee.exams.metrics import make_metrics

NAME = "Ann Bee"
FACTS = (
    Fact(1, 1, NAME, "Where was this person born?", "Oslo.", tiny.png(1)),
    Fact(1, 3, NAME, "What is the car of Ann Bee?", "A van.", None),
    Fact(2, 4, "Bo Cole", "Where does Bo live?", "In Bergen.", None),
)
KEPT = (Fact(3, 1, "Cy Dunn", "Where was this person born?", "Rome.", tiny.png(2)),)


@pytest.fixture(scope="module")
def exam():
    vlm = tiny.make_vlm()
    config = EvaluationConfig(max_new_tokens=2)
    metrics = make_metrics(config, {})
    return vlm, DeletionExam(vlm, Request((), (), "rows", FACTS, KEPT), (), config, metrics)


@pytest.fixture(scope="module")
def before(exam):
    vlm, asked = exam
    return asked.named(asked.before.examine(vlm))


def questions(answers, set_name, person):
    rows = answers[(answers["set"] == set_name) & answers["unit"].str.startswith(person)]
    return list(zip(rows["input"], rows["question"], strict=True))


def test_rows_are_asked_as_written_and_by_name(before):
    assert questions(before, "forget", "001-0001") == [
        ("image", "Where was this person born?"), ("text", "Where was Ann Bee born?"),
    ]  # fmt: skip
    assert questions(before, "forget", "001-0003") == [("text", "What is the car of Ann Bee?")]
    assert len(questions(before, "retain", "003")) == 2


def test_rows_are_asked_in_other_words_and_with_a_photo_of_the_person(before):
    born = questions(before, "test", "001-0001")
    assert ("image", "Where was this person born?") in born  # with a disturbed copy of the photo
    assert ("image", "What is this person's place of birth?") in born and len(born) == 5
    assert ("text", "What is Ann Bee's place of birth?") in born
    assert questions(before, "test", "001-0003") == [
        ("image", "What is the car of this person?"), ("text", "What is Ann Bee's car?"),
        ("text", "Please tell me: What is the car of Ann Bee?"),
    ]  # fmt: skip
    assert {kind for kind, _ in questions(before, "test", "002")} == {"text"}  # there is no photo of Bo Cole


def test_strangers_are_asked_the_same_in_place_of_the_person(exam, before):
    strange = before[before["set"] == "stranger"]
    asked = before[before["set"].isin(["forget", "test"])]
    like = asked.assign(item=asked["item"].str.split("/").str[:3].str.join("/"))
    assert set(strange["unit"]) == set(like["item"])
    assert (strange["unit"].value_counts() == NUM_STRANGERS).all()
    joined = strange.merge(like, left_on="unit", right_on="item", suffixes=("", "_like"))
    assert (joined["input"] == joined["input_like"]).all() and (joined["truth"] == joined["truth_like"]).all()
    by_name = joined[joined["input"] == "text"]
    assert (by_name["question"] != by_name["question_like"]).all()
    assert not by_name["question"].str.contains("Ann|Bee|Bo |Cole|Dunn").any()


def test_after_unlearning_the_same_is_asked_but_of_strangers(exam, before):
    vlm, asked = exam
    after = asked.named(asked.after.examine(vlm))
    assert set(after["item"]) == set(before.loc[before["set"] != "stranger", "item"])
    assert asked.after.key != asked.before.key
