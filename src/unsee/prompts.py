"""What a model is asked, word for word: zero-shot, one instruction per task.

The same question text is used for teaching a base model the task and for evaluating it.
"""

from __future__ import annotations

from typing import Literal

from unsee.data.questions import SHORT
from unsee.data.schema import LETTERS, Question

Choice = Literal["likelihood", "letter"]

BLANK = "Fill in the blank."
LETTER = "Answer with the letter of the right option."


def ask(question: Question, choice: Choice = "likelihood") -> str:
    """The text of the user's turn, without image placeholder."""
    if question.task == "cloze":
        return f"{question.question} {BLANK}"
    if question.task != "classification":
        return question.question
    if choice == "likelihood":
        return f"{question.question} {SHORT}"
    listed = "\n".join(f"{letter}: {text}" for letter, text in zip(LETTERS, question.options, strict=True))
    return f"{question.question}\n{listed}\n{LETTER}"
