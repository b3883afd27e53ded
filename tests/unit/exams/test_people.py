import math
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd
import pytest
import tiny
import torch
from exams import BENCHMARK, GENERAL, looks, make_exam, write

from unsee.config.recipe import EvaluationConfig
from unsee.core.journal import Journal
from unsee.core.record import ANSWER_COLUMNS, METRIC_COLUMNS
from unsee.data.people.base import make_benchmark
from unsee.data.schema import Benchmark, Person, Question
from unsee.exams.people import Exam
from unsee.forward import generate as generating
from unsee.forward.generate import Group, generate
from unsee.forward.prompts import clean_question
from unsee.models.vlm import VLM

pytestmark = pytest.mark.slow

SHADES = {("forget", "001"): [0], ("test", "001"): [1, 2], ("general", "seeing-0"): [8]}
IDENTITY = ["set", "task", "input", "unit", "item", "question", "truth", "chance"]


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


@pytest.fixture(scope="module")
def answers(vlm):
    return make_exam(vlm).examine(vlm)


def test_every_question_is_asked_with_every_photo_and_once_by_name(answers):
    assert sorted(answers.columns) == sorted([*ANSWER_COLUMNS[3:], *METRIC_COLUMNS])
    counts = answers.groupby(["set", "input"]).size().to_dict()
    assert counts == {
        ("forget", "image"): 3, ("forget", "text"): 3, ("test", "image"): 6, ("test", "text"): 3,
        ("retain", "image"): 6, ("retain", "text"): 6, ("celebrity", "image"): 3, ("celebrity", "text"): 3,
        ("general", "image"): 1, ("general", "text"): 1,
    }  # fmt: skip
    assert answers["item"].is_unique
    assert "Taught?" not in set(answers["question"])


def test_the_same_exam_examines_another_model(vlm, answers):
    others = make_exam(vlm).examine(vlm.untrained())
    assert others[IDENTITY].equals(answers[IDENTITY])
    assert not others["probability"].equals(answers["probability"])


def test_a_prompt_group_becomes_tokens_once_for_all_models_and_again_for_another_system_prompt(
    vlm, monkeypatch, answers
):
    def counted(self, texts, pictures=()):
        made.append(texts)
        return texts_ids(self, texts, pictures)

    made, texts_ids, exam = [], VLM.texts_ids, make_exam(vlm)
    monkeypatch.setattr(VLM, "texts_ids", counted)
    exam.examine(tiny.make_vlm(seed=1))
    assert len(made) == len(exam.prompt_groups)
    assert all(len(set(texts)) == len(texts) for texts in made)
    made.clear()
    pd.testing.assert_frame_equal(exam.examine(vlm), answers, check_exact=True)
    assert not made
    exam.examine(vlm, system=tiny.SYSTEM)
    assert len(made) == len(exam.prompt_groups)
    assert all(tiny.SYSTEM in text for texts in made for text in texts)


def test_choices_and_probabilities_are_those_of_plain_forward_passes(vlm, answers):
    for _, row in answers[answers["set"].isin(["forget", "test", "general"])].iterrows():
        photos = SHADES[row["set"], row["unit"]] if row["input"] == "image" else []
        picture = tiny.picture_of(vlm, photos[int(row["item"][-1])]) if photos else None
        question = Question(
            task=row["task"], input=row["input"], question=row["question"], answer=row["truth"],
            options=tuple(row["options"]),
        )  # fmt: skip
        (prompt,) = vlm.prompt_ids([clean_question(question)], picture=picture)
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


def test_a_photo_is_looked_at_once(vlm):
    exam = make_exam(vlm)
    with looks(vlm) as seen:
        exam.examine(vlm)
    assert sum(seen) == 1 + 2 + 2 + 1 + 1


class Torn(Journal):
    """A journal of a process that is killed after so many answers."""

    def __init__(self, path, answers):
        super().__init__(path)
        self._left = answers

    def add(self, key, reply):
        if not self._left:
            raise InterruptedError
        self._left -= 1
        super().add(key, reply)


@pytest.mark.parametrize("answers_before", [0, 7, 20])
def test_a_killed_evaluation_goes_on_where_it_stopped(vlm, monkeypatch, tmp_path, answers_before):
    monkeypatch.setattr(generating, "BATCH_TOKENS", 300)
    path, exam = tmp_path / "journal", make_exam(vlm)
    with pytest.raises(InterruptedError):
        exam.examine(vlm, journal=Torn(path, answers_before))
    with looks(vlm) as whole:
        once = exam.examine(vlm)
    with looks(vlm) as rest:
        again = exam.examine(vlm, journal=Journal(path))
    pd.testing.assert_frame_equal(again, once, check_exact=True)
    assert (sum(rest) < sum(whole)) == (answers_before > 6)
    with looks(vlm) as none:
        exam.examine(vlm, journal=Journal(path))
    assert not none


def test_what_another_process_noted_is_not_asked_again(vlm, tmp_path):
    exam = make_exam(vlm)
    exam.examine(vlm, journal=Journal(tmp_path / "1"))
    with looks(vlm) as none:
        exam.examine(vlm, journal=Journal(tmp_path / "0", [tmp_path / "1"]))
    assert not none


def test_a_system_prompt_reaches_every_question(vlm, answers):
    told = make_exam(vlm).examine(vlm, system=tiny.SYSTEM)
    assert (told["probability"] != answers["probability"]).all()


