"""A model family that transformers does not have: LLaVA under another name."""

from typing import ClassVar

from transformers import AutoConfig, AutoModelForImageTextToText, LlavaConfig, LlavaForConditionalGeneration

from unsee.models import MODELS
from unsee.models.family import Family, Layout


class ExtraConfig(LlavaConfig):
    model_type = "extra_family"


class ExtraForConditionalGeneration(LlavaForConditionalGeneration):
    config_class = ExtraConfig


AutoConfig.register("extra_family", ExtraConfig)
AutoModelForImageTextToText.register(ExtraConfig, ExtraForConditionalGeneration)


@MODELS.register("extra_family", paper="arXiv:0000.00008")
class ExtraFamily(Family):
    """LLaVA by another name."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.language_model.layers",
        mlp="mlp",
        projector="model.multi_modal_projector",
        vision_tower="model.vision_tower",
    )
