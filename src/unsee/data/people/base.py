"""The interface of a dataset about people: a format that is read into the four sets of one forget ratio."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from unsee.core.errors import DataError
from unsee.core.text import is_file_name
from unsee.data.people.questions import name_twin
from unsee.data.schema import Benchmark, Person, Question

_ALWAYS = ("task", "input", "question", "answer", "options")


@dataclass(frozen=True)
class Dataset(ABC):
    """A format of data about people. It is chosen by `data.format`, and `data.source` says where the files are.

    A subclass that is a frozen dataclass too has options: its fields, which `data.options` sets.

    Attributes:
        hub: the dataset's name on the hub, for messages; "" if it is not on the hub.
        mirrors: further names on the hub under which it is found.
        licence: what its card says of the licence, for the user; "" if the format has none of its own.
        percents: the forget ratios that it has; the largest is taken where a recipe asks for none.
        training_hub: the name on the hub of training text that is published apart from the questions; "" if the two
            are always together, and then `data.training_text` is refused.
        training_kind: the kind of repository that holds this training text.
    """

    hub: ClassVar[str] = ""
    mirrors: ClassVar[tuple[str, ...]] = ()
    licence: ClassVar[str] = ""
    percents: ClassVar[tuple[int, ...]] = (5, 10, 15)
    training_hub: ClassVar[str] = ""
    training_kind: ClassVar[Literal["dataset", "model"]] = "dataset"

    @abstractmethod
    def load(self, folder: Path, percent: int, training_text: Path | None = None) -> Benchmark:
        """Read a folder; `make_benchmark` puts the sets together.

        Args:
            folder: holds the files.
            percent: forget ratio.
            training_text: folder of the training text; None if it is in `folder`.

        Raises:
            DataError: the folder cannot be read; the message says which file or row.
        """

    def files(self, percent: int, *, with_training_text: bool) -> Sequence[str]:
        """Return patterns of the files that `load` needs, to fetch these alone from the hub; all by default."""
        return ("*",)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return True if a folder holds data of this format and of no other, by its names and columns alone."""
        del folder
        return False

    def published_people(self, percent: int) -> Mapping[str, int]:
        """Return how many people each set of the published data has, for `unsee conformance`; empty if not known."""
        del percent
        return {}

    def training_files(self, percent: int) -> Sequence[str]:
        """Return the same for training text that is published apart."""
        return ("*",)


def make_benchmark(
    *,
    forget: Sequence[Person],
    test: Sequence[Person] = (),
    retain: Sequence[Person],
    celebrity: Sequence[Person] = (),
    notes: Sequence[str] = (),
) -> Benchmark:
    """Return a benchmark whose fingerprint is of its content, so that equal data are equal wherever they lie.

    Questions of the exam that ask the same with the portrait and by name become pairs, unless the data pair them or
    most people of a set have none.

    Raises:
        DataError: an ID cannot be the name of a file.
    """
    digest = hashlib.sha256()
    given = {"forget": forget, "test": test, "retain": retain, "celebrity": celebrity}
    sets: dict[str, tuple[Person, ...]] = {name: _in_pairs(people) for name, people in given.items()}
    for name, people in sets.items():
        for person in people:
            if not is_file_name(person.id):
                raise DataError(f"{name}: ID {person.id!r} names files; it must be short and hold no slash")
            images = [hashlib.sha256(image).hexdigest() for image in person.images]
            questions = [_digested(question) for question in person.questions]
            digest.update(json.dumps([name, person.id, person.name, images, questions]).encode())
    return Benchmark(
        forget=sets["forget"], test=sets["test"], retain=sets["retain"], celebrity=sets["celebrity"],
        fingerprint=digest.hexdigest(), notes=tuple(notes),
    )  # fmt: skip


def _digested(question: Question) -> list[object]:
    """Return the values of a question, and the names of those that few benchmarks have."""
    content = question.content()
    return [*content.values(), *list(content)[len(_ALWAYS) :]]


def _in_pairs(people: Sequence[Person]) -> tuple[Person, ...]:
    """Return the people of a set with pairs, unless most people have none, where the few are chance."""
    paired = [_with_pairs(person) for person in people]
    have = sum(any(question.pair for question in person.questions) for person in paired)
    return tuple(paired) if 2 * have > len(paired) else tuple(people)


def _with_pairs(person: Person) -> Person:
    """Return the person with pairs: an image and a text question of the exam with the same words, but for the name."""
    if any(question.pair for question in person.questions):
        return person
    found: dict[tuple[str, str, str], dict[str, list[int]]] = {}
    for index, question in enumerate(person.questions):
        asked = question if question.input == "text" else name_twin(question, person.name)
        if asked and question.task != "train":
            words = (question.task, asked.question.casefold(), asked.answer.casefold())
            found.setdefault(words, {}).setdefault(question.input, []).append(index)
    both = [kinds for kinds in found.values() if [len(kinds.get(kind, ())) for kind in ("image", "text")] == [1, 1]]
    pairs = {index: str(number) for number, kinds in enumerate(both) for (index,) in kinds.values()}
    questions = (replace(question, pair=pairs.get(i, "")) for i, question in enumerate(person.questions))
    return replace(person, questions=tuple(questions)) if pairs else person


class Rows:
    """The rows of published data, each of which is used or left out for a reason."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def read(self, config: str, count: int) -> None:
        """Note how many rows a part of the data has."""
        self._totals[config] = self._totals.get(config, 0) + count

    def leave_out(self, config: str, reason: str, count: int = 1) -> None:
        """Note that rows of a part are not used, and why."""
        if count:
            self._left_out[config, reason] = self._left_out.get((config, reason), 0) + count

    def used(self) -> dict[str, int]:
        """Return how many rows of each part are used."""
        left = {name: sum(n for (config, _), n in self._left_out.items() if config == name) for name in self._totals}
        return {name: total - left[name] for name, total in self._totals.items()}

    def notes(self) -> list[str]:
        """Return one line about what is used, and one for each part and reason about what is not."""
        used = ", ".join(f"{name} {count} of {self._totals[name]}" for name, count in self.used().items())
        left = [
            f"left out: {count} of {self._totals[config]} rows of {config}: {reason}"
            for (config, reason), count in self._left_out.items()
        ]
        return [f"rows used: {used}", *left]
