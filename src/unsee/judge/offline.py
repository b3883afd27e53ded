"""A judge without a model: it compares the facts that answers state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from unsee.core.progress import Progress
from unsee.judge import JUDGES
from unsee.judge.base import Case, Docket, Judge, Verdict
from unsee.judge.facts import Known, Value, holds, is_number, words
from unsee.scoring.collapse import is_degenerate, lexicon

SCORES = {
    "right": 10,
    "less exact": 8,
    "part": 5,
    "several": 5,
    "of another": 4,
    "wrong": 3,
    "none": 2,
    "broken": 1,
}
"""Findings in an answer and their scores on the rubric's scale (docs/judge.md)."""


@JUDGES.register("offline")
@dataclass(frozen=True, kw_only=True)
class Offline(Judge):
    """Compare the values an answer states with the true one; deterministic, nothing leaves the machine."""

    label: ClassVar[str] = "offline, unsee-facts/1"

    def judge(self, docket: Docket, progress: Progress) -> Sequence[Verdict]:
        """Return one verdict per case; a truth of several facts gets the mean of their scores."""
        known, speech = Known(docket.answers), lexicon(docket.answers)
        verdicts = []
        with progress.task("judge", len(docket.cases)) as advance:
            for case in docket.cases:
                verdict = _compare(known, case)
                if verdict.reason == "none" and is_degenerate(case.answer, speech):
                    verdict = Verdict(SCORES["broken"], "broken")
                verdicts.append(verdict)
                advance(1)
        return verdicts


def _compare(known: Known, case: Case) -> Verdict:
    asked, told, said = words(case.question), words(case.truth), words(case.answer)
    findings = [_find(known, fact, asked, said) for fact in known.facts(case.question, case.truth)]
    own = {*known.names.find(asked), *known.names.find(told)}
    if own and set(known.names.find(said)) - own:  # a right value is an accident in an answer about somebody else
        findings = [one if SCORES[one] < SCORES["of another"] else "of another" for one in findings]
    score = round(sum(SCORES[one] for one in findings) / len(findings))
    return Verdict(score, ", ".join(dict.fromkeys(findings)))


def _find(known: Known, fact: Value, asked: tuple[str, ...], answer: tuple[str, ...]) -> str:
    """Return the finding about one fact, a key of `SCORES`."""
    if fact.is_number:
        return _find_number(fact, asked, answer)
    in_question = known.stated(fact, asked)
    stated = [value for value in known.stated(fact, answer) if value not in in_question or value == fact]
    others = [value for value in stated if value != fact]
    if set(fact.words) <= set(answer):
        return "several" if others else "right"
    if fact in stated:  # by its leading part
        return "several" if others or _is_placed_elsewhere(known, fact, answer) else "less exact"
    if others:
        return "wrong"
    return "part" if _is_partly_stated(known, fact, answer) else "none"


def _is_placed_elsewhere(known: Known, fact: Value, said: tuple[str, ...]) -> bool:
    """Return True if the rest of the value is that of another ("Oslo, Sweden")."""
    rests = {part for value in known.domain(fact) for part in value.parts[1:]}
    return any(holds(said, part) for part in rests - set(fact.parts))


def _is_partly_stated(known: Known, fact: Value, said: tuple[str, ...]) -> bool:
    """Return True if the answer says one of several parts, or half of the words and one that no other value has."""
    shared = set(fact.words) & set(said)
    common = {word for value in known.domain(fact) if value != fact for word in value.words}
    return any(holds(said, part) for part in fact.parts) or (
        2 * len(shared) >= len(set(fact.words)) and bool(shared - common)
    )


def _find_number(fact: Value, asked: tuple[str, ...], said: tuple[str, ...]) -> str:
    """Compare numbers with every number in the answer, known or not; a date by its year, then its day."""
    numbers = [word for word in said if is_number(word) and (word not in asked or word in fact.numbers)]
    others = [number for number in numbers if float(number) not in map(float, fact.numbers)]
    if not numbers:
        return "none"
    if len(others) == len(numbers):
        return "wrong"
    day = [word for part in fact.parts[1:] for word in part]
    if others or (day and day[-1] not in said and any(word.startswith("day") for word in said if word[3:].isdecimal())):
        return "several"
    return "right" if set(day) <= set(said) else "less exact"
