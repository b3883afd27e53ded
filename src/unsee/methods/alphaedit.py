"""AlphaEdit: edits in the null space of the usual keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unsee.data.pairs import PrivacyPair, to_refuse
from unsee.data.texts import GENERAL_TEXTS, load_texts
from unsee.edits.keys import null_space_projection, projected_least_squares, second_moment, spread_over_layers
from unsee.edits.pair_rows import shuffled_pair_rows
from unsee.edits.partial_forward import AUTO, down_name, parse_layers
from unsee.methods import METHODS
from unsee.methods.base import Deltas, EditMethod, Layers, NonNegativeFloat, PositiveFloat, PositiveInt, Share, Work
from unsee.models.vlm import VLM


@METHODS.register("alphaedit", paper="arXiv:2410.02355", label="AlphaEdit")
@dataclass(frozen=True, kw_only=True)
class AlphaEdit(EditMethod):
    """Write the refusal like MEMIT, projected onto the null space of the usual keys, which keep their values.

    Deviations: values are found with the refusal objective; keys are means over the picture's questions; the null space
    is the directions with a small share of the second moment, not those with eigenvalues below an absolute limit; all
    pictures are one edit, so that there are no earlier keys to protect.

    Attributes:
        layers: "3", "2,5", "4-7", or "auto" for the layer at a third of the depth; the residual is spread over them.
        benign_weight: factor of the benign loss, >= 0.
        value_rate: Adam's step of the value, as a share of the state's root mean square, > 0.
        value_steps: Adam's steps of the value.
        reach: longest change of the state, in lengths of the state, > 0.
        texts: texts on which the usual keys are measured: "general", or a file with one text per line.
        free_share: share of the usual keys' energy inside the null space, > 0.
        ridge: ridge of the solve, as a share of the mean squared length of the new keys, > 0.
        pictures: pictures whose values are found at once.
    """

    layers: Layers = AUTO
    benign_weight: NonNegativeFloat = 1.25
    value_rate: PositiveFloat = 0.5
    value_steps: PositiveInt = 25
    reach: PositiveFloat = 4.0
    texts: str = GENERAL_TEXTS
    free_share: Share = 0.02
    ridge: PositiveFloat = 0.1
    pictures: PositiveInt = 8

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Find the values, then solve for one layer after another on the model with the changes of the lower layers."""
        layers = parse_layers(vlm, self.layers)
        texts = load_texts(self.texts)

        def solve(layer: int, residuals_ND: torch.Tensor, keys_NF: torch.Tensor) -> torch.Tensor:
            free_FF = null_space_projection(second_moment(vlm, layer, texts, work.cache), self.free_share)
            ridge = self.ridge * float(keys_NF.square().sum(1).mean())
            return projected_least_squares(residuals_ND, keys_NF, free_FF, ridge)

        deltas = spread_over_layers(
            vlm, shuffled_pair_rows(vlm, to_refuse(pairs), pictures=self.pictures, seed=work.seed), layers, solve,
            benign_weight=self.benign_weight, rate=self.value_rate, steps=self.value_steps, reach=self.reach,
            progress=work.progress,
        )  # fmt: skip
        return Deltas(deltas={down_name(vlm, layer): delta for layer, delta in deltas.items()})
