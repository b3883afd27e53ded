"""LLaVA-OneVision: SigLIP vision tower over an image and its tiles, projector, Qwen2 decoder."""

from __future__ import annotations

from typing import ClassVar

from unsee.models import MODELS
from unsee.models.family import Family, Layout


@MODELS.register("llava_onevision", paper="arXiv:2408.03326")
class LlavaOnevision(Family):
    """An image at any resolution as tiles and a view of the whole, for a Qwen2 decoder.

    Deviation from the processor: of several images in one prompt each keeps its tiles.
    """

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.language_model.layers",
        mlp="mlp",
        projector="model.multi_modal_projector",
        vision_tower="model.vision_tower",
    )
