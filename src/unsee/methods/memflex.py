"""MemFlex: matrices chosen by their gradients, with the refusal objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from unsee.config.search import Range
from unsee.core.errors import ModelError
from unsee.data.pairs import PrivacyPair
from unsee.edits.pair_rows import PairRows, shuffled_pair_rows
from unsee.edits.partial_forward import AUTO, decoder_layers, down_name, parse_layers
from unsee.edits.tune import Tunable, TuningPlan, Weights, linear_module, refusal_objective, tune, weights_of
from unsee.forward.hooks import frozen
from unsee.methods import METHODS
from unsee.methods.base import Deltas, EditMethod, Layers, NonNegativeFloat, PositiveFloat, PositiveInt, Work
from unsee.models.vlm import VLM


@METHODS.register("memflex", paper="arXiv:2407.01920", label="MemFlex")
@dataclass(frozen=True, kw_only=True)
class MemFlex(EditMethod):
    """Tune the matrices whose refusal gradient is long and differs in direction from the benign gradient.

    Deviations: refusals in place of gradient ascent; no second limit on the length: matrices below the cosine limit are
    taken in the order of their refusal gradients' length, until they have as many parameters as the other editors tune.

    Attributes:
        layers: the layers whose down projections set the number of parameters; "auto" is one at a third of the depth.
        cosine: largest cosine of the two gradients of a tuned matrix, 0 to 1.
        benign_weight: factor of the benign loss, >= 0.
        learning_rate: Adam's step as a share of each matrix's root mean square, > 0.
        epochs: passes over the pairs.
        pictures: pictures per step.
    """

    layers: Layers = AUTO
    cosine: Annotated[float, Field(ge=0, le=1)] = 0.95
    benign_weight: Annotated[NonNegativeFloat, Range(0.3, 5)] = 1.25
    learning_rate: Annotated[PositiveFloat, Range(0.01, 0.3)] = 0.06
    epochs: Annotated[PositiveInt, Range(1, 6)] = 2
    pictures: PositiveInt = 1

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Choose the matrices, then tune them with the refusal objective."""
        batches = shuffled_pair_rows(vlm, pairs, pictures=self.pictures, seed=work.seed)
        names = self.localise(vlm, batches)
        plan = TuningPlan(learning_rate=self.learning_rate, epochs=self.epochs)
        deltas = tune(
            vlm, batches, names, plan, refusal_objective(self.benign_weight), seed=work.seed, progress=work.progress
        )
        return Deltas(deltas=deltas, settings={"matrices": names})

    def localise(self, vlm: VLM, batches: Sequence[PairRows]) -> list[str]:
        """Return the names of the matrices to tune.

        Raises:
            ModelError: no matrix is below the cosine limit.
        """
        budget = sum(
            linear_module(vlm, down_name(vlm, layer)).weight.numel() for layer in parse_layers(vlm, self.layers)
        )
        refusing, answering = _gradients(vlm, batches)
        apart = [
            name
            for name, gradient in refusing.items()
            if float(F.cosine_similarity(gradient.flatten(), answering[name].flatten(), dim=0)) < self.cosine
        ]
        chosen: list[str] = []
        for name in sorted(apart, key=lambda name: -float(refusing[name].norm())):
            if refusing[name].numel() <= budget:
                budget -= refusing[name].numel()
                chosen.append(name)
        if not chosen:
            raise ModelError(f"model {vlm.id}: no refusal gradient differs enough from the benign one; raise cosine")
        return chosen


def _gradients(vlm: VLM, batches: Sequence[PairRows]) -> tuple[Weights, Weights]:
    """Return the gradients of the refusal loss and of the benign loss in every linear module of the decoder."""
    names = [
        f"{vlm.layout.decoder_layers}.{index}.{name}"
        for index, layer in enumerate(decoder_layers(vlm))
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    ]
    weights = {name: weight.requires_grad_(True) for name, weight in weights_of(vlm, names).items()}
    sums = ({name: torch.zeros_like(w) for name, w in weights.items()} for _ in range(2))
    refusing, answering = sums
    with frozen(vlm.model):
        for rows in batches:
            scored = Tunable(vlm, rows, names).score(weights)
            refused = rows.loss_B(scored, 0.0).sum()
            both = rows.loss_B(scored, 1.0).sum()
            for total, loss in ((refusing, refused), (answering, both - refused)):
                parts = torch.autograd.grad(loss, list(weights.values()), retain_graph=True)
                for name, part in zip(names, parts, strict=True):
                    total[name] += part
    return refusing, answering
