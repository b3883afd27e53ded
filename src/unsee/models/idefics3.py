"""Idefics3: SigLIP vision tower over an image and its tiles, pixel shuffle, Llama decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from unsee.models import MODELS
from unsee.models.family import Family, Layout, Picture, in_one_row


@MODELS.register("idefics3", paper="arXiv:2408.12637")
class Idefics3(Family):
    """Rows of image tiles and a downscaled view of the whole image, for a Llama decoder."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.text_model.layers",
        mlp="mlp",
        projector="model.connector",
        vision_tower="model.vision_model",
    )

    def image_inputs(self, rows: Sequence[Sequence[Picture]]) -> dict[str, Tensor]:
        """Return all tiles in one row: the model assigns them to the prompts in order."""
        return in_one_row(rows)
