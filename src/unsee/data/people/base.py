"""The interface of a dataset about people: a format that is read into the four sets of one forget ratio."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import ClassVar, Literal

from unsee.core.errors import DataError
from unsee.core.text import is_file_name
from unsee.data.schema import Benchmark, Person


class Dataset(ABC):
    """A format of data about people. It is chosen by `data.format`, and `data.source` says where the files are.

    Attributes:
        hub: the dataset's name on the hub, for messages; "" if it is not on the hub.
        training_hub: the name on the hub of training text that is published apart from the questions; "" if the two
            are always together, and then `data.training_text` is refused.
        training_kind: the kind of repository that holds this training text.
    """

    hub: ClassVar[str] = ""
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

    def training_files(self, percent: int) -> Sequence[str]:
        """Return the same for training text that is published apart."""
        return ("*",)


def make_benchmark(
    *, forget: Sequence[Person], test: Sequence[Person], retain: Sequence[Person], celebrity: Sequence[Person]
) -> Benchmark:
    """Return a benchmark whose fingerprint is of its content, so that equal data are equal wherever they lie.

    Raises:
        DataError: an ID cannot be the name of a file.
    """
    digest = hashlib.sha256()
    sets = {"forget": tuple(forget), "test": tuple(test), "retain": tuple(retain), "celebrity": tuple(celebrity)}
    for name, people in sets.items():
        for person in people:
            if not is_file_name(person.id):
                raise DataError(f"{name}: ID {person.id!r} names files; it must be short and hold no slash")
            images = [hashlib.sha256(image).hexdigest() for image in person.images]
            questions = [astuple(question) for question in person.questions]
            digest.update(json.dumps([name, person.id, person.name, images, questions]).encode())
    return Benchmark(**sets, fingerprint=digest.hexdigest())
