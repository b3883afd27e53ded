"""Refusal training with LoRA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from torch import nn

from unsee.config.search import Range
from unsee.data.pairs import PrivacyPair
from unsee.edits.pair_rows import shuffled_pair_rows
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.tune import TuningPlan, linear_module, refusal_objective, tune
from unsee.methods import METHODS
from unsee.methods.base import Deltas, EditMethod, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Work
from unsee.models.vlm import VLM

QUERY_AND_VALUE = ("q_proj", "v_proj")


@METHODS.register("lora_refusal", paper="arXiv:2106.09685", label="LoRA refusal")
@dataclass(frozen=True, kw_only=True)
class LoraRefusal(EditMethod):
    """Train low-rank changes of the query and value matrices of all layers to refuse private questions.

    Deviation: the rank is chosen so that as many parameters are trained as by the other editors, which train one down
    projection; it is recorded with the edit.

    Attributes:
        rank: width of the factors; 0 for the largest with no more parameters than one down projection.
        benign_weight: factor of the benign loss, >= 0.
        learning_rate: Adam's step of the factors, > 0.
        epochs: passes over the pairs.
        pictures: pictures per step.
    """

    rank: NonNegativeInt = 0
    benign_weight: Annotated[NonNegativeFloat, Range(0.3, 5)] = 1.25
    learning_rate: Annotated[PositiveFloat, Range(5e-4, 2e-2)] = 3e-3
    epochs: Annotated[PositiveInt, Range(1, 6)] = 2
    pictures: PositiveInt = 1

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Minimise the refusal objective over the factors; the edit holds their products."""
        names = [
            f"{vlm.layout.decoder_layers}.{index}.{name}"
            for index, layer in enumerate(decoder_layers(vlm))
            for name, module in layer.named_modules()
            if isinstance(module, nn.Linear) and name.endswith(QUERY_AND_VALUE)
        ]
        batches = shuffled_pair_rows(vlm, pairs, pictures=self.pictures, seed=work.seed)
        rank = self.rank or _affordable(vlm, names)
        plan = TuningPlan(learning_rate=self.learning_rate, epochs=self.epochs, rank=rank)
        deltas = tune(
            vlm, batches, names, plan, refusal_objective(self.benign_weight), seed=work.seed, progress=work.progress
        )
        return Deltas(deltas=deltas, settings={"rank": rank})


def _affordable(vlm: VLM, names: Sequence[str]) -> int:
    """Return the largest rank, at least 1, whose factors have no more parameters than one down projection."""
    budget = linear_module(vlm, down_name(vlm, 0)).weight.numel()
    return max(1, budget // sum(sum(linear_module(vlm, name).weight.shape) for name in names))
