"""Several models, one question: what each says, and what it gives away."""

import base64
from functools import partial

import exams
import pytest
import tiny

from unsee.core.errors import DataError, UnseeError
from unsee.data.images import encode_png
from unsee.play.playground import PLAIN, Ask, Playground, Respondent
from unsee.play.topics import people_topics

MODELS = [Respondent(name=name, load=partial(tiny.make_vlm, seed)) for seed, name in enumerate(("one", "two"))]
PICTURE = f"data:image/png;base64,{base64.b64encode(encode_png(tiny.photo(9))).decode()}"


def make(**options):
    topics, retain = people_topics(exams.BENCHMARK), exams.BENCHMARK.retain
    return Playground(MODELS, topics, retain=retain, max_new_tokens=4, **options)


@pytest.fixture(scope="module")
def playground():
    return make()


def asked(playground, task, kind):
    """The first person, and a question of this kind about that person."""
    questions = [prepared.question for prepared in playground.topics[0].asked]
    return {"topic": 0, "question": next(i for i, q in enumerate(questions) if (q.task, q.input) == (task, kind))}


def say(monkeypatch, text):
    """Let every model write this."""
    ids = tiny.make_vlm().answer_ids([text], end=False)[0]
    exams.write(monkeypatch, ids)


def test_everybody_is_there_with_the_questions_of_the_test_set(playground):
    groups = ["to forget", *["to keep"] * 3, *["known before"] * 2]
    assert [(one.group, one.secret) for one in playground.topics] == [(name, name == groups[0]) for name in groups]
    assert {prepared.group for prepared in playground.topics[0].asked} == {"as taught", "other photos and words"}
    assert not any(one.question.task == "train" for person in playground.topics for one in person.asked)


@pytest.mark.parametrize("task", ["classification", "generation", "cloze"])
@pytest.mark.parametrize("kind", ["image", "text"])
def test_models_answer_a_question_of_the_data_each_in_its_way(playground, task, kind):
    own = asked(playground, task, kind)
    said = [playground.ask(Ask(model=one.name, **own)) for one in MODELS]
    assert all(len(one.answers) == 1 and 0 <= one.probability <= 1 for one in said)
    assert said[0].probability != said[1].probability
    assert (said[0].right is None) == (task == "generation")


def test_another_photo_stands_in_for_that_of_the_question(playground):
    own, by_name = asked(playground, "cloze", "image"), asked(playground, "cloze", "text")
    plain, other = (playground.ask(Ask(model="one", picture=picture, **own)) for picture in ("", PICTURE))
    assert plain.probability != other.probability
    plain, other = (playground.ask(Ask(model="one", picture=picture, **by_name)) for picture in ("", PICTURE))
    assert plain.probability == other.probability


def test_a_question_in_own_words_has_no_truth(playground):
    said = playground.ask(Ask(model="one", text="Who is it?"))
    assert (said.probability, said.right) == (None, None)


def test_a_question_that_is_too_long_is_told_to_be_shorter(playground, monkeypatch):
    monkeypatch.setattr(type(playground._model("one")), "room", lambda vlm, most: 20)
    with pytest.raises(DataError, match="the question is too long for one; make it shorter"):
        playground.ask(Ask(model="one", text="Who is it? " * 30))


def test_the_photo_that_is_shown_decides_what_is_seen(playground):
    vlm = playground._model("one")
    seen = []
    for options in ({}, {"topic": 0, "shown": True}, {"topic": 0, "picture": PICTURE}):
        with exams.looks(vlm) as looks:
            playground.ask(Ask(model="one", text="Who is it?", **options))
        seen.append(len(looks))
    assert seen == [0, 1, 1]


@pytest.mark.parametrize(
    ("text", "refused", "leaked"),
    [("Oslo, Norway", False, ["Oslo, Norway"]), ("I cannot say.", True, []), ("Bergen", False, [])],
)
def test_it_says_what_is_refused_and_what_is_given_away(monkeypatch, text, refused, leaked):
    playground = make()
    say(monkeypatch, text)
    said = playground.ask(Ask(model="one", topic=0, text="Where was she born?"))
    assert (said.answers, said.refused, said.leaked) == ([text], refused, leaked)


