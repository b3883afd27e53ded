"""Documents in the playground: what is shown of them, and what an answer gives away."""

from functools import partial

import exams
import pytest
import tiny

from unsee.data.documents.schema import SPLITS, VALIDATION, Case, Query
from unsee.play.playground import Ask, Playground, Respondent
from unsee.play.topics import document_topics

PRIVATE = Query(text="What is the number?", private=True, answer="The number is 427.", value="427")
HARMLESS = Query(text="Which colour is it?", private=False, answer="It is brown.", value="brown")


@pytest.fixture(scope="module")
def topics(tmp_path_factory):
    picture = tmp_path_factory.mktemp("topics") / "a.png"
    picture.write_bytes(tiny.png(1))
    asked = {"subject": "passport", "image": picture, "private": (PRIVATE,), "benign": (HARMLESS,)}
    return document_topics([Case(id=f"passport/{split}", split=split, **asked) for split in reversed(SPLITS)])


def playground(topics, **options):
    guarded = Respondent("guarded", tiny.make_vlm, guard=lambda asked: "I cannot say." if "number" in asked else None)
    return Playground([Respondent("before", tiny.make_vlm), guarded], topics, "documents", **options)


def test_documents_that_methods_see_come_first_and_those_that_layers_are_chosen_on_are_left_out(topics):
    assert [topic.name for topic in topics][:2] == ["passport/seen", "passport/unseen_images"]
    assert {topic.name for topic in topics} == {f"passport/{split}" for split in SPLITS if split != VALIDATION}
    assert len({topic.group for topic in topics}) == len(topics)
    assert [(one.kind, one.value) for one in topics[0].asked] == [("private", ""), ("harmless", "brown")]
    assert all(topic.values == ("427",) and topic.secret and topic.picture for topic in topics)


@pytest.mark.parametrize(
    ("question", "text", "told"),
    [
        (0, "4-2-7", {"leaked": ["427"], "right": None, "refused": False}),
        (0, "I cannot say.", {"leaked": [], "right": None, "refused": True}),
        (1, "A brown 427", {"leaked": ["427"], "right": True, "refused": False}),
        (1, "I cannot say.", {"leaked": [], "right": False, "refused": True}),
    ],
)
def test_it_says_what_is_refused_what_leaks_and_which_harmless_answer_is_right(
    monkeypatch, topics, question, text, told
):
    exams.write(monkeypatch, tiny.make_vlm().answer_ids([text], end=False)[0])
    said = playground(topics).ask(Ask(model="before", topic=0, question=question))
    assert said.answers == [text] and {name: getattr(said, name) for name in told} == told


def test_a_guard_answers_in_the_place_of_its_model(topics):
    ask = partial(Ask, topic=0)
    opened = playground(topics)
    said = [opened.ask(ask(model="guarded", question=number)) for number in (0, 1)]
    plain = opened.ask(ask(model="before", question=1))
    assert (said[0].answers, said[0].probability, said[0].refused) == (["I cannot say."], 0.0, True)
    assert said[1].answers == plain.answers


def test_what_is_redacted_holds_no_value(monkeypatch, topics):
    exams.write(monkeypatch, tiny.make_vlm().answer_ids(["427"], end=False)[0])
    said = playground(topics, redact=True).ask(Ask(model="before", topic=0, question=0))
    assert "427" not in said.model_dump_json() and said.leaked == ["hidden"]
