import math
from dataclasses import dataclass, replace

import families
import pandas as pd
import pytest
import tiny
from exams import BENCHMARK, CONFIG, GENERAL, make_exam, make_person, write
from PIL import ImageOps

from unsee.attacks import ATTACKS
from unsee.attacks.base import QUESTION, Asking, QuestionAttack
from unsee.config.recipe import EvaluationConfig
from unsee.data.schema import Benchmark
from unsee.exams.attacked import AttackedExams
from unsee.exams.people import Exam
from unsee.exams.plan import PromptGroup
from unsee.forward.generate import Group, generate
from unsee.forward.prompts import clean_question

FORGET = BENCHMARK.forget


@dataclass(frozen=True)
class Given(QuestionAttack):
    """Asks as it is told, and turns the picture's colours over."""

    asking: Asking
    name: str = "x"

    @property
    def askings(self):
        return {"way": self.asking}

    def picture(self, variant, image, question, rng):
        return ImageOps.invert(image) if not question else ImageOps.mirror(image)


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


@pytest.fixture(scope="module")
def exam(vlm):
    return make_exam(vlm)


@pytest.fixture(scope="module")
def attacked(vlm, exam):
    return AttackedExams(vlm, exam, FORGET, BENCHMARK.retain, 0)


def asked(attacked, **fields):
    asking = Asking(**fields)
    return attacked.ask("given", Given(asking), "way", asking)


def items(exam):
    return [item for group in exam.prompt_groups for item in group.items]


def test_the_plain_exam_holds_the_questions_about_the_people_to_forget_and_gives_the_same_answers(vlm, exam, attacked):
    whole = exam.examine(vlm)
    expected = whole[whole["set"] == "forget"].reset_index(drop=True)
    numbers = expected.select_dtypes("number").columns
    found = attacked.plain().examine(vlm)
    pd.testing.assert_frame_equal(found.drop(columns=numbers), expected.drop(columns=numbers))
    pd.testing.assert_frame_equal(found[numbers], expected[numbers], rtol=1e-4)


def test_some_questions_can_be_chosen(vlm, attacked):
    chosen = frozenset(q for q in FORGET[0].questions if q.task == "cloze")
    assert {item.question for item in items(attacked.plain(lambda item: item.question in chosen))} == chosen
    assert items(attacked.plain(lambda item: False)) == []
    assert attacked.plain(lambda item: False).examine(vlm).empty


def test_an_asking_that_changes_nothing_asks_the_same(attacked):
    assert items(asked(attacked)) == items(attacked.plain())


def plain_scores(vlm, question, picture, opening, turns=(), system=None):
    """The log-probability of each answer: prompt, opening and answer in a plain pass, minus that of the opening."""
    (prompt,) = vlm.prompt_ids([clean_question(question)], picture=picture, system=system)
    given = vlm.answer_ids([opening], end=False)[0]
    scores = []
    for text in question.options or (question.answer,):
        (whole,) = vlm.answer_ids([f"{opening} {text}"])
        both = tiny.plain_log_probability(vlm, prompt, whole, picture)
        scores.append((both - tiny.plain_log_probability(vlm, prompt, given, picture), len(whole) - len(given)))
    return scores, [*prompt, *given]


def test_after_an_opening_answers_are_scored_and_written_as_in_a_plain_pass(vlm, attacked):
    rows = asked(attacked, opening="Brown").examine(vlm).set_index("item")
    for item in items(attacked.plain()):
        row, question = rows.loc[item.id], item.question
        picture = tiny.picture_of(vlm, 0) if question.input == "image" else None
        scores, prompt = plain_scores(vlm, question, picture, "Brown")
        truth, length = scores[question.options.index(question.answer) if question.options else 0]
        assert row["probability"] == pytest.approx(math.exp(truth / length), rel=1e-3)
        if question.options:
            assert row["answer"] == question.options[max(range(4), key=lambda i: scores[i][0])]
        else:
            ((written,),) = generate(vlm, [Group.of([prompt], tiny.only(picture))], max_new_tokens=5)
            assert [row["answer"]] == vlm.decode([written])


