"""MMUnlearner: gradient difference whose forget gradient moves only the weights that matter to what is forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from unsee.config.search import Range
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import (
    Asked,
    GradientMethod,
    Loss,
    Model,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    StepBatch,
)

EPSILON = 1e-15


@METHODS.register("mmunlearner", paper="arXiv:2502.11051", label="MMUnlearner")
@dataclass(frozen=True, kw_only=True)
class MMUnlearner(GradientMethod):
    """Raise the cross-entropy of the forget answers by weights that matter more to them than to what is kept.

    Source: arXiv:2502.11051: `mask = [(F_forget + e) / (F_kept + e) >= threshold]`, F the square of a batch's gradient,
    a mean over batches. F_kept is a mean over the retain questions with the image, by name, and the forget questions by
    name: the paper keeps what the text knows. A weight that no text question reaches (the projector) is compared with
    the retain questions with the image alone. With text questions on the forget side set `keep_text = false`.
    Deviations: both gradients make one step, in place of one forget step after several retain steps with an optimiser
    each; clipping comes after the mask. With adapters the mask is that of their factors; the first factors have no
    gradient at the start and pass. The published code for LLaVA compares the names of base weights with those of
    adapters, so that it masks nothing: that is `gradient_difference`.

    Attributes:
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        threshold: smallest ratio of a weight that forgets, > 0.
        keep_text: keep what the text knows about the people to forget, as in the paper.
        retain_weight: factor of the retain cross-entropy, >= 0.
    """

    learning_rate: Annotated[PositiveFloat, Range(1e-5, 2e-3)] = 1e-4
    steps: Annotated[NonNegativeInt, Range(10, 80)] = 30
    threshold: Annotated[PositiveFloat, Range(0.25, 4)] = 1.0
    keep_text: bool = True
    retain_weight: Annotated[NonNegativeFloat, Range(0.25, 8)] = 1.0

    @property
    def fisher(self) -> tuple[Asked, ...]:
        """Both sides, asked in both ways."""
        return (("forget", "image"), ("forget", "text"), ("retain", "image"), ("retain", "text"))

    def term(self, name: str, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return `-CE(forget)` or `retain_weight * CE(retain)`."""
        if name == "forget":
            forget = cross_entropy(model(batch.forget))
            return Loss(-forget, {"forget": forget.item()})
        retain = cross_entropy(model(batch.retain))
        return Loss(self.retain_weight * retain, {"retain": retain.item()})

    def combine(
        self, gradients: Mapping[str, Sequence[Tensor]], fisher: Mapping[Asked, Sequence[Tensor]]
    ) -> Sequence[Tensor]:
        """Return `mask * forget + retain`."""
        steps = enumerate(zip(gradients["forget"], gradients["retain"], strict=True))
        return [
            self.mask({asked: of[i] for asked, of in fisher.items()}).to(forget.dtype) * forget + retain
            for i, (forget, retain) in steps
        ]

    def mask(self, fisher: Mapping[Asked, Tensor]) -> Tensor:
        """Return True where a tensor's weights may forget, from its Fisher information."""
        images = {asked: of for asked, of in fisher.items() if asked[1] == "image"}
        if images and not any(of.any() for asked, of in fisher.items() if asked[1] == "text"):
            fisher = images
        to_forget = [asked for asked in fisher if asked[0] == "forget"]
        forgotten = [asked for asked in to_forget if asked in images or not self.keep_text] or to_forget
        forget = torch.stack([of for asked, of in fisher.items() if asked in forgotten]).mean(0)
        keep = torch.stack([of for asked, of in fisher.items() if asked not in forgotten]).mean(0)
        return (forget + EPSILON) / (keep + EPSILON) >= self.threshold
