"""The measures of questions that are asked with the image and in text."""

import pandas as pd
import pytest
from synthetic import make_answers

from unsee.scoring.cells import cells
from unsee.scoring.schema import BOTH


def answered(rows, set_name, task="classification", number="rouge_l"):
    """A table of one model: for each person and pair, what the image and the text answer are worth."""
    base = make_answers().iloc[0].to_dict()
    column = "rouge_l" if task == "generation" else "accuracy"
    return pd.DataFrame([
        base | {"accuracy": float("nan"), "rouge_l": float("nan")}
        | {"set": set_name, "task": task, "input": kind, "unit": str(unit), "item": f"{unit}-{index}-{kind}",
           "pair": str(index), column: value, "valid": True}
        for unit, index, *values in rows
        for kind, value in zip(("image", "text"), values, strict=True)
    ])  # fmt: skip


def values(answers):
    return {cell.metric: cell.value for cell in cells(answers, 20) if cell.input == BOTH}


FOUR = [(0, 0, 1.0, 1.0), (1, 0, 1.0, 0.0), (2, 0, 0.0, 0.0), (3, 0, 0.0, 0.0)]


def test_a_choice_is_forgotten_if_both_are_wrong_and_kept_if_both_are_right():
    assert values(answered(FOUR, "forget")) == {"acc_f": 0.5}
    assert values(answered(FOUR, "retain", "cloze")) == {"acc_r": 0.25}


def test_sentences_follow_the_published_formulas_item_by_item():
    rows = [(0, 0, 0.9, 0.3), (1, 0, 0.0, 0.0)]
    assert values(answered(rows, "forget", "generation")) == {"rl_f": pytest.approx((0.81 + 0.09) / 1.2 / 2)}
    assert values(answered(rows, "celebrity", "generation")) == {"rl_r": pytest.approx(2 * 0.27 / 1.2 / 2)}


def test_what_one_modality_still_gives_is_not_hidden_by_the_mean():
    apart, alike = [(0, 0, 1.0, 0.0), (1, 0, 0.0, 1.0)], [(0, 0, 1.0, 1.0), (1, 0, 0.0, 0.0)]
    assert values(answered(apart, "forget"))["acc_f"] == 0 < values(answered(alike, "forget"))["acc_f"]


def test_each_photo_makes_a_pair_with_the_question_by_name():
    table = answered([(0, 0, 1.0, 1.0)], "retain")
    other = table[table["input"] == "image"].assign(item="other photo", accuracy=0.0)
    (cell,) = [cell for cell in cells(pd.concat([table, other]), 20) if cell.input == BOTH]
    assert (cell.value, cell.n_items, cell.n_units) == (0.5, 2, 1)


def test_without_pairs_there_are_no_such_cells():
    assert BOTH not in {cell.input for cell in cells(make_answers(), 20)}
    alone = answered(FOUR, "forget")
    assert values(alone[alone["input"] == "text"]) == {}
