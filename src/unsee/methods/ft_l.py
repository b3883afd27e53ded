"""Constrained fine-tuning (FT-L)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from unsee.config.search import Range
from unsee.data.pairs import PrivacyPair
from unsee.edits.pair_rows import shuffled_pair_rows
from unsee.edits.partial_forward import AUTO, down_name, parse_layers
from unsee.edits.tune import TuningPlan, refusal_objective, tune
from unsee.methods import METHODS
from unsee.methods.base import Deltas, EditMethod, Layers, NonNegativeFloat, PositiveFloat, PositiveInt, Work
from unsee.models.vlm import VLM


@METHODS.register("ft_l", paper="arXiv:2012.00363", label="FT-L")
@dataclass(frozen=True, kw_only=True)
class FTL(EditMethod):
    """Fine-tune down projections to refuse, with a bound on the change of each weight.

    Deviation: the bound is a share of the matrix's root mean square; published bounds are absolute and chosen for each
    model.

    Attributes:
        layers: "3", "2,5", "4-7", or "auto" for the layer at a third of the depth.
        bound: largest change of a weight, as a share of the matrix's root mean square, > 0.
        benign_weight: factor of the benign loss, >= 0.
        learning_rate: Adam's step as a share of the matrix's root mean square, > 0.
        epochs: passes over the pairs.
        pictures: pictures per step.
    """

    layers: Layers = AUTO
    bound: PositiveFloat = 0.03
    benign_weight: Annotated[NonNegativeFloat, Range(0.3, 5)] = 1.25
    learning_rate: Annotated[PositiveFloat, Range(0.01, 0.3)] = 0.06
    epochs: Annotated[PositiveInt, Range(1, 6)] = 2
    pictures: PositiveInt = 1

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Minimise the refusal objective; after every step, clamp the change of each weight."""
        names = [down_name(vlm, layer) for layer in parse_layers(vlm, self.layers)]
        batches = shuffled_pair_rows(vlm, pairs, pictures=self.pictures, seed=work.seed)
        plan = TuningPlan(learning_rate=self.learning_rate, epochs=self.epochs)
        deltas = tune(
            vlm, batches, names, plan, refusal_objective(self.benign_weight),
            constrain=self.nearest, seed=work.seed, progress=work.progress,
        )  # fmt: skip
        return Deltas(deltas=deltas)

    def nearest(self, name: str, start_DF: Tensor, matrix_DF: Tensor) -> Tensor:
        """Return the nearest matrix whose difference from the unedited one is within the bound."""
        furthest = self.bound * start_DF.square().mean().sqrt()
        return start_DF + (matrix_DF - start_DF).clamp(-furthest, furthest)
