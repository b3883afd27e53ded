"""LLaVA-1.5: CLIP vision tower, two-layer projector, Llama decoder (`LlavaForConditionalGeneration`)."""

from __future__ import annotations

from typing import ClassVar

from transformers import PreTrainedModel, ProcessorMixin

from unsee.models import MODELS
from unsee.models.family import Family, Layout

_CHATML = "<|im_start|>"


@MODELS.register("llava", paper="arXiv:2310.03744")
class Llava(Family):
    """Visual instruction tuning with a CLIP tower, a projector and a Llama decoder."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.language_model.layers",
        mlp="mlp",
        projector="model.multi_modal_projector",
        vision_tower="model.vision_tower",
    )

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        super().__init__(model, processor)
        chat = _CHATML in str(processor.chat_template)  # a newer decoder, which never saw USER: and ASSISTANT:
        self.plain_question = self.plain_lesson = not chat
