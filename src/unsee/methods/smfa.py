"""SMFA: refusing adapters, cut where they would undo what a retain adapter learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import (
    ArithmeticMethod,
    Batches,
    Change,
    Deltas,
    Loss,
    Model,
    NonNegativeInt,
    PositiveFloat,
    Side,
    StepBatch,
    Training,
)
from unsee.models.vlm import VLM

EPSILON = 1e-12
RETAIN = "retain"


@METHODS.register("smfa", paper="arXiv:2511.20196", label="SMFA")
@dataclass(frozen=True, kw_only=True)
class SMFA(ArithmeticMethod):
    """Train refusals of image and of text questions apart; drop what contradicts training on retain answers.

    Each training starts from the target: one learns refusals of forget questions with the image and the true retain
    answers, one the same by name, one retain answers alone. With D the change of a matrix and
    `rho = |D_forget| / (|D_retain| + e)`, an entry of D_forget is 0 if its sign differs from that of D_retain and
    `strength * rho * |D_retain| < |D_forget|`. The mean of the changes that are left is added to the target.
    Source: arXiv:2511.20196, with the formulas of Open-MMUnlearning's port; the authors' own code was not obtainable.
    Deviation: there are three trainings with an optimiser each in place of one step for the mean of all six losses; the
    losses of one adapter do not depend on the others.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps of each training; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        image_strength: k of the image questions, > 0; larger ones keep more of the change.
        text_strength: k of the text questions, > 0.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    image_strength: Annotated[PositiveFloat, Range(1, 20)] = 5.0
    text_strength: Annotated[PositiveFloat, Range(1, 20)] = 10.0

    @property
    def sides(self) -> tuple[Side, ...]:
        """The forget questions with refusals, and the retain side."""
        return ("refusal", "retain")

    @property
    def trainings(self) -> Mapping[str, Training]:
        """One of image questions, one of text questions, and one of the retain side."""
        return {
            "image": Training(self.sides, ("image",)),
            "text": Training(self.sides, ("text",)),
            RETAIN: Training(("retain",)),
        }

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return the mean cross-entropy of the sides that the step has."""
        terms = {side: cross_entropy(model(rows)) for side, rows in batch.sides.items()}
        return Loss(torch.stack(list(terms.values())).mean(), {side: term.item() for side, term in terms.items()})

    def after_training(self, changes: Mapping[str, Change], vlm: VLM, batches: Batches) -> Deltas:
        """Return the mean of the refusing changes, each without the entries that contradict the retain change."""
        refusing = [name for name in changes if name != RETAIN]
        strengths = {"image": self.image_strength, "text": self.text_strength}
        deltas = {
            key: torch.stack([agreeing(changes[name][key], keep, strengths[name]) for name in refusing]).mean(0)
            for key, keep in changes[RETAIN].items()
        }
        return Deltas(deltas=deltas)


def agreeing(forget: Tensor, retain: Tensor, strength: float) -> Tensor:
    """Return a change of a matrix with 0 where it is against another one and large beside it."""
    ratio = forget.norm() / (retain.norm() + EPSILON)
    against = (forget * retain < 0) & (strength * ratio * retain.abs() < forget.abs())
    return forget.masked_fill(against, 0)
