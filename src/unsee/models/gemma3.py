"""Gemma 3: SigLIP vision tower, pooling projector, Gemma decoder with full and sliding-window layers."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from unsee.models import MODELS
from unsee.models.family import Family, Layout, within


@MODELS.register("gemma3", paper="arXiv:2503.19786")
class Gemma3(Family):
    """256 image tokens that attend to each other, and a Gemma decoder with mostly sliding-window layers."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.language_model.layers",
        mlp="mlp",
        projector="model.multi_modal_projector",
        vision_tower="model.vision_tower",
    )

    def mask(self, seen_BQK: Tensor, ids_BK: Tensor, positions_BK: Tensor) -> dict[str, Tensor]:
        """Return causal masks for full and sliding-window layers; in both, tokens of one image see each other."""
        image_BK = ids_BK == self.image_token
        number_BK = (image_BK & ~image_BK.roll(1, 1)).cumsum(1) * image_BK
        number_BQ = number_BK[:, -seen_BQK.shape[1] :]
        one_image_BQK = (number_BQ[:, :, None] == number_BK[:, None]) & (number_BQ[:, :, None] > 0)
        near_BQK = within(self.model.config.get_text_config().sliding_window, seen_BQK, positions_BK)
        return {
            "full_attention": (seen_BQK | one_image_BQK)[:, None],
            "sliding_attention": (near_BQK | one_image_BQK)[:, None],
        }