@pytest.mark.parametrize(
    ("text", "parser", "answer"),
    [("B", "strict", "Bergen"), ("Bo", "strict", ""), ("Bo", "first_letter", "Bergen"), ("", "first_letter", "")],
)
def test_letters_are_read_by_the_parser_and_become_options(vlm, monkeypatch, text, parser, answer):
    write(monkeypatch, vlm.processor.tokenizer(text)["input_ids"])
    exam = Exam(vlm, Benchmark(**dict.fromkeys(("forget", "test", "retain", "celebrity"), ()), fingerprint=""),
                GENERAL, EvaluationConfig(choice="letter", parser=parser))  # fmt: skip
    rows = exam.examine(vlm)
    assert rows["answer"].tolist() == [answer] * 2
    assert rows["valid"].tolist() == [bool(answer)] * 2
    assert rows["accuracy"].tolist() == [float(answer == "Bergen"), 0.0]


def test_a_model_that_writes_nothing_gives_no_valid_answer(vlm, monkeypatch):
    write(monkeypatch, [])
    rows = make_exam(vlm).examine(vlm)
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
    make_exam(vlm).examine(vlm, name="target", progress=Bar())
    ((name, total, done),) = shown
    assert (name, done) == ("evaluate target", total)


def test_the_exam_changes_no_weight(vlm):
    before = vlm.fingerprint()
    make_exam(vlm).examine(vlm)
    assert vlm.fingerprint() == before
    assert all(parameter.grad is None for parameter in vlm.model.parameters())


def test_by_letter_the_letter_is_scored(vlm):
    exam = make_exam(vlm, EvaluationConfig(choice="letter", max_new_tokens=2))
    rows = exam.examine(vlm)
    row = rows[(rows["task"] == "classification") & (rows["input"] == "text")].iloc[0]
    question = next(q for q in BENCHMARK.forget[0].questions if q.options and q.input == "text")
    (prompt,) = vlm.prompt_ids([clean_question(question, "letter")])
    (letter,) = vlm.answer_ids(["A"])
    expected = tiny.plain_log_probability(vlm, prompt, letter)
    assert row["probability"] == pytest.approx(math.exp(expected / len(letter)), rel=1e-3)


def test_the_match_of_blanks_is_a_setting(vlm, monkeypatch):
    text = "It is Oslo, Norway, surely"
    write(monkeypatch, vlm.text_ids(text))
    for match, right in (("exact", 0), ("substring", 1)):
        rows = make_exam(vlm, EvaluationConfig(cloze_match=match)).examine(vlm)
        assert set(rows.loc[rows["task"] == "cloze", "accuracy"]) == {right}


def test_a_guard_speaks_in_the_models_place_and_knows_nothing(vlm, answers):
    found = make_exam(vlm).guarded(answers, lambda text: "I cannot say." if "cloze" in text or "Hair" in text else None)
    spoken = found["question"].str.contains("cloze") | found["question"].str.contains("Hair")
    assert found[~spoken].equals(answers[~spoken])
    assert (found.loc[spoken, "answer"] == "I cannot say.").all()
    assert not found.loc[spoken, ["accuracy", "probability"]].to_numpy().any()
    assert dict(found[spoken].groupby("task")["valid"].all()) == {"classification": False, "cloze": True}


def test_a_question_about_one_photo_is_asked_with_it_alone(vlm):
    def question(photo, answer):
        return Question(task="generation", input="image", question="What is shown?", answer=answer, photo=photo)

    asked = (question(1, "A lamp."), question(0, "A house."), question(None, "Something."))
    person = Person(id="1", name="Anna Berg", images=(tiny.png(0), tiny.png(1)), questions=asked)
    benchmark = make_benchmark(forget=[person], retain=[])
    groups = Exam(vlm, benchmark, (), EvaluationConfig()).prompt_groups
    shown = [({item.question.answer for item in group.items}, group.pictures[0]) for group in groups]
    assert [answers for answers, _ in shown] == [{"A house.", "Something."}, {"A lamp.", "Something."}]
    for shade, (_, picture) in enumerate(shown):
        assert torch.equal(picture.canvas, tiny.picture_of(vlm, shade).canvas)


def test_false_answers_are_scored_beside_the_truth(vlm):
    truth = Question(
        task="generation", input="text", question="Where does Anna Berg live?", answer="In Oslo.",
        paraphrase="Oslo.", perturbed=("In Lima.", "In Cork."), keywords=("Oslo",),
    )  # fmt: skip
    plain = replace(truth, perturbed=(), paraphrase="", keywords=())

    def answer(question):
        person = Person(id="1", name="Anna Berg", images=(tiny.png(),), questions=(question,))
        return Exam(vlm, make_benchmark(forget=[person], retain=[]), (), EvaluationConfig()).examine(vlm)

    found, without = answer(truth), answer(plain)
    assert found["probability"].tolist() == pytest.approx(without["probability"].tolist())
    (prompt,) = vlm.prompt_ids([clean_question(truth)])
    ids = vlm.answer_ids(["Oslo.", "In Lima.", "In Cork."])
    losses = [-tiny.plain_log_probability(vlm, prompt, each, None) / len(each) for each in ids]
    expected = max(0.0, 1 - math.exp(losses[0] - (losses[1] + losses[2]) / 2))
    assert found["truth_ratio"].tolist() == [pytest.approx(expected, abs=1e-4)]
    assert found["keyword_recall"].tolist() == [float("oslo" in found["answer"][0].casefold())]
    assert {"truth_ratio", "keyword_recall", "pair"}.isdisjoint(without.columns)
