"""LLaVA-1.5: CLIP vision tower, two-layer projector, Llama decoder (`LlavaForConditionalGeneration`)."""

from __future__ import annotations

from typing import ClassVar

from unsee.models import MODELS
from unsee.models.family import Family, Layout


@MODELS.register("llava", paper="arXiv:2310.03744")
class Llava(Family):
    """Visual instruction tuning with a CLIP tower, a projector and a Llama decoder."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.language_model.layers",
        mlp="mlp",
        projector="model.multi_modal_projector",
        vision_tower="model.vision_tower",
    )
    plain_question: ClassVar[bool] = True
    plain_lesson: ClassVar[bool] = True
