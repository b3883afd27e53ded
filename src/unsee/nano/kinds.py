"""The shipped base models and their differences: vision tower, projector, and the weights they start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import Blip2VisionModel, CLIPVisionModel, PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin

from unsee.nano.language import make_llava, make_minigpt4, make_minigpt4_processor, make_processor
from unsee.nano.vision import blip2_vision_config, vision_config

SHIPPED = Path(__file__).parents[1] / "models"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The plan of one base model.

    Attributes:
        parts: the architecture in words, for the model card.
        tower: class of the vision tower.
        tower_config: returns the configuration of the tower.
        make_model: builds the untrained model around a trained tower and a tokenizer.
        make_processor: builds the processor.
        starts_from: the shipped model whose tokenizer and decoder are taken over, as MiniGPT-4 took Llama-2's; "" if
            all weights are new.
        base_steps: training steps on text and images.
    """

    parts: str
    tower: type[PreTrainedModel]
    tower_config: Callable[[], Any]
    make_model: Callable[..., PreTrainedModel]
    make_processor: Callable[[PreTrainedTokenizerFast], ProcessorMixin]
    starts_from: str = ""
    base_steps: int

    def new_tower(self) -> PreTrainedModel:
        """Return a tower with random weights."""
        return self.tower(self.tower_config())


KINDS = {
    "nano": Kind(
        parts="LLaVA (CLIP vision tower, projector, Llama decoder)",
        tower=CLIPVisionModel,
        tower_config=vision_config,
        make_model=make_llava,
        make_processor=make_processor,
        base_steps=9_000,
    ),
    "nano-minigpt4": Kind(
        parts="MiniGPT-4 (BLIP-2 vision tower, four patches a token, linear projection, Llama decoder)",
        tower=Blip2VisionModel,
        tower_config=blip2_vision_config,
        make_model=make_minigpt4,
        make_processor=make_minigpt4_processor,
        starts_from="nano",
        base_steps=5_000,
    ),
}
