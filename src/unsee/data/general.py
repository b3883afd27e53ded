"""Questions about general ability, unrelated to the people: reading short texts, and describing portraits of strangers.

Unlearning should leave these abilities unchanged. Reading items for training a base model come from the same families,
but never pair the same name with the same thing. So these questions measure reading and not memory.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from unsee.data.images import encode_png
from unsee.data.people.portraits import Sex, draw_look, draw_portrait, draw_scene
from unsee.data.people.profiles import evenly
from unsee.data.people.questions import appearance, placed
from unsee.data.schema import LETTERS, Task

_NAMES = (
    "Mia", "Tom", "Zoe", "Ben", "Lily", "Sam", "Amy", "Max", "Eva", "Dan", "Rose", "Leo", "Kim", "Jack", "Ruth", "Pete",
)  # fmt: skip
_THINGS = (
    "kite", "boat", "ball", "cup", "hat", "book", "lamp", "drum", "bag", "coat", "bike", "car", "bell", "flag", "doll",
    "ring",
)  # fmt: skip
_POOLS: Mapping[str, tuple[str, ...]] = {
    "name": _NAMES,
    "thing": _THINGS,
    "colour": ("red", "blue", "green", "yellow", "black", "white", "pink", "brown"),
    "number": ("two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "place": (
        "on the table", "under the bed", "in the box", "by the door", "on the chair", "in the car", "at the window",
        "in the garden",
    ),
}  # fmt: skip
_FAMILIES = (
    ("colour", "{name} has a {colour} {thing}.", "What colour is the {thing}?"),
    ("name", "{name} has a {colour} {thing}.", "Who has the {thing}?"),
    ("thing", "{name} has a {thing}.", "What does {name} have?"),
    ("place", "{name}'s {thing} is {place}.", "Where is the {thing}?"),
    ("number", "{name} has {number} {thing}s.", "How many {thing}s does {name} have?"),
)
"""For each family: the key of the answer, the sentence about each person, and the question."""
_TAUGHT = (
    *_FAMILIES,
    ("name", "{name} has a {thing}.", "Who has the {thing}?"),
    ("name", "{name}'s {thing} is {place}.", "Whose is the {thing}?"),
    ("name", "{name} has {number} {thing}s.", "Who has {thing}s?"),
)
_HELD_OUT_EVERY = 4


@dataclass(frozen=True, kw_only=True)
class GeneralItem:
    """One question with four options, a blank to fill, an instruction to follow, or a passage to find likely.

    Attributes:
        id: identifier; the same count and seed give the same item.
        image: PNG bytes of the portrait; None for questions about no picture.
        question: the question, after the text to read if there is one; a blank is "__".
        options: four texts in the order A, B, C, D; none where there is nothing to choose.
        answer: the text of the correct option or of the blank, the answer that follows the instruction, or the passage.
        task: what is asked for.
    """

    id: str
    image: bytes | None
    question: str
    options: tuple[str, ...]
    answer: str
    task: Task = "classification"


def general_items(count: int, seed: int, image_pixels: int = 96) -> list[GeneralItem]:
    """Return test questions, half of them about reading and half about seeing (reading gets the odd one)."""
    num_seeing = count // 2
    return [*_reading(count - num_seeing, seed, held_out=True), *_seeing(num_seeing, seed, image_pixels)]


def reading_items(count: int, seed: int) -> list[GeneralItem]:
    """Return reading questions for training a base model. No pair of a name and a thing is in `general_items`."""
    return _reading(count, seed, held_out=False)


def reading_passage(rng: random.Random) -> list[tuple[str, str]]:
    """Return (question, answer) for every question that a text of two to six sentences answers.

    Each question comes after the text. As in `reading_items`, no pair of a name and a thing is in `general_items`.
    """
    statement = rng.choice(_TAUGHT)[1]
    facts = _facts(rng, rng.randint(2, 6), held_out=False)
    text = " ".join(statement.format(**fact) for fact in facts)
    asked = [
        (f"{text} {question.format(**fact)}", fact[answer_key])
        for fact in facts
        for answer_key, sentence, question in _TAUGHT
        if sentence == statement
    ]
    return rng.sample(asked, len(asked))


def _reading(count: int, seed: int, held_out: bool) -> list[GeneralItem]:
    rng = random.Random(f"reading {seed} {held_out}")
    families = evenly(_FAMILIES, rng)
    places = evenly(range(len(LETTERS)), rng)
    items = []
    for index, (answer_key, statement, asked), place in zip(range(count), families, places, strict=False):
        facts = _facts(rng, rng.choice((2, 3)), held_out)
        sentences = rng.sample([statement.format(**fact) for fact in facts], len(facts))
        named = [fact[answer_key] for fact in facts]
        others = rng.sample(sorted(set(_POOLS[answer_key]) - set(named)), len(LETTERS) - len(named))
        items.append(
            GeneralItem(
                id=f"reading-{index:04}",
                image=None,
                question=" ".join((*sentences, asked.format(**facts[0]))),
                options=placed(named[0], named + others, place, rng),
                answer=named[0],
            )
        )
    return items


def _seeing(count: int, seed: int, image_pixels: int) -> list[GeneralItem]:
    rng = random.Random(f"seeing {seed}")
    items = []
    for index in range(count):
        sexes: tuple[Sex, Sex] = ("female", "male")
        look, scene = draw_look(rng, sexes[index % 2]), draw_scene(rng)
        questions = appearance(look, scene)
        question = questions[(index // 2) % len(questions)]
        items.append(
            GeneralItem(
                id=f"seeing-{index:04}",
                image=encode_png(draw_portrait(look, scene, image_pixels)),
                question=question.question,
                options=question.options,
                answer=question.answer,
            )
        )
    return items


def _facts(rng: random.Random, count: int, held_out: bool) -> list[dict[str, str]]:
    """Draw people with one thing each; no two share a name, a thing, a colour, a number or a place."""
    pairs: list[tuple[int, int]] = []
    while len(pairs) < count:
        pair = rng.randrange(len(_NAMES)), rng.randrange(len(_THINGS))
        fresh = all(name != pair[0] and thing != pair[1] for name, thing in pairs)
        if fresh and (sum(pair) % _HELD_OUT_EVERY == 0) == held_out:
            pairs.append(pair)
    drawn = [rng.sample(_POOLS[key], count) for key in ("colour", "number", "place")]
    return [
        {"name": _NAMES[name], "thing": _THINGS[thing], "colour": colour, "number": number, "place": place}
        for (name, thing), colour, number, place in zip(pairs, *drawn, strict=True)
    ]