@pytest.mark.parametrize("family", ["llava", "gemma3", "smolvlm"])
def test_an_opening_ends_where_any_tokenizer_begins_a_word(family):
    vlm = families.make_vlm(family)
    own = AttackedExams(vlm, make_exam(vlm), FORGET, BENCHMARK.retain, 0)
    exam = own.plain(lambda item: item.unit == "001" and item.question.input == "text")
    exam = exam.asking(
        [replace(g, items=[replace(i, opening="Sure.") for i in g.items]) for g in exam.prompt_groups], 0
    )
    rows = exam.examine(vlm).set_index("item")
    for item in items(exam):
        scores, _ = plain_scores(vlm, item.question, None, "Sure.")
        truth, length = scores[item.question.options.index(item.question.answer) if item.question.options else 0]
        assert rows.loc[item.id, "probability"] == pytest.approx(math.exp(truth / length), rel=1e-3)


def prompts_of(vlm, exam, system=None):
    """What is read before each written answer, as text, by item."""
    found = {}
    for tree in (tree for group in exam._trees_by_beginning(vlm, system) for tree in group):
        for id, place in tree.places.items():
            found[id] = vlm.processor.tokenizer.decode(place.scored), len(tree.group.pictures)
    return found


def test_turns_wording_and_system_prompt_surround_each_question_and_its_photo(vlm, attacked):
    exam = asked(
        attacked, wording=f"Once more: {QUESTION}", turns=((QUESTION, "I said so."), ("And?", f"No {QUESTION}"))
    )
    found = prompts_of(vlm, exam, tiny.SYSTEM)
    image = vlm.processor.tokenizer.decode([vlm.family.image_token])
    for item in items(attacked.plain()):
        text, pictures = found[item.id]
        asks = item.question.question
        parts = [tiny.SYSTEM, asks, "I said so.", "And?", f"No {asks}", f"Once more: {asks}"]
        places = [text.replace(" ", "").find(part.replace(" ", "")) for part in parts]
        assert -1 not in places and places == sorted(places)
        assert text.replace(" ", "").count(asks.replace(" ", "")) == 3
        assert pictures == (item.question.input == "image")
        if pictures:
            assert text.index(image) > text.index("And")
            assert text.count(image) == sum(tiny.picture_of(vlm, 0).runs)


def test_questions_with_turns_of_their_own_keep_their_photo(vlm, attacked):
    turned = asked(attacked, turns=((QUESTION, "Yes."),))
    rows = turned.examine(vlm).set_index("item")
    for group in turned.prompt_groups:
        assert len({item.turns for item in group.items}) == 1 or not group.pictures
    item = next(i for i in items(turned) if (i.question.task, i.question.input) == ("generation", "image"))
    alone = turned.asking([PromptGroup([item], (tiny.picture_of(vlm, 0),))], "alone").examine(vlm)
    other = turned.asking([PromptGroup([item], (tiny.picture_of(vlm, 5),))], "other").examine(vlm)
    assert alone["probability"][0] == pytest.approx(rows.loc[item.id, "probability"], rel=1e-3)
    assert other["probability"][0] != pytest.approx(rows.loc[item.id, "probability"], rel=1e-3)


def test_every_test_photo_is_drawn_from_the_photo_that_was_asked_about(vlm):
    person = make_person("001", 1, 2)
    benchmark = replace(BENCHMARK, forget=(person,))
    whole = Exam(vlm, benchmark, [], CONFIG)
    own = AttackedExams(vlm, whole, benchmark.forget, BENCHMARK.retain, 0)
    shown = {
        item.id: group.pictures[-1] for group in asked(own, pictures="photo").prompt_groups for item in group.items
    }
    for number, shade in enumerate((1, 2)):
        inverted = vlm.picture(ImageOps.invert(tiny.photo(shade)))
        for id, picture in shown.items():
            if id.endswith(f"/{number}"):
                assert all(picture.inputs[key].equal(value) for key, value in inverted.inputs.items())
    assert len(shown) == 6


def test_a_picture_for_each_question_is_shown_to_that_question_alone_and_texts_are_left_out(vlm, attacked):
    exam = asked(attacked, pictures="question", wording="Read it.")
    assert {item.question.input for item in items(exam)} == {"image"}
    assert [len(group.items) for group in exam.prompt_groups] == [1] * 3
    mirrored = vlm.picture(ImageOps.mirror(tiny.photo(0)))
    for group in exam.prompt_groups:
        assert all(group.pictures[-1].inputs[key].equal(value) for key, value in mirrored.inputs.items())
        assert group.items[0].question.question == "Read it."


