"""Refusal by the first words of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unsee.refusals import REFUSALS
from unsee.refusals.base import RefusalJudge, Reply, opens_with_refusal


@REFUSALS.register("opening", paper="arXiv:2307.15043")
@dataclass(frozen=True)
class Opening(RefusalJudge):
    """The answer begins with the words of a refusal."""

    def refused(self, replies: Sequence[Reply]) -> list[bool]:
        """Read the beginning only; "The number is private" is missed."""
        return [opens_with_refusal(reply.answer) for reply in replies]
