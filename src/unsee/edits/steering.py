"""Steering: hidden states at some tokens are multiplied by a vector, or a vector is added to them.

Shape letters: B pictures, L layers, D hidden width, V recomputed tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unsee.edits.pair_rows import PairRows, Scope
from unsee.edits.partial_forward import UpperLayers, decoder_layers
from unsee.forward.hooks import rewrite_output
from unsee.forward.losses import Scored
from unsee.models.vlm import VLM

Combine = Callable[[Tensor, Tensor], Tensor]


class Steered:
    """Packed rows, scored again and again under different vectors; each picture has one vector per layer.

    Args:
        vlm: the model.
        rows: pictures, questions and wanted answers.
        layers: the layers whose outputs are changed, lowest first.
        scope: the tokens at which they are changed.
        combine: (hidden (B, V, D), vector (B, 1, D)) -> hidden; `scale` or `shift`.
    """

    def __init__(
        self, vlm: VLM, rows: PairRows, layers: Sequence[int], *, combine: Combine, scope: Scope = "subject_last"
    ) -> None:
        width = vlm.model.config.get_text_config().hidden_size
        self.rows, self.shape_BLD = rows, (rows.num_rows, len(layers), width)
        self._combine = combine
        self._higher = [decoder_layers(vlm)[layer] for layer in layers[1:]]
        self._upper = UpperLayers(vlm, rows.batch, layers[0], None if scope == "every" else rows.scopes[scope])
        self._at_BV = self._upper.pick(rows.scopes[scope])

    def score(self, vectors_BLD: Tensor) -> Scored:
        """Score all answers under these vectors."""
        higher = {
            module: lambda hidden, index=index: self._change(hidden, vectors_BLD[:, index])
            for index, module in enumerate(self._higher, start=1)
        }
        with rewrite_output(higher):
            return self._upper(self._change(self._upper.hidden_BVD, vectors_BLD[:, 0]))

    def _change(self, hidden_BVD: Tensor, vector_BD: Tensor) -> Tensor:
        changed_BVD = self._combine(hidden_BVD, vector_BD[:, None].to(hidden_BVD.dtype))
        return torch.where(self._at_BV[..., None], changed_BVD, hidden_BVD)


def scale(hidden: Tensor, vector: Tensor) -> Tensor:
    """Multiply each dimension by its factor, as in Neural Gate."""
    return hidden * vector


def shift(hidden: Tensor, vector: Tensor) -> Tensor:
    """Add a vector, as in ROME and MEMIT."""
    return hidden + vector
