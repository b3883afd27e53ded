"""The model's own probabilities decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unsee.refusals import REFUSALS
from unsee.refusals.base import Reply


@REFUSALS.register("likelihood")
@dataclass(frozen=True)
class Likelihood:
    """The model finds the beginning of a refusal likelier, per token, than an answer."""

    def refused(self, replies: Sequence[Reply]) -> list[bool]:
        """Independent of wording, and of how far the answer was written out."""
        return [reply.refusal_probability > reply.answer_probability for reply in replies]
