"""The interface of a metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from unsee.core.record import Better
from unsee.data.schema import Question, Task


@dataclass(frozen=True, kw_only=True)
class AnsweredQuestion:
    """One question and a model's answer to it.

    Attributes:
        question: the question, with its true answer and options.
        answer: the text of the chosen option for classification, else the written text; "" if there is none.
        log_probability: log-probability of the true answer, end token included, nats.
        num_tokens: number of tokens of the true answer, end token included.
        others: log-probability and number of tokens, as above, of the true answer in other words and of each perturbed
            answer; empty if the question has none.
    """

    question: Question
    answer: str
    log_probability: float
    num_tokens: int
    others: tuple[tuple[float, int], ...] = ()


class Metric(Protocol):
    """A number about one answer.

    Attributes:
        tasks: the tasks that it is defined for: "classification", "generation", "cloze". Questions about the pictures
            of a run about documents are none of these; they have scores of their own.
        better: "higher" if a higher value means an answer closer to the truth, else "lower".
    """

    tasks: ClassVar[tuple[Task, ...]]
    better: ClassVar[Better]

    def score(self, answered: AnsweredQuestion) -> float:
        """Return the value for one answer."""
        ...
