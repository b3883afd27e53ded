import math

import pytest
import tiny
from pydantic import ValidationError

from unsee.config.recipe import EvaluationConfig
from unsee.data.english import MOST_ENGLISH_ITEMS, english_items
from unsee.data.everyday import EVERYDAY
from unsee.data.schema import Benchmark, Question
from unsee.exams.people import Exam
from unsee.exams.plan import general_questions
from unsee.forward.prompts import render
from unsee.metrics.accuracy import Accuracy
from unsee.metrics.base import AnsweredQuestion
from unsee.metrics.probability import Probability

ITEMS = english_items(MOST_ENGLISH_ITEMS, 0)


def of(task, items=ITEMS):
    return [item for item in items if item.task == task]


def test_there_are_as_many_passages_as_instructions_and_each_is_there_once():
    assert len(of("instruction")) == len(of("prose")) == MOST_ENGLISH_ITEMS
    assert len({item.id for item in ITEMS}) == len({item.question for item in ITEMS}) == len(ITEMS)
    assert len({item.answer for item in of("prose")}) == MOST_ENGLISH_ITEMS
    assert not {item.question for item in ITEMS} & set(EVERYDAY)


def test_fewer_are_the_first_of_all_and_another_seed_draws_others():
    few = english_items(5, 0)
    assert of("prose", few) == of("prose")[:5] and of("instruction", few) == of("instruction")[:5]
    assert english_items(5, 1) != few and english_items(0, 0) == []


def test_a_recipe_may_ask_for_all_and_no_more():
    config = EvaluationConfig(general_items=2, world_items=1, english_items=MOST_ENGLISH_ITEMS)
    assert general_questions(config, 0)[4:] == ITEMS
    with pytest.raises(ValidationError):
        EvaluationConfig(english_items=MOST_ENGLISH_ITEMS + 1)


@pytest.mark.parametrize(
    ("answer", "right"), [("RIVER", 1), (" RIVER.\n", 1), ("river", 0), ("Sure: RIVER", 0), ("RIVER RIVER", 0), ("", 0)]
)
@pytest.mark.parametrize("match", ["exact", "substring"])
def test_an_instruction_is_followed_to_the_letter(answer, right, match):
    asked = Question(task="instruction", input="text", question="Write river in capitals.", answer="RIVER")
    answered = AnsweredQuestion(question=asked, answer=answer, log_probability=-1.0, num_tokens=1)
    assert Accuracy(cloze_match=match).score(answered) == right


@pytest.mark.parametrize("protocol", ["clean", "published"])
@pytest.mark.parametrize("task", ["instruction", "prose"])
def test_they_are_asked_in_their_own_words_alone(task, protocol):
    asked = Question(task=task, input="text", question="Write a word.", answer="word")
    text = render(tiny.make_vlm(), asked, EvaluationConfig(protocol=protocol))
    assert "Write a word." in text and "sentence" not in text and "blank" not in text.casefold()


def test_a_passage_counts_by_its_characters_whatever_the_tokens():
    asked = Question(task="prose", input="text", question="Write a paragraph.", answer="x" * 40)
    for tokens in (1, 7):
        answered = AnsweredQuestion(question=asked, answer="", log_probability=40 * math.log(0.5), num_tokens=tokens)
        assert Probability().score(answered) == pytest.approx(0.5)


@pytest.mark.slow
def test_instructions_count_by_the_answer_and_passages_by_their_probability():
    vlm = tiny.make_vlm()
    nobody = Benchmark(forget=(), test=(), retain=(), celebrity=(), fingerprint="")
    rows = Exam(vlm, nobody, english_items(2, 0), EvaluationConfig(max_new_tokens=2)).examine(vlm)
    assert rows["task"].tolist() == ["instruction"] * 2 + ["prose"] * 2
    assert rows["accuracy"].isna().tolist() == [False, False, True, True]
    assert rows["probability"].between(0, 1).all() and rows["rouge_l"].isna().all()
    assert set(rows["set"]) == {"general"} and rows["chance"].sum() == 0
