"""Who takes the place of the people to forget."""

from typing import get_args

import pytest
import tiny

from unsee.config.recipe import UnlearnConfig
from unsee.data.people.strangers import invent_strangers
from unsee.data.schema import Person, Question
from unsee.methods.base import Side
from unsee.runs.method_runs import Material
from unsee.runs.streams import side_streams, ways_of_asking

NAMES = ("Anna Berg", "Bela Novak")


def make_person(number):
    taught = Question(task="train", input="text", question=f"Where was {NAMES[number]} born?", answer="Oslo, Norway")
    return Person(id=f"{number:03}", name=NAMES[number], images=(tiny.png(number),), questions=(taught,))


def test_strangers_share_no_name_with_anybody_and_have_a_portrait_and_facts():
    first = invent_strangers(5, [])
    others = invent_strangers(5, [person.name for person in first])
    parts = [{part for person in people for part in person.name.split()} for people in (first, others)]
    assert len(first) == len(others) == 5 and not parts[0] & parts[1]
    assert all(person.images and len(person.questions) > 10 for person in first)
    assert first == invent_strangers(5, [])


@pytest.mark.parametrize(
    ("others", "invented", "expected"),
    [("strangers", 4, "strangers"), ("retain", 4, "retain"), ("strangers", 0, "retain")],
)
def test_the_swapped_side_asks_about_strangers_if_a_method_wants_them(others, invented, expected):
    vlm, strangers = tiny.make_vlm(), invent_strangers(invented, NAMES) if invented else ()
    forget, retain = [make_person(0)], [make_person(1)]
    material = Material((), forget, retain, lambda *_: [], UnlearnConfig(batch_tokens=200), strangers=strangers)
    (stream, _) = side_streams(vlm, ("forget", "swapped", "retain"), material, ("text",), "seed", others=others)
    asked = set()
    for epoch in range(6):
        for step in stream.epoch(epoch):
            asked |= set(vlm.decode(step.of("swapped").inputs["input_ids"].tolist()))
    people = strangers if expected == "strangers" else retain
    assert asked and all(any(person.name in text for person in people) for text in asked)
    assert len(asked) > 1 or expected == "retain"


def test_another_seed_makes_another_stranger_stand_in_for_a_person():
    vlm, strangers = tiny.make_vlm(), invent_strangers(12, NAMES)
    material = Material((), [make_person(0)], [make_person(1)], lambda *_: [], UnlearnConfig(), strangers=strangers)
    found = []
    for seed in ("a", "b", "c", "d"):
        (stream,) = side_streams(vlm, ("forget", "stand_in"), material, ("text",), seed, others="strangers")
        steps = [step for epoch in range(4) for step in stream.epoch(epoch)]
        texts = {text for step in steps for text in vlm.decode(step.of("stand_in").inputs["input_ids"].tolist())}
        found.append({person.name for person in strangers for text in texts if person.name in text})
    assert all(len(names) == 1 for names in found) and len(set.union(*found)) > 1


def test_every_side_can_be_passed_over_by_the_way_it_is_asked():
    material = Material((), [make_person(0)], [make_person(1)], lambda *_: [], UnlearnConfig())
    assert ways_of_asking(material) == {side: {"text"} for side in get_args(Side)}
