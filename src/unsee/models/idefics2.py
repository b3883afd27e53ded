"""Idefics2: SigLIP vision tower at the image's own shape, perceiver, Mistral decoder."""

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
    """A perceiver that makes 64 tokens of an image of any shape, for a Mistral decoder; images are not split."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.text_model.layers",
        mlp="mlp",
        projector="model.connector",
        vision_tower="model.vision_model",
    )

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        super().__init__(model, processor)
        processor.image_processor.do_image_splitting = False

    def write_out(self, text: str, pictures: Sequence[Picture]) -> str:
        """As the processor does: images side by side share the token between them, words keep a space from it."""
        border = str(self.processor.fake_image_token)  # type: ignore[attr-defined]
        written = super().write_out(text, pictures).replace(border * 2, border)
        return re.sub(rf"{re.escape(border)}(?=[^\s<])", f"{border} ", written)

    def image_inputs(self, rows: Sequence[Sequence[Picture]]) -> dict[str, Tensor]:
        """All images in one row; the model takes them in order, whichever row they are for."""
        return in_one_row(rows)

    def mask(self, seen_BQK: Tensor, ids_BK: Tensor, positions_BK: Tensor) -> Tensor:
        """Causal attention within Mistral's window, if it has one."""
        window = self.model.config.get_text_config().sliding_window
        return (within(window, seen_BQK, positions_BK) if window else seen_BQK)[:, None]
