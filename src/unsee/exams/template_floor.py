"""The template floor: the ROUGE-L of a sentence with the right wording and the fact of somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from unsee.data.schema import Person, Question
from unsee.metrics._rouge import f_measure

_NAME = "\0"


def template_floor(people: Sequence[Person]) -> dict[tuple[str, Question], float]:
    """Return the mean ROUGE-L of other people's answers to the same question, by person's ID and question.

    Two questions are the same if wording and input (portrait or name) are, apart from the name in them. If the question
    holds the name, it replaces the other name in a borrowed answer: a model that knows only the wording would do so.
    Each other person counts once. Questions that nobody else is asked are left out.
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
    """Return question and answer with a mark in place of the name, if the question holds the name."""
    if not person.name or person.name not in question.question:
        return question.question, question.answer
    return question.question.replace(person.name, _NAME), question.answer.replace(person.name, _NAME)


def _sentences(person: Person) -> list[Question]:
    return [question for question in person.questions if question.task == "generation"]
