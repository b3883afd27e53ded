"""InternVL 3: InternViT over an image and its tiles, pixel shuffle, Qwen2 or Qwen3 decoder."""

from __future__ import annotations

from typing import ClassVar

from unsee.models import MODELS
from unsee.models.family import Family, Layout


@MODELS.register("internvl", paper="arXiv:2504.10479")
class InternVL(Family):
    """Image tiles and a downscaled view of the whole image, for a Qwen decoder."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.language_model.layers",
        mlp="mlp",
        projector="model.multi_modal_projector",
        vision_tower="model.vision_tower",
    )