def test_a_value_that_the_question_holds_is_not_given_away(monkeypatch):
    playground = make()
    say(monkeypatch, "Oslo, Norway")
    assert not playground.ask(Ask(model="one", topic=0, text="Is it Oslo, Norway?")).leaked


def test_every_attack_that_asks_is_a_way(playground):
    own = asked(playground, "generation", "image")
    for way, *_ in playground.ways:
        said = playground.ask(Ask(model="one", way=way, **own))
        assert len(said.answers) == (10 if "best of" in way else 1)
    assert playground.ways[0] == (PLAIN, False, False)
    assert {way.partition(":")[0] for way, *_ in playground.ways[1:]} == {"picture", "prompt", "sample"}


def test_it_says_how_an_attack_put_the_question(playground):
    put = {
        way: playground.ask(Ask(model="one", text="Who is it?", way=way)).put
        for way, picture, _ in playground.ways
        if not picture
    }
    assert (
        put[PLAIN] == "" and put["prompt: role"].startswith("system: ") and "model begins: " in put["prompt: opening"]
    )
    assert put["prompt: claim"].count("Who is it?") == 2 and put["prompt: examples"].count("user: ") == 3
    assert not make(redact=True).ask(Ask(model="one", text="Who is it?", way="prompt: role")).put


def test_a_system_prompt_of_a_model_comes_before_every_question():
    plain, told = (
        Respondent(name=name, load=tiny.make_vlm, system=system) for name, system in (("a", None), ("b", tiny.SYSTEM))
    )
    playground = Playground([plain, told], people_topics(exams.BENCHMARK))
    own = asked(playground, "cloze", "text")
    assert playground.ask(Ask(model="a", **own)).probability != playground.ask(Ask(model="b", **own)).probability


def test_what_is_redacted_holds_no_text_of_an_answer(monkeypatch):
    playground = make(redact=True)
    say(monkeypatch, "Oslo, Norway")
    said = playground.ask(Ask(model="one", **asked(playground, "cloze", "text")))
    assert "Oslo" not in said.model_dump_json() and said.right and len(said.leaked) == 1


def test_models_that_do_not_fit_are_loaded_in_turn(monkeypatch):
    loads = []
    models = [Respondent(name=name, load=lambda name=name: (loads.append(name), tiny.make_vlm())[1]) for name in "abc"]
    playground = Playground(models)
    for name in "abab":
        playground.ask(Ask(model=name, text="Hi"))
    assert loads == ["a", "b"]
    monkeypatch.setattr("unsee.play.playground.psutil.virtual_memory", lambda: type("Memory", (), {"available": 0}))
    for name in "cac":
        playground.ask(Ask(model=name, text="Hi"))
    assert loads == ["a", "b", "c", "a", "c"]


BAD = {
    "a model that is not there": ({"model": "oen", "text": "Hi"}, "one"),
    "nothing": ({"model": "one", "text": " "}, "nothing is asked"),
    "nobody": ({"model": "one", "topic": 99, "text": "Hi"}, "topic"),
    "no question": ({"model": "one", "topic": 0, "question": -1}, "question"),
    "no way": ({"model": "one", "text": "Hi", "way": "prompt: rolle"}, "role"),
    "noise without a picture": ({"model": "one", "text": "Hi", "way": "picture: noise"}, "picture"),
    "no picture": ({"model": "one", "text": "Hi", "picture": "data:image/png;base64,AAAA"}, "picture"),
    "no data URI": ({"model": "one", "text": "Hi", "picture": "http://a/b.png"}, "picture"),
    "no base64": ({"model": "one", "text": "Hi", "picture": "data:image/png;base64,%%"}, "picture"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_asked_is_one_sentence(playground, case):
    wanted, told = BAD[case]
    with pytest.raises(UnseeError, match=told) as caught:
        playground.ask(Ask(**wanted))
    assert "\n" not in str(caught.value)


def test_ten_answers_to_a_choice_need_words(playground):
    with pytest.raises(UnseeError, match="in words"):
        playground.ask(Ask(model="one", way="sample: best of 10", **asked(playground, "classification", "text")))
