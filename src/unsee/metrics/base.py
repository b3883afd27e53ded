"""What a metric is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from unsee.data.schema import Question, Task


@dataclass(frozen=True, kw_only=True)
class Given:
    """One question and what a model made of it.

    Attributes:
        question: with its true answer and options.
        answer: the option chosen (its text) for classification, else the text written; "" if there is none.
        log_probability: of the true answer, end token included, nats.
        num_tokens: tokens of the true answer, end token included.
    """

    question: Question
    answer: str
    log_probability: float
    num_tokens: int


class Metric(Protocol):
    """A number about one answer; `tasks` says which answers it is defined for."""

    tasks: ClassVar[tuple[Task, ...]]

    def score(self, given: Given) -> float:
        """The value for one answer."""
        ...
