from dataclasses import replace

import pytest
from pydantic import ValidationError

from unsee.attacks import ATTACKS
from unsee.attacks.base import QUESTION
from unsee.config.recipe import build_dataclass
from unsee.core.errors import ConfigError

PROMPT, RELEARN, SAMPLE = map(ATTACKS.get, ("prompt", "relearn", "sample"))
WAYS = {"instruction": "instruction", "opening": "opening", "role": "role", "claim": "claim", "examples": "examples"}


@pytest.mark.parametrize("option", WAYS)
def test_an_empty_text_leaves_its_way_out(option):
    empty = 0 if option == "examples" else ""
    assert set(PROMPT().askings) - set(replace(PROMPT(), **{option: empty}).askings) == {option}


def test_each_text_is_said_in_its_place():
    texts = {"instruction": "Begin.", "opening": "Well,", "role": "You are old.", "claim": "I do."}
    asked = PROMPT(**texts, examples=3).askings
    assert asked["instruction"].wording == f"Begin. {QUESTION}"
    assert asked["opening"].opening == "Well,"
    assert asked["role"].system == "You are old."
    assert asked["claim"].turns == ((QUESTION, "I do."),)
    assert asked["examples"].examples == 3
    others = [replace(one, wording=QUESTION, opening="", system="", turns=(), examples=0) for one in asked.values()]
    assert len(set(others)) == 1


@pytest.mark.parametrize(
    ("steps", "budgets"), [(1, [1]), (2, [1, 2]), (5, [1, 2, 4, 5]), (16, [1, 2, 4, 8, 16]), (17, [1, 2, 4, 8, 16, 17])]
)
def test_budgets_are_powers_of_two_and_the_last_step(steps, budgets):
    assert RELEARN(steps=steps).budgets == budgets


def test_sampling_draws_as_many_as_it_says():
    assert {name: asking.samples for name, asking in SAMPLE(answers=4).askings.items()} == {"best of 4": 4}


@pytest.mark.parametrize(
    ("name", "options"),
    [("relearn", {"steps": 0}), ("sample", {"answers": 1}), ("picture", {"strength": 0}), ("quantise", {"group": 4}),
     ("prompt", {"examples": -1})],
)  # fmt: skip
def test_options_have_ranges(name, options):
    with pytest.raises((ConfigError, ValidationError)):
        build_dataclass(ATTACKS.get(name), options, f"attack.{name}")
