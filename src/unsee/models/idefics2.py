"""Idefics2: SigLIP vision tower at the image's aspect ratio, perceiver, Mistral decoder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from unsee.models import MODELS
from unsee.models.family import Family, Layout, Picture, in_one_row, within


@MODELS.register("idefics2", paper="arXiv:2405.02246")
class Idefics2(Family):
    """A perceiver turns an image of any aspect ratio, unsplit, into 64 tokens for a Mistral decoder."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.text_model.layers",
        mlp="mlp",
        projector="model.connector",
        vision_tower="model.vision_model",
    )
    plain_question: bool = True  # it is taught in its chat template, and asked as LLaVA is

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        super().__init__(model, processor)
        processor.image_processor.do_image_splitting = False

    def write_out(self, text: str, pictures: Sequence[Picture]) -> str:
        """Return the text as the processor writes it.

        Adjacent images share one border token, and a space separates a border token from a word after it.
        """
        border = str(self.processor.fake_image_token)  # type: ignore[attr-defined]
        written = super().write_out(text, pictures).replace(border * 2, border)
        return re.sub(rf"{re.escape(border)}(?=[^\s<])", f"{border} ", written)

    def image_inputs(self, rows: Sequence[Sequence[Picture]]) -> dict[str, Tensor]:
        """Return all images in one row: the model assigns them to the prompts in order."""
        return in_one_row(rows)

    def mask(self, seen_BQK: Tensor, ids_BK: Tensor, positions_BK: Tensor) -> Tensor:
        """Return the causal mask, limited to Mistral's sliding window if the model has one."""
        window = self.model.config.get_text_config().sliding_window
        return (within(window, seen_BQK, positions_BK) if window else seen_BQK)[:, None]
