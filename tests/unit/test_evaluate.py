import math
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd
import pytest
import tiny
import torch

from unsee import generate as generating
from unsee.config import EvaluationConfig
from unsee.data.general import GeneralItem
from unsee.data.schema import LETTERS, Benchmark, Person, Question
from unsee.errors import ConfigError, ModelError
from unsee.evaluate import Exam
from unsee.generate import Group, generate
from unsee.journal import Journal
from unsee.models.vlm import VLM
from unsee.prompts import answer_ids, ask, render
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


def test_a_sheet_becomes_tokens_once_for_all_models_and_again_for_another_system_prompt(vlm, monkeypatch, answers):
    def counted(self, texts, pictures=()):
        made.append(texts)
        return texts_ids(self, texts, pictures)

    made, texts_ids, exam = [], VLM.texts_ids, make_exam(vlm)
    monkeypatch.setattr(VLM, "texts_ids", counted)
    exam.sit(tiny.make_vlm(seed=1))
    assert len(made) == len(exam.sheets)
    assert all(len(set(texts)) == len(texts) for texts in made)
    made.clear()
    pd.testing.assert_frame_equal(exam.sit(vlm), answers, check_exact=True)
    assert not made
    exam.sit(vlm, system=tiny.SYSTEM)
    assert len(made) == len(exam.sheets)
    assert all(tiny.SYSTEM in text for texts in made for text in texts)


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


def write(monkeypatch, tokens):
    """Let every model write this."""
    monkeypatch.setattr(generating._Writing, "run", lambda self, max_new_tokens: [tokens] * len(self._row_Q))


def test_a_photo_is_looked_at_once(vlm):
    exam = make_exam(vlm)
    with looks(vlm) as seen:
        exam.sit(vlm)
    assert sum(seen) == 1 + 2 + 2 + 1 + 1


def test_the_photos_of_shots_are_looked_at_once_for_all_who_are_asked_after_them(vlm):
    exam = published_exam(vlm)
    alike = {}
    for sheet in exam.sheets:
        if sheet.pictures:
            alike.setdefault((sheet.shots, sheet.pictures[:-1]), []).append(sheet.pictures[-1])
    with looks(vlm) as seen:
        exam.sit(vlm)
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
    rows = exam.sit(vlm).set_index("item")
    config = EvaluationConfig(protocol="published", cloze_shots=1, max_new_tokens=3)
    for sheet in (sheet for sheet in exam.sheets if sheet.shots):
        for item in sheet.items:
            text = render(vlm, item.question, config, shots=sheet.shots)
            row, ids = rows.loc[item.id], vlm.text_ids(text, sheet.pictures)
            (answer,) = answer_ids(vlm, [letter_or_truth(item.question)], "published")
            pixels = [picture.inputs["pixel_values"] for picture in sheet.pictures]
            seen = {"pixel_values": torch.cat(pixels)} if pixels else {}
            with torch.no_grad():
                logits_TV = vlm.model(input_ids=torch.tensor([ids + answer]), **seen).logits[0, len(ids) - 1 : -1]
            expected = logits_TV.log_softmax(-1)[range(len(answer)), answer].mean().exp()
            assert row["probability"] == pytest.approx(float(expected), rel=1e-4)


def letter_or_truth(question):
    return LETTERS[question.options.index(question.answer)] if question.options else question.answer


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
        exam.sit(vlm, journal=Torn(path, answers_before))
    with looks(vlm) as whole:
        once = exam.sit(vlm)
    with looks(vlm) as rest:
        again = exam.sit(vlm, journal=Journal(path))
    pd.testing.assert_frame_equal(again, once, check_exact=True)
    assert (sum(rest) < sum(whole)) == (answers_before > 6)
    with looks(vlm) as none:
        exam.sit(vlm, journal=Journal(path))
    assert not none


def test_what_another_process_noted_is_not_asked_again(vlm, tmp_path):
    exam = make_exam(vlm)
    exam.sit(vlm, journal=Journal(tmp_path / "1"))
    with looks(vlm) as none:
        exam.sit(vlm, journal=Journal(tmp_path / "0", [tmp_path / "1"]))
    assert not none


def test_a_system_prompt_reaches_every_question(vlm, answers):
    told = make_exam(vlm).sit(vlm, system=tiny.SYSTEM)
    assert (told["probability"] != answers["probability"]).all()


@pytest.mark.parametrize(
    ("text", "parser", "answer"),
    [("B", "strict", "Bergen"), ("Bo", "strict", ""), ("Bo", "first_letter", "Bergen"), ("", "first_letter", "")],
)
def test_letters_are_read_by_the_parser_and_become_options(vlm, monkeypatch, text, parser, answer):
    write(monkeypatch, vlm.processor.tokenizer(text)["input_ids"])
    exam = Exam(vlm, Benchmark(**dict.fromkeys(("forget", "test", "retain", "celebrity"), ()), fingerprint=""),
                GENERAL, EvaluationConfig(choice="letter", parser=parser))  # fmt: skip
    rows = exam.sit(vlm)
    assert rows["answer"].tolist() == [answer] * 2
    assert rows["valid"].tolist() == [bool(answer)] * 2
    assert rows["accuracy"].tolist() == [float(answer == "Bergen"), 0.0]


