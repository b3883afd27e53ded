"""LLaVA-OneVision: SigLIP vision tower over an image and its tiles, projector, Qwen2 decoder."""

from __future__ import annotations

from typing import ClassVar

from unsee.models import MODELS
from unsee.models.family import Family, Layout


@MODELS.register("llava_onevision", paper="arXiv:2408.03326")
class LlavaOnevision(Family):
    """Image tiles at any resolution and a downscaled view of the whole image, for a Qwen2 decoder.

    Deviation from the processor: if a prompt holds several images, each of them keeps its tiles.
    """

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.language_model.layers",
        mlp="mlp",
        projector="model.multi_modal_projector",
        vision_tower="model.vision_tower",
    )
