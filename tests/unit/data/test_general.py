import io
import random
import re

import pytest
from PIL import Image

from unsee.data.general import general_items, reading_items, reading_passage

PAIR = re.compile(r"(\w+)(?:'s (?P<own>\w+) is| has (?:a )?(?:\w+ )?(?P<thing>\w+)\.)")


def pairs(items):
    return {
        (match[1], (match["own"] or match["thing"]).removesuffix("s"))
        for item in items
        for match in PAIR.finditer(item.question)
    }


def test_half_of_the_questions_are_about_reading():
    items = general_items(21, seed=0, image_pixels=32)
    assert [item.image is None for item in items] == [True] * 11 + [False] * 10
    assert len({item.id for item in items}) == 21
    assert Image.open(io.BytesIO(items[-1].image)).size == (32, 32)
    assert items == general_items(21, seed=0, image_pixels=32)


@pytest.mark.parametrize("items", [general_items(60, seed=1, image_pixels=16), reading_items(60, seed=1)])
def test_four_different_options_hold_the_answer(items):
    for item in items:
        assert len(item.options) == len(set(item.options)) == 4
        assert item.answer in item.options


def test_the_answer_of_a_reading_question_is_in_its_text():
    assert all(item.answer.removesuffix("s") in item.question for item in reading_items(100, seed=2))


def test_no_pair_of_a_test_question_is_in_training():
    measured = pairs(item for item in general_items(300, seed=0, image_pixels=16)[:150])
    taught = pairs(reading_items(1000, seed=0) + reading_items(1000, seed=1))
    assert len(measured) > 40 and len(taught) > 100
    assert measured.isdisjoint(taught)


def test_a_passage_holds_the_answer_to_every_question_about_it():
    for seed in range(20):
        asked = reading_passage(random.Random(seed))
        texts = {question.rpartition(". ")[0] for question, _ in asked}
        assert len(texts) == 1 and len(asked) == len(set(asked)) >= 4
        assert all(answer in text for text in texts for _, answer in asked)
