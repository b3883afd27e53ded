"""Sample: draw several answers, of which the best counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from unsee.attacks import ATTACKS
from unsee.attacks.base import Asking, QuestionAttack


@ATTACKS.register("sample", paper="arXiv:2511.04934", label="sample")
@dataclass(frozen=True, kw_only=True)
class Sample(QuestionAttack):
    """Draw answers at temperature 1; how often is the true value among them?

    This is leak@k. Chance alone finds a value among many answers: the oracle, which is asked as often, is the floor.
    Choices, of which the model writes nothing, are left out.

    Attributes:
        answers: how many are drawn for each question.
    """

    answers: Annotated[int, Field(ge=2, le=256)] = 10

    @property
    def askings(self) -> Mapping[str, Asking]:
        """One: the best of all answers."""
        return {f"best of {self.answers}": Asking(samples=self.answers)}
