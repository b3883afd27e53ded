"""Parts of the keys of stages: what training and edits use of people, of pairs and of a method's code."""

from __future__ import annotations

import hashlib

from unsee.core.source import source_hash
from unsee.data.pairs import PrivacyPair
from unsee.data.schema import Person
from unsee.methods import METHODS
from unsee.methods.base import Method
from unsee.runtime.cache import key_of

TRAINING = ("unsee.training.train", "unsee.training.batches", "unsee.training.lessons")
"""The modules whose code is part of every training, whatever the method."""


def code_of(method: Method) -> list[str]:
    """Return the part of a key that identifies a method's code: registered name, module and a hash of the source."""
    cls = type(method)
    return [METHODS.name_of(cls), cls.__module__, source_hash(cls.__module__)]


def content_of(person: Person) -> str:
    """Return a hash of all data of a person that training uses."""
    return key_of(
        [hashlib.sha256(image).hexdigest() for image in person.images], [q.content() for q in person.questions]
    )


def content_of_pair(pair: PrivacyPair) -> dict[str, object]:
    """Return all data of a pair that an edit uses."""
    return vars(pair) | {"image": None if pair.image is None else hashlib.sha256(pair.image).hexdigest()}
