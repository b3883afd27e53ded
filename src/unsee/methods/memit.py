"""Mass-editing memory in a transformer (MEMIT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unsee.data.pairs import PrivacyPair, to_refuse
from unsee.data.texts import GENERAL_TEXTS, load_texts
from unsee.edits.keys import add_ridge, least_squares, second_moment, spread_over_layers
from unsee.edits.pair_rows import shuffled_pair_rows
from unsee.edits.partial_forward import AUTO, down_name, parse_layers
from unsee.methods import METHODS
from unsee.methods.base import Deltas, EditMethod, Layers, NonNegativeFloat, PositiveFloat, PositiveInt, Work
from unsee.models.vlm import VLM


@METHODS.register("memit", paper="arXiv:2210.07229", label="MEMIT")
@dataclass(frozen=True, kw_only=True)
class MEMIT(EditMethod):
    """Write the refusal of all pictures at once into several matrices by regularised least squares.

    Deviations: values are found with the refusal objective; keys are means over the picture's questions; the weight of
    the usual keys is relative to the matrix's width (the published 15,000 at 11,008 columns); the second moment gets a
    small ridge, so that few texts are enough.

    Attributes:
        layers: "3", "2,5", "4-7", or "auto" for the layer at a third of the depth; the residual is spread over them.
        benign_weight: factor of the benign loss, >= 0.
        value_rate: Adam's step of the value, as a share of the state's root mean square, > 0.
        value_steps: Adam's steps of the value.
        reach: longest change of the state, in lengths of the state, > 0.
        texts: texts on which the usual keys are measured: "general", or a file with one text per line.
        kept_weight: weight of the usual keys against one new key, in columns of the matrix, > 0.
        ridge: added to the second moment's diagonal, as a share of its mean, > 0.
        pictures: pictures whose values are found at once.
    """

    layers: Layers = AUTO
    benign_weight: NonNegativeFloat = 1.25
    value_rate: PositiveFloat = 0.5
    value_steps: PositiveInt = 25
    reach: PositiveFloat = 4.0
    texts: str = GENERAL_TEXTS
    kept_weight: PositiveFloat = 1.36
    ridge: PositiveFloat = 1e-3
    pictures: PositiveInt = 8

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Find the values, then solve for one layer after another on the model with the changes of the lower layers."""
        layers = parse_layers(vlm, self.layers)
        texts = load_texts(self.texts)

        def solve(layer: int, residuals_ND: torch.Tensor, keys_NF: torch.Tensor) -> torch.Tensor:
            moment_FF = add_ridge(second_moment(vlm, layer, texts, work.cache), self.ridge)
            return least_squares(residuals_ND, keys_NF, self.kept_weight * len(moment_FF) * moment_FF)

        deltas = spread_over_layers(
            vlm, shuffled_pair_rows(vlm, to_refuse(pairs), pictures=self.pictures, seed=work.seed), layers, solve,
            benign_weight=self.benign_weight, rate=self.value_rate, steps=self.value_steps, reach=self.reach,
            progress=work.progress,
        )  # fmt: skip
        return Deltas(deltas={down_name(vlm, layer): delta for layer, delta in deltas.items()})
