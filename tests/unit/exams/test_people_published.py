from dataclasses import replace

import pytest
import tiny
import torch
from exams import GENERAL, looks, make_person

from unsee.config.recipe import EvaluationConfig
from unsee.core.errors import ConfigError, ModelError
from unsee.core.record import ANSWER_COLUMNS, METRIC_COLUMNS
from unsee.data.schema import LETTERS, Benchmark
from unsee.exams.people import Exam
from unsee.exams.plan import ExamPlan
from unsee.forward.prompts import answer_ids, render

pytestmark = pytest.mark.slow

CONFIG = EvaluationConfig(max_new_tokens=5)
PEOPLE = tuple(make_person(f"{number:03}", number) for number in range(1, 7))
CROWD = Benchmark(
    forget=PEOPLE[:3],
    test=tuple(replace(person, images=tuple(map(tiny.png, (20, 21, 22)))) for person in PEOPLE[:3]),
    retain=PEOPLE[3:],
    celebrity=(make_person("900", 9),),
    fingerprint="",
)


def published_exam(vlm, **keys):
    config = EvaluationConfig(protocol="published", cloze_shots=1, max_new_tokens=3, **keys)
    return Exam(vlm, CROWD, GENERAL, config)


def shown(exam, set_name, task, kind="image"):
    """The prompt groups of one cell."""
    return [
        group for group in exam.prompt_groups
        if {(item.set, item.question.task, item.question.input) for item in group.items} == {(set_name, task, kind)}
    ]  # fmt: skip


@pytest.mark.parametrize("task", ["classification", "cloze"])
@pytest.mark.parametrize("set_name", ["forget", "test", "retain"])
def test_a_person_shown_as_example_is_not_asked_and_everybody_else_is(vlm, set_name, task):
    exam = published_exam(vlm)
    for kind in ("image", "text"):
        groups = shown(exam, set_name, task, kind)
        assert len(groups) == 2  # of three people
        assert all(len(group.shots) == 1 for group in groups)
        assert all(len(group.pictures) == (2 if kind == "image" else 0) for group in groups)
        assert all((shot.task, shot.input) == (task, kind) for group in groups for shot in group.shots)
    assert len(shown(exam, set_name, "generation")) == 3
    assert not any(group.shots for group in shown(exam, set_name, "generation"))


def test_celebrities_and_general_questions_are_asked_without_examples(vlm):
    for group in published_exam(vlm).prompt_groups:
        if group.items[0].set in ("celebrity", "general"):
            assert not group.shots


def test_examples_from_the_retain_set_leave_every_forget_person_to_be_asked(vlm):
    exam = published_exam(vlm, shots_from="retain")
    assert len(shown(exam, "forget", "classification")) == len(shown(exam, "test", "cloze")) == 3
    assert len(shown(exam, "retain", "classification")) == 2


def test_all_questions_of_an_example_or_the_first_are_shown(vlm):
    twice = replace(PEOPLE[0], questions=PEOPLE[0].questions * 2)
    crowd = replace(CROWD, forget=(twice, twice, PEOPLE[2]), test=())
    for which, count in (("all", 2), ("first", 1)):
        config = EvaluationConfig(protocol="published", cloze_shots=0, shot_questions=which, seed=1)
        exam = Exam(vlm, replace(crowd, forget=tuple(replace(twice, id=id) for id in "abc")), [], config)
        assert {len(group.shots) for group in shown(exam, "forget", "classification", "text")} == {count}
        assert {len(group.pictures) for group in shown(exam, "forget", "classification")} == {count + 1}


def test_examples_and_photos_are_drawn_from_the_seed_and_for_each_task(vlm):
    def drawn(seed):
        exam = published_exam(vlm, seed=seed)
        return [(item.id, group.shots) for group in exam.prompt_groups for item in group.items]

    assert drawn(0) == drawn(0)
    draws = [drawn(seed) for seed in range(4)]
    assert len({tuple(draw) for draw in draws}) > 1
    photos = {id.rpartition("/")[2] for draw in draws for id, _ in draw if id.startswith("test/") and "image" in id}
    assert photos == {"0", "1", "2"}
    one = [id for id, _ in draws[0] if id.startswith("test/001") and "generation-image" in id]
    assert len(one) == 1


@pytest.mark.parametrize("shots_from", ["evaluated", "retain"])
def test_shots_are_shown_in_the_order_of_the_full_set(vlm, shots_from):
    crowd = replace(CROWD, forget=tuple(make_person(f"{number:03}", number) for number in range(10, 16)))
    crowd = replace(crowd, retain=tuple(make_person(f"{number:03}", number) for number in (9, 3, 7, 1, 5)), test=())
    pairs = set()
    for seed in range(6):
        config = EvaluationConfig(protocol="published", seed=seed, shots_from=shots_from)
        pairs.add(tuple(person.id for person in ExamPlan(vlm, config, crowd)._shots("forget", "cloze", crowd.forget)))
    assert len(pairs) > 1
    assert all(pair == tuple(sorted(pair)) for pair in pairs)


