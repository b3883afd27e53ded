"""Membership: read from likelihoods whether somebody was in the training text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from unsee.attacks import ATTACKS
from unsee.attacks.base import LikelihoodAttack


@ATTACKS.register("membership", paper="arXiv:2402.07841", label="membership")
@dataclass(frozen=True, kw_only=True)
class Membership(LikelihoodAttack):
    """Compare how likely the training text of the people to forget is with that of strangers nobody was taught.

    Gives the measures of `unsee.scoring.memorisation`: membership inference by five signals, truth ratio and forget
    quality, extraction strength and exact memorisation. They are no part of robustness, because none of them says what
    a model answers. Strangers are invented like the people of generated data; for other data, where they would be told
    apart by their style, membership is left out.

    Attributes:
        strangers: number of people to compare with, at least 5.
        others: number of other people's answers to each question, for the truth ratio.
    """

    strangers: Annotated[int, Field(ge=5, le=200)] = 20
    others: Annotated[int, Field(ge=1, le=20)] = 5
