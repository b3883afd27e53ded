"""Sets of plain text on which the usual activations of a model are measured."""

from __future__ import annotations

from pathlib import Path

from unsee.core.errors import DataError
from unsee.core.reading import is_file, numbered_lines, read_text
from unsee.data.general import reading_items
from unsee.data.people.profiles import draw_people
from unsee.data.people.questions import training_questions

GENERAL_TEXTS = "general"
_READING, _PEOPLE, _SEED = 120, 15, 0


def load_texts(name: str) -> tuple[str, ...]:
    """Return the texts of a set.

    Args:
        name: "general" for the texts made here, which are always the same, or a UTF-8 file with one text per line.

    Raises:
        DataError: the file cannot be read or holds no text.
    """
    if name == GENERAL_TEXTS:
        read = [f"{item.question} {item.answer}" for item in reading_items(_READING, _SEED)]
        told = [
            f"{profile.name}: {question.question} {question.answer}"
            for profile in draw_people(_PEOPLE, _SEED)
            for question in training_questions(profile)
        ]
        return tuple(read + told)
    if not is_file(Path(name)):
        raise DataError(f"texts {name}: neither '{GENERAL_TEXTS}' nor a file that can be read")
    texts = tuple(line.strip() for _, line in numbered_lines(read_text(Path(name))))
    if not texts:
        raise DataError(f"texts {name}: the file holds no text")
    return texts
