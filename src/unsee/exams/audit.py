"""The exam of an audit: what is asked plainly, what is asked under attack, and what attacks may train on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pandas as pd

from unsee.attacks.base import Lessons
from unsee.config.recipe import EvaluationConfig
from unsee.core.record import LEAK, Better
from unsee.data.deletion import Fact, Request
from unsee.data.general import GeneralItem
from unsee.data.people.questions import name_twin
from unsee.data.people.strangers import NUM_STRANGERS, invent_strangers
from unsee.data.schema import Person, Task
from unsee.exams.deletion import DeletionExam
from unsee.exams.metrics import make_metrics
from unsee.exams.plan import Item
from unsee.metrics.base import AnsweredQuestion
from unsee.models.vlm import VLM
from unsee.scoring.values_given import share_given, tokens, value_words

NUM_INVENTED = 12
"""Invented people to train on where the request names nobody to keep."""


@dataclass(frozen=True, kw_only=True)
class _ValueGiven:
    """The share of the value of a question that an answer holds; of several answers, that with most counts."""

    tasks: ClassVar[tuple[Task, ...]] = ("generation",)
    better: ClassVar[Better] = "higher"

    def score(self, answered: AnsweredQuestion) -> float:
        """Return the share."""
        question = answered.question
        return share_given(answered.answer, value_words(question.question, question.answer))


class AuditExam:
    """The questions of an audit, the same for every model.

    A row is asked plainly in all the ways of a deletion request. Under attack it is asked as it is written and in its
    other form, by name or with the photo, and strangers are asked the same.

    Args:
        vlm: its processor prepares the photos.
        request: the rows.
        general: questions unrelated to the people.
        config: the settings of the evaluation.
        seed: of the halves of what is known of each person.

    Attributes:
        plain: all questions that are asked plainly.
        attacked: the questions under attack.
        keep: the people to keep, or invented ones if the request has none.
        undivided: the numbers of people whose rows cannot be divided into halves without a common value.
    """

    def __init__(
        self, vlm: VLM, request: Request, general: Sequence[GeneralItem], config: EvaluationConfig, seed: int
    ) -> None:
        metrics = make_metrics(config, {}) | {LEAK: _ValueGiven()}
        self._asked = DeletionExam(vlm, request, general, config, metrics)
        self.plain = self._asked.before
        groups = [
            replace(group, items=items)
            for group in self.plain.prompt_groups
            if (items := [item for item in group.items if self._is_attacked(item)])
        ]
        self.attacked = self.plain.asking(groups, "as written")
        halves = _halves(request.forget_facts, seed)
        self._hidden = {_identity(fact) for fact in request.forget_facts if fact in halves.hidden}
        self.undivided = halves.undivided
        self.keep = list(request.retain) or _invented(request.forget_facts)
        self._taught = [_with_facts(person, halves.shown) for person in request.forget]

    @property
    def people(self) -> list[Person]:
        """Everybody whom the questions under attack are about."""
        return self._asked.people

    @property
    def taught(self) -> dict[Lessons, list[Person]]:
        """What training attacks may train on."""
        return {"facts": self._taught, "people": self.keep}

    @property
    def values(self) -> dict[str, tuple[str, ...]]:
        """The words of the value of each row."""
        return self._asked.values

    def is_asked(self, lessons: Lessons, item: Item) -> bool:
        """Return True for an item that is asked after a training: with half of the facts, about the other half."""
        return lessons != "facts" or self._asked.row_of(item.id) in self._hidden

    def named(self, answers: pd.DataFrame) -> pd.DataFrame:
        """Return answers with strangers in a set of their own, and with the row that each question asks for."""
        about = answers["set"].isin(["forget", "test", "celebrity"])
        rows = [self._asked.row_of(item) if own else "" for item, own in zip(answers["item"], about, strict=True)]
        return self._asked.named(answers).assign(row=rows)

    def comparable(self, named: pd.DataFrame) -> pd.DataFrame:
        """Return the plain answers about rows and strangers whose true answer names nobody, so it is one for both."""
        names = {int(number): name for number, name in self._asked.names.items() if number.isdecimal()}
        plain = named[(named["row"] != "") & (named["attack"] == "")]
        says = [
            bool(set(tokens(truth)) & set(tokens(names[int(row[:3])])))
            for truth, row in zip(plain["truth"], plain["row"], strict=True)
        ]
        return plain[~pd.Series(says, index=plain.index, dtype=bool)]

    def _is_attacked(self, item: Item) -> bool:
        return item.set in ("forget", "celebrity") and self._asked.as_written(item.id)


@dataclass(frozen=True)
class _Halves:
    """The rows of people to forget in two halves without a common value.

    Attributes:
        shown: rows to train on.
        hidden: rows to ask about.
        undivided: the numbers of people without two such halves; their rows are in neither.
    """

    shown: list[Fact]
    hidden: list[Fact]
    undivided: list[int]


def _halves(facts: Sequence[Fact], seed: int) -> _Halves:
    """Divide the rows of each person; rows of which one holds a word of the other's value stay together."""
    halves = _Halves([], [], [])
    for number in dict.fromkeys(fact.person for fact in facts):
        groups = _apart([fact for fact in facts if fact.person == number])
        if len(groups) < 2:
            halves.undivided.append(number)
            continue
        random.Random(f"{seed}-halves-{number}").shuffle(groups)
        half = (len(groups) + 1) // 2
        halves.hidden.extend(fact for group in groups[:half] for fact in group)
        halves.shown.extend(fact for group in groups[half:] for fact in group)
    return halves


def _apart(facts: Sequence[Fact]) -> list[list[Fact]]:
    """Return the rows in groups that share no value: no row of one group says a word of a value of another group."""
    groups: list[tuple[set[str], set[str], list[Fact]]] = []
    for fact in facts:
        said = set(tokens(f"{fact.question} {fact.answer}")) - set(tokens(fact.name))
        value, own = set(value_words(f"{fact.question} {fact.name}", fact.answer)), [fact]
        for group in [group for group in groups if group[0] & value or group[1] & said]:
            groups.remove(group)
            said, value, own = said | group[0], value | group[1], group[2] + own
        groups.append((said, value, own))
    return [group[2] for group in groups]


def _identity(fact: Fact) -> str:
    return f"{fact.person:03}-{fact.line:04}"


def _with_facts(person: Person, facts: Sequence[Fact]) -> Person:
    """Return somebody with the training text of some rows only."""
    number = int(person.id.partition("-")[0])
    shown = {(fact.question, fact.answer) for fact in facts if fact.person == number}
    kept = [q for q in person.questions if q.task == "train" and (q.question, q.answer) in shown]
    return replace(person, questions=tuple(kept))


def _invented(facts: Sequence[Fact]) -> list[Person]:
    """Return invented people with invented facts, none of which holds a word of a value of the rows."""
    taken = {word for fact in facts for word in value_words(f"{fact.question} {fact.name}", fact.answer)}
    drawn = invent_strangers(NUM_STRANGERS + NUM_INVENTED, [fact.name for fact in facts])
    found = []
    for person in drawn[NUM_STRANGERS:]:  # the others are the control for guesses
        taught = [q for q in person.questions if not taken & set(value_words(q.question, q.answer))]
        asked = [replace(q, task="generation") for q in taught]
        twins = [twin for question in asked if (twin := name_twin(question, person.name))]
        found.append(replace(person, questions=(*taught, *asked, *twins)))
    return found
