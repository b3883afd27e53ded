import math
from contextlib import contextmanager

import pytest
import tiny

from unsee import evaluate
from unsee.config import EvaluationConfig
from unsee.data.general import GeneralItem
from unsee.data.schema import Benchmark, Person, Question
from unsee.evaluate import Exam
from unsee.generate import Group, generate
from unsee.prompts import ask
from unsee.record import ANSWER_COLUMNS

OPTIONS = ("Oslo, Norway", "Bergen", "A baker.", "Brown")
CONFIG = EvaluationConfig(max_new_tokens=5)
SHADES = {("forget", "001"): [0], ("test", "001"): [1, 2], ("general", "seeing-0"): [8]}
IDENTITY = ["set", "task", "input", "person", "item", "question", "truth", "chance"]


def make_person(id, *shades):
    asked = [
        Question(task=task, input=kind, question=f"{kind} {task}?", answer="Oslo, Norway", options=options)
        for kind in ("image", "text")
        for task, options in (("classification", OPTIONS), ("generation", ()), ("cloze", ()))
    ]
    taught = Question(task="train", input="image", question="Taught?", answer="Never asked.")
    return Person(id=id, name=f"Anna {id}", images=tuple(map(tiny.png, shades)), questions=(taught, *asked))


BENCHMARK = Benchmark(
    forget=(make_person("001", 0),),
    test=(make_person("001", 1, 2),),
    retain=(make_person("002", 3), make_person("003", 4), make_person("004", 5)),
    celebrity=(make_person("900", 6), make_person("901", 7)),
    fingerprint="",
)
GENERAL = [
    GeneralItem(id="reading-0", image=None, question="Anna has a cup. Who?", options=OPTIONS, answer="Bergen"),
    GeneralItem(id="seeing-0", image=tiny.png(8), question="Hair?", options=OPTIONS, answer="Brown"),
]


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


def make_exam(vlm, config=CONFIG):
    return Exam(vlm, BENCHMARK, GENERAL, config, retain_evaluated=2, celebrities_evaluated=1)


@pytest.fixture(scope="module")
def answers(vlm):
    return make_exam(vlm).sit(vlm)


def test_every_question_is_asked_with_every_photo_and_once_by_name(answers):
    assert sorted(answers.columns) == sorted(ANSWER_COLUMNS[3:])
    counts = answers.groupby(["set", "input"]).size().to_dict()
    assert counts == {
        ("forget", "image"): 3, ("forget", "text"): 3, ("test", "image"): 6, ("test", "text"): 3,
        ("retain", "image"): 6, ("retain", "text"): 6, ("celebrity", "image"): 3, ("celebrity", "text"): 3,
        ("general", "image"): 1, ("general", "text"): 1,
    }  # fmt: skip
    assert answers["item"].is_unique
    assert "Taught?" not in set(answers["question"])


def test_another_model_sits_the_same_exam(vlm, answers):
    others = make_exam(vlm).sit(vlm.untrained())
    assert others[IDENTITY].equals(answers[IDENTITY])
    assert not others["probability"].equals(answers["probability"])


def test_choices_and_probabilities_are_those_of_plain_forward_passes(vlm, answers):
    for _, row in answers[answers["set"].isin(["forget", "test", "general"])].iterrows():
        photos = SHADES[row["set"], row["person"]] if row["input"] == "image" else []
        picture = tiny.picture_of(vlm, photos[int(row["item"][-1])]) if photos else None
        question = Question(
            task=row["task"], input=row["input"], question=row["question"], answer=row["truth"],
            options=tuple(row["options"]),
        )  # fmt: skip
        (prompt,) = vlm.prompt_ids([ask(question)], picture=picture)
        texts = question.options or (question.answer,)
        ids = vlm.answer_ids(texts)
        scores = [tiny.plain_log_probability(vlm, prompt, answer, picture) for answer in ids]
        truth = texts.index(question.answer)
        assert row["probability"] == pytest.approx(math.exp(scores[truth] / len(ids[truth])), rel=1e-3)
        if question.options:
            assert row["answer"] == texts[max(range(4), key=scores.__getitem__)]
            assert row["accuracy"] == float(row["answer"] == question.answer)
        else:
            ((written,),) = generate(vlm, [Group.of([prompt], tiny.only(picture))], max_new_tokens=5)
            assert [row["answer"]] == vlm.decode([written])


