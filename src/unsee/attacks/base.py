"""What an attack must provide: another way to ask, changed weights, or further training."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image
from torch import Tensor

QUESTION = "{question}"
"""Stands for the question in the texts of an `Asking`."""
Lessons = Literal["facts", "people", "text"]
"""What a training attack trains on.

facts: half of what each person to forget is known by; the questions are about the other half.
people: the training text of people to keep.
text: the base model's training text, which is about nobody; there is none for a model that somebody else made.
"""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A way to ask the questions about the people to forget.

    Attributes:
        system: a system prompt.
        wording: the text of the question, in which `QUESTION` stands for the question itself.
        opening: the beginning of the answer, put into the model's mouth.
        turns: earlier turns of the chat, each with what the user said and what the model answered, in words that may
            hold `QUESTION`.
        examples: number of answered questions of the same task, about people to keep, as turns before.
        pictures: which pictures `QuestionAttack.picture` draws: none (""), one for each photo ("photo"), or one for
            each question about a photo ("question").
        samples: number of answers drawn at temperature 1, of which the best counts; 0 takes the greedy answer. Only
            answers in words are drawn.
    """

    system: str = ""
    wording: str = QUESTION
    opening: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    examples: int = 0
    pictures: Literal["", "photo", "question"] = ""
    samples: int = 0


class QuestionAttack(ABC):
    """An attack that asks in other ways and leaves the weights as they are."""

    @property
    @abstractmethod
    def askings(self) -> Mapping[str, Asking]:
        """The ways to ask, by name."""

    def picture(self, variant: str, image: Image.Image, question: str, rng: random.Random) -> Image.Image:
        """Return the picture to show instead of a photo; the same for the same state of `rng`.

        Args:
            variant: the name of the asking.
            image: the photo.
            question: the question; "" if the picture serves all questions about the photo.
            rng: seeded by person, photo and variant, so that every model sees the same picture.
        """
        return image


class WeightAttack(ABC):
    """An attack that changes weights without training."""

    @property
    @abstractmethod
    def variants(self) -> Sequence[str]:
        """The changes, by name."""

    @abstractmethod
    def change(self, variant: str, weight_OI: Tensor) -> Tensor:
        """Return the changed weight of a linear layer of decoder or projector, in the same shape."""


class TrainingAttack(ABC):
    """An attack that trains the model further, at a constant rate, and asks after some numbers of steps.

    Attributes:
        learning_rate: the rate; 0 takes that of teaching.
    """

    learning_rate: float = 0.0

    @property
    @abstractmethod
    def trainings(self) -> Mapping[str, Lessons]:
        """What is trained on, by name."""

    @property
    @abstractmethod
    def budgets(self) -> Sequence[int]:
        """The numbers of steps after which the model is asked, in ascending order."""


class LikelihoodAttack(ABC):
    """An attack that reads how likely a model finds the training text of the people to forget, and asks nothing.

    Attributes:
        strangers: number of invented people, whom no model was taught, to compare with.
        others: number of other people's answers to each question, as perturbed answers.
    """

    strangers: int
    others: int


@dataclass(frozen=True, kw_only=True)
class States:
    """Hidden states at the last token of choices, before the model answers.

    Attributes:
        state_LQD: the output of each decoder layer.
        options: the tokens of each option, by question.
        truth_Q: the number of the true option.
        head_VD: the output matrix, whose rows stand for tokens.
        log_readable: log-probabilities of tokens that the head reads from each layer (Q, V); empty if it cannot.
    """

    state_LQD: Tensor
    options: Sequence[Sequence[Sequence[int]]]
    truth_Q: Tensor
    head_VD: Tensor
    log_readable: Sequence[Tensor]


class StateAttack(ABC):
    """An attack that reads the answers to choices from hidden states."""

    def is_control(self, variant: str) -> bool:
        """Return True if a variant shows what the attack finds where nothing is to be found; it never counts."""
        return False

    @abstractmethod
    def read(self, known: States, asked: States, seed: int) -> Mapping[str, Tensor]:
        """Return the option that is read for each question, by variant.

        Args:
            known: choices about people to keep, whose true options may be used.
            asked: choices about the people to forget, whose true options may not.
            seed: of everything that is drawn.
        """


class DepthAttack:
    """An attack that puts a model's hidden states into the target, and reads how likely the target finds the values."""


Attack = QuestionAttack | WeightAttack | TrainingAttack | LikelihoodAttack | StateAttack | DepthAttack
