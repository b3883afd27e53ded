import pytest
import tiny
from pydantic import ValidationError

from unsee.config.recipe import EvaluationConfig
from unsee.data.everyday import EVERYDAY
from unsee.data.schema import Benchmark
from unsee.data.world import MOST_WORLD_ITEMS, world_items
from unsee.exams.people import Exam

ITEMS = world_items(MOST_WORLD_ITEMS, 0)


def test_each_fact_is_asked_by_choice_and_as_a_blank():
    choices, blanks = ITEMS[::2], ITEMS[1::2]
    assert [item.answer for item in choices] == [item.answer for item in blanks]
    assert all(item.answer in item.options and len(set(item.options)) == 4 for item in choices)
    assert all("__" in item.question and not item.options for item in blanks)
    places = [item.options.index(item.answer) for item in choices]
    assert all(places.count(place) == MOST_WORLD_ITEMS // 4 for place in range(4))


def test_fewer_facts_are_the_first_of_all_and_another_seed_draws_others():
    assert world_items(5, 0) == ITEMS[:10]
    assert world_items(5, 1) != ITEMS[:10]
    assert world_items(0, 0) == []


def test_no_question_is_among_those_whose_answers_are_replayed():
    assert not {item.question for item in ITEMS} & set(EVERYDAY)
    assert len(set(EVERYDAY)) == len(EVERYDAY)


def test_a_recipe_may_ask_for_every_fact_and_no_more():
    assert EvaluationConfig(world_items=MOST_WORLD_ITEMS).world_items == MOST_WORLD_ITEMS
    with pytest.raises(ValidationError):
        EvaluationConfig(world_items=MOST_WORLD_ITEMS + 1)


@pytest.mark.slow
def test_blanks_are_written_and_choices_chosen():
    vlm = tiny.make_vlm()
    nobody = Benchmark(forget=(), test=(), retain=(), celebrity=(), fingerprint="")
    rows = Exam(vlm, nobody, world_items(2, 0), EvaluationConfig(max_new_tokens=2)).examine(vlm)
    assert rows["task"].tolist() == ["classification", "cloze"] * 2
    assert set(rows["set"]) == {"general"}
    assert rows["chance"].sum() == 0.5
