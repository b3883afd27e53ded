"""Idefics3: SigLIP vision tower over an image and its tiles, pixel shuffle, Llama decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from unsee.models import MODELS
from unsee.models.family import Family, Layout, Picture, in_one_row


@MODELS.register("idefics3", paper="arXiv:2408.12637")
class Idefics3(Family):
    """An image as rows of tiles and a view of the whole, for a Llama decoder."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.text_model.layers",
        mlp="mlp",
        projector="model.connector",
        vision_tower="model.vision_model",
    )

    def image_inputs(self, rows: Sequence[Sequence[Picture]]) -> dict[str, Tensor]:
        """All tiles in one row; the model takes them in order, whichever row they are for."""
        return in_one_row(rows)
