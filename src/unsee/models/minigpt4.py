"""MiniGPT-4: EVA vision tower, joined patches or a Q-Former, one linear projection, Llama or Vicuna decoder."""

from __future__ import annotations

from typing import ClassVar

import unsee.models.minigpt4_processor  # noqa: F401  (registers the classes with transformers)
from unsee.models import MODELS
from unsee.models.family import Family, Layout


@MODELS.register("minigpt4", paper="arXiv:2304.10592")
class MiniGPT4(Family):
    """A frozen EVA tower and a Llama decoder joined by one linear projection."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.language_model.layers",
        mlp="mlp",
        projector="model.language_projection",
        vision_tower="model.vision_tower",
    )
