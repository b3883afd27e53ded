"""Relearn: train on a little, and ask about what was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from unsee.attacks import ATTACKS
from unsee.attacks.base import Lessons, TrainingAttack
from unsee.methods.base import NonNegativeFloat


@ATTACKS.register("relearn", paper="arXiv:2406.13356", label="relearn")
@dataclass(frozen=True, kw_only=True)
class Relearn(TrainingAttack):
    """Train on half of each person's facts, on other people, and on other text, and ask after 1, 2, 4, 8 and 16 steps.

    A model that only hides what it knows finds it again after a few steps on something near (Hu et al. 2024). What is
    asked is never trained on: with half of a person's facts, the questions are about the other half. So a model that
    never knew the people cannot learn the answers either, and the oracle shows how many are guessed.

    Attributes:
        learning_rate: the constant rate of AdamW, >= 0; 0 takes that of teaching.
        steps: the largest number of steps; the model is asked after 1, 2, 4 and so on, and at the end.
    """

    learning_rate: NonNegativeFloat = 0.0
    steps: Annotated[int, Field(ge=1, le=4096)] = 16

    @property
    def trainings(self) -> Mapping[str, Lessons]:
        """The three kinds of text."""
        return {"half of the facts": "facts", "other people": "people", "other text": "text"}

    @property
    def budgets(self) -> Sequence[int]:
        """Powers of two, and the last step."""
        powers = [2**power for power in range(self.steps.bit_length())]
        return sorted({*powers, self.steps})