def test_metrics_and_chance_are_given_where_they_are_defined(answers):
    for task, rows in answers.groupby("task"):
        assert rows["accuracy"].notna().all() == (task != "generation")
        assert rows["rouge_l"].notna().all() == (task == "generation")
        assert rows["probability"].between(0, 1).all()
        assert {0.25: "classification", 0.0: "cloze"}.get(rows["chance"].iloc[0], "generation") == task


@contextmanager
def looks(vlm):
    """The photos the vision tower sees meanwhile."""
    seen = []
    tower = vlm.model.get_submodule(vlm.layout.vision_tower)
    handle = tower.register_forward_hook(lambda module, inputs, output: seen.append(len(output[0])))
    try:
        yield seen
    finally:
        handle.remove()


def test_a_photo_is_looked_at_once_for_scoring_and_once_for_writing(vlm):
    exam = make_exam(vlm)
    with looks(vlm) as seen:
        exam.sit(vlm)
    photos, written = 1 + 2 + 2 + 1 + 1, 1 + 2 + 2 + 1
    assert sum(seen) == photos + written


def test_a_system_prompt_reaches_every_question(vlm, answers):
    told = make_exam(vlm).sit(vlm, system=tiny.SYSTEM)
    assert (told["probability"] != answers["probability"]).all()


@pytest.mark.parametrize(
    ("text", "answer", "valid"),
    [("B", "Bergen", True), (" (C).", "A baker.", True), ("A:", "Oslo, Norway", True)]
    + [(text, "", False) for text in ("", "E", "b", "AB", "The answer is B", "Bergen", "A or B")],
)
def test_letters_are_read_strictly(vlm, monkeypatch, text, answer, valid):
    def writes(vlm, groups, **options):
        return [[vlm.processor.tokenizer(text)["input_ids"]] * len(group.suffixes) for group in groups]

    monkeypatch.setattr(evaluate, "generate", writes)
    exam = Exam(vlm, Benchmark(**dict.fromkeys(("forget", "test", "retain", "celebrity"), ()), fingerprint=""),
                GENERAL, EvaluationConfig(choice="letter"))  # fmt: skip
    rows = exam.sit(vlm)
    assert rows["answer"].tolist() == [answer] * 2
    assert rows["valid"].tolist() == [valid] * 2
    assert rows["accuracy"].tolist() == [float(answer == "Bergen"), 0.0]


def test_a_model_that_writes_nothing_gives_no_valid_answer(vlm, monkeypatch):
    monkeypatch.setattr(evaluate, "generate", lambda vlm, groups, **o: [[[]] * len(g.suffixes) for g in groups])
    rows = make_exam(vlm).sit(vlm)
    assert rows["valid"].equals(rows["task"] == "classification")
    assert (rows.loc[~rows["valid"], ["accuracy", "rouge_l"]].fillna(0) == 0).all(axis=None)


def test_progress_ends_at_its_total(vlm):
    class Bar:
        @contextmanager
        def task(self, name, total):
            steps = []
            yield steps.append
            shown.append((name, total, sum(steps)))

    shown = []
    make_exam(vlm).sit(vlm, name="target", progress=Bar())
    ((name, total, done),) = shown
    assert (name, done) == ("evaluate target", total)


def test_the_exam_changes_no_weight(vlm):
    before = vlm.fingerprint()
    make_exam(vlm).sit(vlm)
    assert vlm.fingerprint() == before
    assert all(parameter.grad is None for parameter in vlm.model.parameters())
