"""Invented people whom no model was taught, with a name, a portrait and facts, to be asked about in place of others."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import lru_cache

from unsee.data.images import encode_png
from unsee.data.people.portraits import Look, draw_portrait, draw_scene
from unsee.data.people.profiles import strangers
from unsee.data.people.questions import training_questions
from unsee.data.schema import Person

NUM_STRANGERS = 20
"""Strangers who take the place of people to forget."""
_PORTRAIT_PIXELS = 96
_TRIES = 4  # strangers drawn for each one wanted, as some share a name with somebody


def invent_strangers(count: int, names: Iterable[str]) -> list[Person]:
    """Return at most `count` invented people with training text, none with a name, or part of one, of those given."""
    taken = {part for name in names for part in name.casefold().split()}
    drawn = [one for one in strangers(_TRIES * count, 0) if not taken & set(one.name.casefold().split())]
    return [
        Person(
            id=f"s{number:02}",
            name=one.name,
            images=(_portrait(one.id, one.look),),
            questions=tuple(training_questions(one)),
        )
        for number, one in enumerate(drawn[:count])
    ]


@lru_cache(maxsize=256)
def _portrait(id: str, look: Look) -> bytes:
    return encode_png(draw_portrait(look, draw_scene(random.Random(id)), _PORTRAIT_PIXELS))
