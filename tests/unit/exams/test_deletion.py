"""What a model is asked in a deletion request: every row, in every other way, and about strangers."""

import pandas as pd
import pytest
import tiny

from unsee.config.recipe import EvaluationConfig
from unsee.data.deletion import Fact, Request
from unsee.data.people.questions import training_text
from unsee.exams.deletion import NUM_STRANGERS, DeletionExam
from unsee.exams.metrics import make_metrics
from unsee.scoring.deletion import given_to_strangers, with_values

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


def training_people(exam, before, given=None):
    strangers = before[before["set"] == "stranger"]
    given = given_to_strangers(exam.values, strangers) if given is None else given
    return exam.training_people(with_values(before, exam.values, strangers), given)


def test_rows_are_asked_with_the_photo_and_by_name_as_written_and_in_other_words(before):
    assert questions(before, "forget", "001-0001") == [
        ("image", "Where was this person born?"), ("image", "What is this person's birthplace?"),
        ("image", "In which city was this person born?"), ("text", "Where was Ann Bee born?"),
        ("text", "What is Ann Bee's birthplace?"), ("text", "In which city was Ann Bee born?"),
    ]  # fmt: skip
    car = questions(before, "forget", "001-0003")
    assert car[0] == ("image", "What is the car of this person?")  # with the photo of another row
    assert ("text", "What is the car of Ann Bee?") in car
    assert {kind for kind, _ in questions(before, "forget", "002")} == {"text"}  # there is no photo of Bo Cole
    assert len(questions(before, "retain", "003")) == 2


def test_rows_are_asked_with_a_disturbed_photo_and_in_words_that_training_does_not_see(exam, before):
    born = questions(before, "test", "001-0001")
    assert born[0] == ("image", "Where was this person born?")
    assert ("text", "What is Ann Bee's place of birth?") in born
    _, asked = exam
    trained, _, _ = training_people(asked, before)
    seen = {question.question for person in trained for question in training_text(person)}
    held_out = {text for _, text in questions(before, "test", "00")}
    assert held_out & seen == {"Where was this person born?", "What is the car of this person?"}  # with another photo
    assert len(held_out - seen) >= 6


def test_training_text_is_the_rows_and_what_the_model_says_itself(exam, before):
    _, asked = exam
    own = before.assign(answer=before["answer"].mask(before["item"].str.contains("001-0003/01"), "Ann drives a van."))
    own["answer"] = own["answer"].mask(own["item"].str.startswith("retain"), "He was born in Rome.")
    forget, retain, _ = training_people(asked, own)
    said = {question.answer for person in forget for question in person.questions}
    assert {"Oslo.", "A van.", "In Bergen.", "Ann drives a van."} <= said
    assert {question.answer for person in retain for question in person.questions} == {"He was born in Rome."}
    assert {person.id.partition("-")[0] for person in forget} == {"001", "002"}
    assert all(bool(person.images) == (person.questions[0].input == "image") for person in (*forget, *retain))
    texts = [question for person in forget for question in training_text(person)]
    assert len(texts) == len(set(texts))


def test_the_stand_in_of_a_row_is_a_stranger_who_does_not_get_its_value(exam, before):
    _, asked = exam
    rows = ["001-0001", "001-0003", "002-0004"]
    given = pd.DataFrame(3, index=rows, columns=[f"s{number:02}" for number in range(NUM_STRANGERS)])
    given["s03"], given["s07"], given["s05"] = [0, 1, 0], [3, 0, 1], [3, 3, 0]
    forget, _, stand_ins = training_people(asked, before, given)
    found = {
        question.answer: stand_ins[person.id].id
        for person in forget for question in person.questions if question.answer in ("Oslo.", "A van.", "In Bergen.")
    }  # fmt: skip
    assert found == {"Oslo.": "s03", "A van.": "s07", "In Bergen.": "s05"}  # nobody stands in for two, if possible


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
