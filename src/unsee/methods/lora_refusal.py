"""Refusal training with LoRA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from torch import nn

from unsee.data.pairs import PrivacyPair
from unsee.edits.above import decoder_layers
from unsee.edits.edit import Edit
from unsee.edits.sheet import make_sheets
from unsee.edits.tune import Course, refuse, tune
from unsee.methods import METHODS
from unsee.methods.base import NonNegativeFloat, PositiveFloat, PositiveInt, Work
from unsee.models.vlm import VLM

QUERY_AND_VALUE = ("q_proj", "v_proj")


@METHODS.register("lora_refusal", paper="arXiv:2106.09685")
@dataclass(frozen=True, kw_only=True)
class LoraRefusal:
    """Train low-rank changes of the query and value matrices of all layers to refuse.

    Attributes:
        rank: width of the factors.
        benign_weight: factor of the benign loss, >= 0.
        learning_rate: Adam's step of the factors, > 0.
        epochs: passes over the pairs.
        pictures: pictures per step.
    """

    rank: PositiveInt = 8
    benign_weight: NonNegativeFloat = 1.25
    learning_rate: PositiveFloat = 2e-3
    epochs: PositiveInt = 40
    pictures: PositiveInt = 8

    def edit(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Edit:
        """Adam on the factors with the refusal objective; the edit holds their products."""
        names = [
            f"{vlm.layout.decoder_layers}.{index}.{name}"
            for index, layer in enumerate(decoder_layers(vlm))
            for name, module in layer.named_modules()
            if isinstance(module, nn.Linear) and name.endswith(QUERY_AND_VALUE)
        ]
        sheets = make_sheets(vlm, pairs, pictures=self.pictures, seed=work.seed)
        course = Course(learning_rate=self.learning_rate, epochs=self.epochs, rank=self.rank)
        deltas = tune(vlm, sheets, names, course, refuse(self.benign_weight), seed=work.seed, progress=work.progress)
        settings = {**asdict(self), "seed": work.seed}
        return Edit(method="lora_refusal", settings=settings, model=vlm.fingerprint(), deltas=deltas)