def test_a_model_that_writes_nothing_gives_no_valid_answer(vlm, monkeypatch):
    write(monkeypatch, [])
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
    """The sheets of one cell."""
    return [
        sheet for sheet in exam.sheets
        if {(item.set, item.question.task, item.question.input) for item in sheet.items} == {(set_name, task, kind)}
    ]  # fmt: skip


@pytest.mark.parametrize("task", ["classification", "cloze"])
@pytest.mark.parametrize("set_name", ["forget", "test", "retain"])
def test_a_person_shown_as_example_is_not_asked_and_everybody_else_is(vlm, set_name, task):
    exam = published_exam(vlm)
    for kind in ("image", "text"):
        sheets = shown(exam, set_name, task, kind)
        assert len(sheets) == 2  # of three people
        assert all(len(sheet.shots) == 1 for sheet in sheets)
        assert all(len(sheet.pictures) == (2 if kind == "image" else 0) for sheet in sheets)
        assert all((shot.task, shot.input) == (task, kind) for sheet in sheets for shot in sheet.shots)
    assert len(shown(exam, set_name, "generation")) == 3
    assert not any(sheet.shots for sheet in shown(exam, set_name, "generation"))


def test_celebrities_and_general_questions_are_asked_without_examples(vlm):
    for sheet in published_exam(vlm).sheets:
        if sheet.items[0].set in ("celebrity", "general"):
            assert not sheet.shots


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
        assert {len(sheet.shots) for sheet in shown(exam, "forget", "classification", "text")} == {count}
        assert {len(sheet.pictures) for sheet in shown(exam, "forget", "classification")} == {count + 1}


def test_examples_and_photos_are_drawn_from_the_seed_and_for_each_task(vlm):
    def drawn(seed):
        exam = published_exam(vlm, seed=seed)
        return [(item.id, sheet.shots) for sheet in exam.sheets for item in sheet.items]

    assert drawn(0) == drawn(0)
    draws = [drawn(seed) for seed in range(4)]
    assert len({tuple(draw) for draw in draws}) > 1
    photos = {id.rpartition("/")[2] for draw in draws for id, _ in draw if id.startswith("test/") and "image" in id}
    assert photos == {"0", "1", "2"}
    one = [id for id, _ in draws[0] if id.startswith("test/001") and "generation-image" in id]
    assert len(one) == 1


def test_a_published_exam_is_sat(vlm):
    answers = published_exam(vlm).sit(vlm)
    assert sorted(answers.columns) == sorted(ANSWER_COLUMNS[3:])
    counts = answers[answers["set"] == "forget"].groupby("task").size().to_dict()
    assert counts == {"classification": 4, "cloze": 4, "generation": 6}
    choices = answers[answers["task"] == "classification"]
    assert (choices["valid"] == (choices["answer"] != "")).all()
    assert answers["item"].is_unique


def test_by_letter_the_letter_is_scored(vlm):
    exam = make_exam(vlm, EvaluationConfig(choice="letter", max_new_tokens=2))
    rows = exam.sit(vlm)
    row = rows[(rows["task"] == "classification") & (rows["input"] == "text")].iloc[0]
    question = next(q for q in BENCHMARK.forget[0].questions if q.options and q.input == "text")
    (prompt,) = vlm.prompt_ids([ask(question, "letter")])
    (letter,) = vlm.answer_ids(["A"])
    expected = tiny.plain_log_probability(vlm, prompt, letter)
    assert row["probability"] == pytest.approx(math.exp(expected / len(letter)), rel=1e-3)


def test_the_match_of_blanks_is_a_setting(vlm, monkeypatch):
    text = "It is Oslo, Norway, surely"
    write(monkeypatch, vlm.text_ids(text))
    for match, right in (("exact", 0), ("substring", 1)):
        rows = make_exam(vlm, EvaluationConfig(cloze_match=match)).sit(vlm)
        assert set(rows.loc[rows["task"] == "cloze", "accuracy"]) == {right}


def test_a_prompt_longer_than_the_context_is_said_before_anything_is_computed(monkeypatch):
    short = tiny.make_vlm()
    short.model.config.text_config.max_position_embeddings = 200
    with looks(short) as seen, pytest.raises(ModelError, match=r"with 2 images; .*; use fewer shots"):
        published_exam(short).sit(short)
    assert not seen


def test_examples_that_leave_nobody_to_ask_are_refused(vlm):
    with pytest.raises(ConfigError, match=r"everybody in the forget set serves as a shot \(cloze\)"):
        Exam(vlm, CROWD, [], EvaluationConfig(protocol="published", cloze_shots=3))


def test_every_sentence_has_the_floor_of_its_set(vlm):
    rows = Exam(vlm, CROWD, [], CONFIG).sit(vlm)
    assert rows["floor"].notna().equals((rows["task"] == "generation") & (rows["set"] != "celebrity"))
    assert set(rows["floor"].dropna()) == {1.0}  # everybody has the same answer here


def test_a_guard_speaks_in_the_models_place_and_knows_nothing(vlm, answers):
    found = make_exam(vlm).guarded(answers, lambda text: "I cannot say." if "cloze" in text or "Hair" in text else None)
    spoken = found["question"].str.contains("cloze") | found["question"].str.contains("Hair")
    assert found[~spoken].equals(answers[~spoken])
    assert (found.loc[spoken, "answer"] == "I cannot say.").all()
    assert not found.loc[spoken, ["accuracy", "probability"]].to_numpy().any()
    assert dict(found[spoken].groupby("task")["valid"].all()) == {"classification": False, "cloze": True}