@pytest.mark.parametrize("protocol", ["published", "clean"])
def test_what_follows_a_second_turn_is_no_part_of_an_answer(vlm, monkeypatch, protocol):
    said = "Oslo, Norway ASSISTANT: and more"
    monkeypatch.setattr(type(vlm), "decode", lambda self, rows: [said] * len(rows))
    keys = {"cloze_shots": 1} if protocol == "published" else {}
    crowd = replace(CROWD, test=(), retain=(), celebrity=())
    answers = Exam(vlm, crowd, [], EvaluationConfig(protocol=protocol, max_new_tokens=1, **keys)).examine(vlm)
    written = set(answers.loc[answers["task"] != "classification", "answer"])
    assert written == {"Oslo, Norway" if protocol == "published" else said}


def test_an_exam_of_the_published_protocol_runs(vlm):
    answers = published_exam(vlm).examine(vlm)
    assert sorted(answers.columns) == sorted([*ANSWER_COLUMNS[3:], *METRIC_COLUMNS])
    counts = answers[answers["set"] == "forget"].groupby("task").size().to_dict()
    assert counts == {"classification": 4, "cloze": 4, "generation": 6}
    choices = answers[answers["task"] == "classification"]
    assert (choices["valid"] == (choices["answer"] != "")).all()
    assert answers["item"].is_unique


def letter_or_truth(question):
    return LETTERS[question.options.index(question.answer)] if question.options else question.answer


def test_the_photos_of_shots_are_looked_at_once_for_all_who_are_asked_after_them(vlm):
    exam = published_exam(vlm)
    alike = {}
    for group in exam.prompt_groups:
        if group.pictures:
            alike.setdefault((group.shots, group.pictures[:-1]), []).append(group.pictures[-1])
    with looks(vlm) as seen:
        exam.examine(vlm)
    assert len(alike) > 1
    own = [1 if len(set(photos)) == 1 else len(photos) for photos in alike.values()]
    assert sum(seen) == sum(own) + sum(len(shots) for _, shots in alike)


def test_a_photo_is_prepared_once_for_all_sheets_that_show_it(vlm, monkeypatch):
    prepared = []
    monkeypatch.setattr(type(vlm), "picture", lambda self, image: prepared.append(image) or self.family.picture(image))
    published_exam(vlm)
    assert len({image.tobytes() for image in prepared}) == len(prepared)


def test_after_shots_the_numbers_are_those_of_plain_forward_passes(vlm):
    exam = published_exam(vlm)
    rows = exam.examine(vlm).set_index("item")
    config = EvaluationConfig(protocol="published", cloze_shots=1, max_new_tokens=3)
    for group in (group for group in exam.prompt_groups if group.shots):
        for item in group.items:
            text = render(vlm, item.question, config, shots=group.shots)
            row, ids = rows.loc[item.id], vlm.text_ids(text, group.pictures)
            (answer,) = answer_ids(vlm, [letter_or_truth(item.question)], "published")
            pixels = [picture.inputs["pixel_values"] for picture in group.pictures]
            seen = {"pixel_values": torch.cat(pixels)} if pixels else {}
            with torch.no_grad():
                logits_TV = vlm.model(input_ids=torch.tensor([ids + answer]), **seen).logits[0, len(ids) - 1 : -1]
            expected = logits_TV.log_softmax(-1)[range(len(answer)), answer].mean().exp()
            assert row["probability"] == pytest.approx(float(expected), rel=1e-4)


def test_a_prompt_longer_than_the_context_is_said_before_anything_is_computed(monkeypatch):
    short = tiny.make_vlm()
    short.model.config.text_config.max_position_embeddings = 200
    with looks(short) as seen, pytest.raises(ModelError, match=r"with 2 images; .*; use fewer shots"):
        published_exam(short).examine(short)
    assert not seen


def test_examples_that_leave_nobody_to_ask_are_refused(vlm):
    with pytest.raises(ConfigError, match=r"everybody in the forget set serves as a shot \(cloze\)"):
        Exam(vlm, CROWD, [], EvaluationConfig(protocol="published", cloze_shots=3))


def test_every_sentence_has_the_floor_of_its_set(vlm):
    rows = Exam(vlm, CROWD, [], CONFIG).examine(vlm)
    assert rows["floor"].notna().equals((rows["task"] == "generation") & (rows["set"] != "celebrity"))
    assert set(rows["floor"].dropna()) == {1.0}  # everybody has the same answer here


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()
