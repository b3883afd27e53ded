"""Qwen2.5-VL: window-attention vision tower at the image's aspect ratio, merger, Qwen2.5 decoder with m-rope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from unsee.models import MODELS
from unsee.models.family import Family, Layout, Picture


@MODELS.register("qwen2_5_vl", paper="arXiv:2502.13923")
class Qwen25VL(Family):
    """Patches at the image's aspect ratio and positions on three axes (time, height, width), for a Qwen2.5 decoder."""

    layout: ClassVar[Layout] = Layout(
        decoder_layers="model.language_model.layers",
        mlp="mlp",
        projector="model.visual.merger",
        vision_tower="model.visual",
    )

    @property
    def image_in_text(self) -> str:
        """The text for an image in a turn whose content is one text."""
        return f"<|vision_start|>{self.placeholder}<|vision_end|>"

    def positions(self, ids: list[int], pictures: Sequence[Picture]) -> Tensor:
        """Return positions (3, T) as the model computes them: text counts up, an image spans height and width."""
        if not pictures:
            return super().positions(ids, pictures).expand(3, -1)
        row = torch.tensor([ids])
        grids = torch.cat([picture.inputs["image_grid_thw"] for picture in pictures])
        core: Any = self.model.model
        kinds = (row == self.image_token).int()
        positions: Tensor = core.get_rope_index(row, mm_token_type_ids=kinds, image_grid_thw=grids)[0]
        return positions[:, 0]
