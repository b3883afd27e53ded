"""The template floor: what a sentence scores that has the right wording and somebody else's fact."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from unsee.data.schema import Person, Question
from unsee.metrics._rouge import f_measure

_NAME = "\0"


def template_floor(people: Sequence[Person]) -> dict[tuple[str, Question], float]:
    """ROUGE-L of the answers that the other people have to the same question, by person's ID and question.

    A question is the same if it is asked in the same words and the same way (portrait or name), the name in it aside.
    Where the question gives the name, a borrowed answer has it too, as a model has that knows nothing but the wording.
    Each other person counts once; questions that nobody else is asked are left out.
    """
    answers: dict[tuple[str, str], dict[str, str]] = {}
    for person in people:
        for question in _sentences(person):
            asked, answer = _unnamed(person, question)
            answers.setdefault((question.input, asked), {})[person.id] = answer
    floors = {}
    for person in people:
        for question in _sentences(person):
            asked, _ = _unnamed(person, question)
            others = [answer for id, answer in answers[question.input, asked].items() if id != person.id]
            borrowed = [answer.replace(_NAME, person.name) for answer in others]
            if borrowed:
                floors[person.id, question] = fmean(f_measure("rougeL", question.answer, text) for text in borrowed)
    return floors


def _unnamed(person: Person, question: Question) -> tuple[str, str]:
    """Question and answer with a mark in place of the name, where the question has it."""
    if not person.name or person.name not in question.question:
        return question.question, question.answer
    return question.question.replace(person.name, _NAME), question.answer.replace(person.name, _NAME)


def _sentences(person: Person) -> list[Question]:
    return [question for question in person.questions if question.task == "generation"]
