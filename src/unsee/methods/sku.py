"""Selective knowledge negation unlearning (SKU), with the refusal objective."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from torch import Tensor

from unsee.config.search import Range
from unsee.data.pairs import PrivacyPair, to_refuse
from unsee.edits.pair_rows import PairRows, shuffled_pair_rows
from unsee.edits.partial_forward import AUTO, down_name, parse_layers
from unsee.edits.tune import TuningPlan, tune
from unsee.forward.losses import Scored, kl_divergence
from unsee.methods import METHODS
from unsee.methods.base import Deltas, EditMethod, Layers, NonNegativeFloat, PositiveFloat, PositiveInt, Work
from unsee.models.vlm import VLM


@METHODS.register("sku", paper="arXiv:2402.10058", label="SKU")
@dataclass(frozen=True, kw_only=True)
class SKU(EditMethod):
    """Tune with a guided, a random and a preserving term, then scale the learned change.

    The published method trains a harmful model and subtracts the difference. Here, as in the comparison of the Neural
    Gate paper, it trains a refusing model and adds the difference: guided distortion is the pair's own refusal, random
    disassociation is another pair's refusal, and preservation keeps the benign answers.

    Attributes:
        layers: "3", "2,5", "4-7", or "auto" for the layer at a third of the depth.
        random_weight: factor of the loss on other pairs' refusals, >= 0.
        preserve_weight: factor of KL(unedited || edited) on the benign answers, >= 0.
        strength: factor of the learned change, > 0.
        learning_rate: Adam's step as a share of the matrix's root mean square, > 0.
        epochs: passes over the pairs.
        pictures: pictures per step.
    """

    layers: Layers = AUTO
    random_weight: NonNegativeFloat = 0.5
    preserve_weight: NonNegativeFloat = 1.0
    strength: PositiveFloat = 1.0
    learning_rate: Annotated[PositiveFloat, Range(0.01, 0.3)] = 0.06
    epochs: Annotated[PositiveInt, Range(1, 6)] = 1
    pictures: PositiveInt = 1

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Tune on the pairs and on the pairs with refusals of other pairs, then scale the change."""
        names = [down_name(vlm, layer) for layer in parse_layers(vlm, self.layers)]
        refusals = [pair.refusal for pair in to_refuse(pairs)]
        random.Random(work.seed).shuffle(refusals)
        drawn = iter(refusals)
        swapped = [replace(pair, refusal=next(drawn)) if pair.sensitive else pair for pair in pairs]
        batches, others = (
            shuffled_pair_rows(vlm, some, pictures=self.pictures, seed=work.seed) for some in (pairs, swapped)
        )
        batches += [replace(rows, own_refusals=False) for rows in others]
        plan = TuningPlan(learning_rate=self.learning_rate, epochs=self.epochs)
        learned = tune(
            vlm, batches, names, plan, self._objective, compares=True, seed=work.seed, progress=work.progress
        )
        return Deltas(deltas={name: self.strength * delta for name, delta in learned.items()})

    def _objective(self, scored: Scored, before: Scored | None, rows: PairRows) -> Tensor:
        weight = 1.0 if rows.own_refusals else self.random_weight
        loss = weight * rows.loss_B(scored, 0.0).mean()
        benign_N = ~rows.sensitive_I[scored.item_N]
        if before is None or not benign_N.any():
            return loss
        return loss + self.preserve_weight * kl_divergence(before.only(benign_N), scored.only(benign_N))
