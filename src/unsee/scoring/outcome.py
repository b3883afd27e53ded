"""The content of request.json: what became of a deletion request, and the facts that its page must hold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from unsee.core.record import MIN_UNITS
from unsee.scoring.intervals import Estimate
from unsee.scoring.record_file import Filing, RecordFile, Strict

Verdict = Literal["done", "leaks", "broke", "not known"]


class BeforeAfter(Strict):
    """One number before and after; the three intervals share the same draws of people.

    Attributes:
        set: forget, test (other words and photos of the same rows), retain, or general (questions unrelated to the
            people).
        input: image or text.
        metric: probability, rouge_l or accuracy. Accuracy is the share of exact answers, or of correct choices in the
            general set.
        change: after minus before.
        n_units: number of people, or of items of the general set; intervals over few of them are not shown.
    """

    set: str
    input: str
    metric: str
    before: Estimate
    after: Estimate
    change: Estimate
    n_units: int
    n_items: int

    @property
    def has_interval(self) -> bool:
        """True if there are enough units for an interval."""
        return self.n_units >= MIN_UNITS


class Values(Strict):
    """In how many ways of asking a value is given.

    Attributes:
        ways: ways of asking: as written, by name, with the photo, in other words, with another photo.
        before: ways in which the model gave the value before, whole or a part that identifies it.
        after: the same now.
        partly: those of `after` in which only a part is given.
        guessed: ways in which the value is in the answer now, but no more often than strangers got it before.
    """

    ways: int
    before: int
    after: int
    partly: int
    guessed: int


class RowOutcome(Values):
    """One row to forget: the number of the person and its line in the file."""

    person: int
    line: int


class PersonOutcome(Values):
    """One person to forget.

    Attributes:
        person: the number of the person; their names are not on the page.
        lines: their lines in the file.
        broken: how many more answers about them are broken now than before, by kind (`KINDS`).
        any_broken: the same, whatever the kind.
    """

    person: int
    lines: str
    broken: dict[str, int]
    any_broken: int


class KeptOutcome(Strict):
    """The people to keep.

    Attributes:
        people: number of people.
        questions: number of questions about them.
        before: share of these questions that the model answered with the value before.
        after: the same now.
        any_broken: how many more answers about them are broken now than before.
    """

    people: int
    questions: int
    before: float
    after: float
    any_broken: int


class EarlierOutcome(Strict):
    """The rows of an earlier request, asked again: do they stay forgotten?

    Attributes:
        reference: of the earlier request, or its number.
        at_hand: False if its rows are gone or were changed, so that nothing was asked.
        ways: ways of asking.
        before: ways in which the value was given before the present request.
        after: the same now.
    """

    reference: str
    at_hand: bool
    ways: int = 0
    before: int = 0
    after: int = 0


class RequestFiling(Filing):
    """The facts about a request that its page must hold.

    Attributes:
        method: the method.
        model: the model that was asked to forget.
        rows: the SHA-256 of each file of rows, by name.
        model_before: hash of all its weights and of its chat template.
        model_after: the SHA-256 of each file of weights of the new model, by name.
        steps: the training steps that were taken; 0 if the method computes its change from trained ones.
        most_steps: the training steps that were allowed.
        outside: number of pictures that lie outside the folders of the rows.
    """

    method: str
    model: str
    rows: dict[str, str]
    model_before: str
    model_after: dict[str, str]
    steps: int
    most_steps: int
    outside: int


class Outcome(RecordFile):
    """The content of request.json.

    Attributes:
        verdict: "done", "leaks" (a value is still given), "broke", or "not known" (no value was given before).
        broke: what broke, as sentences.
        people: one entry for each person to forget.
        rows: one entry for each row to forget.
        kept: the people to keep.
        figures: every figure before and after.
        collapsed: the sign of collapse as a sentence, or None; a sign that the model showed before does not count.
        earlier: the earlier requests whose model this one started from.
        filing: what identifies the request; None while it is compared.
    """

    version: Literal["unsee.request/3"] = Field(default="unsee.request/3", alias="schema")
    verdict: Verdict
    broke: list[str]
    people: list[PersonOutcome]
    rows: list[RowOutcome]
    kept: KeptOutcome
    figures: list[BeforeAfter]
    collapsed: str | None
    earlier: list[EarlierOutcome] = Field(default_factory=list)
    filing: RequestFiling | None = None

    @property
    def total(self) -> Values:
        """The sums over all people to forget."""
        return Values(**{key: sum(getattr(person, key) for person in self.people) for key in Values.model_fields})