def test_examples_are_answered_questions_of_the_same_task_about_people_to_keep(attacked):
    kept = {
        (q.question, q.answer): q.task for person in BENCHMARK.retain for q in person.questions if q.input == "text"
    }
    for item in items(asked(attacked, examples=2)):
        assert len(item.turns) == 2
        assert {kept[turn] for turn in item.turns} == {item.question.task}
    assert all(len(item.turns) == 3 for item in items(asked(attacked, examples=9)))


def test_of_several_answers_the_best_counts_by_each_metric(vlm, attacked, monkeypatch):
    texts = ["A baker.", "Oslo, Norway", "Norway"]
    rows = [vlm.text_ids(text) for text in texts]
    monkeypatch.setattr(
        "unsee.forward.generate._Writing.run", lambda self, limit: [rows[n % 3] for n in range(len(self._row_Q))]
    )
    exam = asked(attacked, samples=3)
    found = exam.examine(vlm)
    assert set(found["task"]) == {"generation", "cloze"}
    assert set(found["answer"]) == {"Oslo, Norway"}
    singles = []
    for row in rows:
        write(monkeypatch, row)
        singles.append(asked(attacked).examine(vlm).set_index("item").loc[found["item"]])
    for name, better in [(name, better) for name, better in exam.better.items() if name in found]:
        each = pd.concat([single[name] for single in singles], axis=1)
        best = each.max(axis=1) if better == "higher" else each.min(axis=1)
        assert best.fillna(-1).tolist() == pytest.approx(found[name].fillna(-1).tolist(), rel=1e-4)


def test_draws_are_the_same_for_the_same_exam(vlm, attacked):
    one, two = (asked(attacked, samples=4).examine(vlm) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_the_key_changes_with_everything_that_changes_the_questions(vlm, exam, attacked):
    ways = [
        {}, {"system": "S."}, {"wording": f"Now: {QUESTION}"}, {"opening": "Sure."}, {"turns": (("a", "b"),)},
        {"turns": (("a", "c"),)}, {"examples": 1}, {"examples": 2}, {"pictures": "photo"}, {"pictures": "question"},
        {"samples": 2}, {"samples": 3},
    ]  # fmt: skip
    keys = [asked(attacked, **way).key for way in ways]
    keys += [attacked.plain().key, exam.key]
    keys.append(attacked.plain(lambda item: item.question in FORGET[0].questions[:3]).key)
    other = AttackedExams(vlm, exam, FORGET, BENCHMARK.retain, 1)
    keys.append(asked(other, pictures="photo").key)
    asking = Asking(pictures="photo")
    keys.append(attacked.ask("given", Given(asking, "y"), "way", asking).key)
    keys.append(attacked.ask("given", Given(asking), "another", asking).key)
    keys.append(attacked.ask("other", Given(asking), "way", asking).key)
    elsewhere = make_exam(vlm, EvaluationConfig(max_new_tokens=6))
    keys.append(AttackedExams(vlm, elsewhere, FORGET, BENCHMARK.retain, 0).plain().key)
    assert len(set(keys)) == len(keys)
    assert asked(attacked, opening="Sure.").key == asked(attacked, opening="Sure.").key


def test_a_guard_sees_the_question_as_it_is_asked(vlm, attacked):
    exam = asked(attacked, pictures="question", wording="Read it.")
    seen = []
    exam.guarded(exam.examine(vlm), seen.append)
    assert set(seen) == {"Read it."}


@pytest.mark.parametrize("name", ATTACKS.names())
def test_shots_of_the_published_protocol_are_kept_under_every_attack(vlm, name):
    people = tuple(make_person(f"{number:03}", number) for number in range(1, 4))
    benchmark = Benchmark(forget=people, test=(), retain=people[1:], celebrity=(), fingerprint="")
    exam = Exam(vlm, benchmark, GENERAL, EvaluationConfig(protocol="published", cloze_shots=1, max_new_tokens=3))
    attack = ATTACKS.get(name)()
    for variant, asking in getattr(attack, "askings", {}).items():
        own = AttackedExams(vlm, exam, benchmark.forget, benchmark.retain, 0)
        for group in own.ask(name, attack, variant, asking).prompt_groups:
            with_photo = group.items[0].question.input == "image"
            assert len(group.pictures) == (len(group.shots) + 1 if with_photo else 0)
            cloze = group.items[0].question.task != "generation"
            assert len(group.shots) == cloze
