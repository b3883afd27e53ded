"""The interface of a judge: cases, verdicts, and costs if it sends the cases anywhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from unsee.core.progress import Progress
from unsee.core.record import Record


@dataclass(frozen=True)
class Case:
    """One answer to judge. Equal answers to equal questions are one case, whichever models gave them."""

    question: str
    truth: str
    answer: str


@dataclass(frozen=True)
class Verdict:
    """The judgement of one answer.

    Attributes:
        score: 1 (nothing is true) to 10 (everything is true); None if the judge gave no number.
        reason: the reason in a word or two; never the answer itself.
    """

    score: int | None
    reason: str


@dataclass(frozen=True)
class Docket:
    """The answers of one run that a judge scores.

    Attributes:
        record: the run's folder.
        answers: every row of the run, of all tasks; they show the values that an attribute can have.
        cases: the sentences to judge, each once.
    """

    record: Record
    answers: pd.DataFrame
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Costs:
    """The costs of asking, computed before anything is sent.

    Attributes:
        receiver: the address of the endpoint.
        content: what would leave the machine, in words.
        calls: number of requests.
        known: number of cases already in the journal.
        tokens_in: tokens to send, an estimate.
        tokens_out: tokens to receive, an upper limit.
        price: in the currency of the prices; None without prices.
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
        """The costs in words."""
        if not self.calls:
            return f"All {self.known} answers are judged already; nothing is sent to {self.receiver}."
        price = "" if self.price is None else f", about {self.price:.2f} at the prices given"
        known = f" {self.known} more are judged already." if self.known else ""
        return (
            f"{self.calls} requests to {self.receiver}, which send {self.content} off this machine; about "
            f"{self.tokens_in:,} tokens sent and at most "
            f"{self.tokens_out:,} received{price}.{known}"
        )


@dataclass(frozen=True)
class Judge(ABC):
    """A judge that gives every case a verdict. Its fields are its options."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The judge and its rubric, for records and tables."""

    @abstractmethod
    def judge(self, docket: Docket, progress: Progress) -> Sequence[Verdict]:
        """Return one verdict per case, in order.

        Raises:
            JudgeError: the judge refuses or cannot be reached.
        """

    def costs(self, docket: Docket) -> Costs | None:
        """Return the costs that `judge` would have now, for the user's consent; None if nothing leaves this machine."""
        return None
