"""What a judge is given and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pandas as pd

from unsee.core.progress import Progress
from unsee.core.record import Record


@dataclass(frozen=True)
class Case:
    """One answer to be judged; equal answers to equal questions are one case, whichever models gave them."""

    question: str
    truth: str
    answer: str


@dataclass(frozen=True)
class Verdict:
    """How true one answer is.

    Attributes:
        score: 1 (nothing of it) to 10 (all of it); None where the judge gave no number.
        reason: what was found, in a word or two; never the answer itself.
    """

    score: int | None
    reason: str


@dataclass(frozen=True)
class Docket:
    """What there is to judge in one run.

    Attributes:
        record: the run's folder.
        answers: every row of the run, of all tasks: they say which values an attribute can have.
        cases: the sentences to judge, each once.
    """

    record: Record
    answers: pd.DataFrame
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Costs:
    """What asking will take, before anything is asked.

    Attributes:
        receiver: where it would go.
        content: what would leave the machine.
        calls: requests to be made.
        known: cases already in the journal.
        tokens_in: sent, about.
        tokens_out: received, at most.
        price: in the currency of the prices given; None without prices.
    """

    receiver: str
    content: str
    calls: int
    known: int
    tokens_in: int
    tokens_out: int
    price: float | None

    @property
    def sentence(self) -> str:
        """All of it in words, with what leaves the machine."""
        if not self.calls:
            return f"All {self.known} answers are judged already; nothing is sent to {self.receiver}."
        price = "" if self.price is None else f", about {self.price:.2f} at the prices given"
        known = f" {self.known} more are judged already." if self.known else ""
        return (
            f"{self.calls} requests to {self.receiver}, which send {self.content} off this machine; about "
            f"{self.tokens_in:,} tokens sent and at most "
            f"{self.tokens_out:,} received{price}.{known}"
        )


class Judge(Protocol):
    """Gives every case a verdict."""

    @property
    def label(self) -> str:
        """Which judge by which rubric, for records and tables."""
        ...

    def judge(self, docket: Docket, progress: Progress) -> Sequence[Verdict]:
        """One verdict per case, in order."""
        ...


@runtime_checkable
class RemoteJudge(Protocol):
    """A judge to whom answers must be sent; nobody is asked before the user has seen the costs."""

    def costs(self, docket: Docket) -> Costs:
        """What `judge` would send and ask now."""
        ...
