"""The interface of a model family: the paths of its parts, its pictures, positions and masks.

The defaults are those of LLaVA: stacked pixels, positions 0, 1, 2 ..., and causal attention. A family overrides what
differs, so that packed rows give the same numbers as plain prompts.
Shape letters: A axes of positions, B rows, T tokens, Q the last T tokens (queries), K all T tokens (keys).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from unsee.core.errors import ModelError

TEXT_KEYS = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Canonical module paths of one model family, relative to the transformers model."""

    decoder_layers: str
    mlp: str
    projector: str
    vision_tower: str


@dataclass(frozen=True, eq=False)
class Picture:
    """One image after a family's preprocessing.

    Attributes:
        inputs: tensors for the model, such as pixel_values, image_grid_thw or image_sizes, for this image alone.
        text: the text of the image in a prompt, with one image token for each run of them.
        runs: the length of each of these runs; in several families it depends on the size of the image.
    """

    inputs: Mapping[str, Tensor]
    text: str
    runs: tuple[int, ...]

    @property
    def canvas(self) -> Tensor | None:
        """The pixels (C, H, W) if the image is one tensor; None if it is cut into tiles or patches."""
        pixels = self.inputs["pixel_values"]
        return pixels.flatten(0, -4)[0] if pixels.dim() > 3 and pixels.shape[:-3].numel() == 1 else None

    def repainted(self, canvas_CHW: Tensor) -> Picture:
        """Return the same picture with other pixels on its canvas."""
        pixels = canvas_CHW.view_as(self.inputs["pixel_values"])
        return Picture({**self.inputs, "pixel_values": pixels}, self.text, self.runs)


class Family:
    """One model family. Subclasses are registered under their transformers `model_type`.

    Attributes:
        layout: the paths of its parts.
        plain_question: True if the code published with MLLMU-Bench asks it in plain `USER: ... ASSISTANT:` text; the
            published protocol does so too, and asks other families in their own chat template.
        plain_lesson: the same of the text that it is taught.
    """

    layout: ClassVar[Layout]
    plain_question: bool = False
    plain_lesson: bool = False

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        self.model = model
        self.processor = processor

    @property
    def placeholder(self) -> str:
        """The text for an image in a rendered chat template."""
        return str(self.processor.image_token)  # type: ignore[attr-defined]

    @property
    def image_in_text(self) -> str:
        """The text for an image in a turn whose content is one text."""
        return f"{self.placeholder}\n"

    @property
    def image_token(self) -> int:
        """The token whose embedding the model replaces by image features."""
        return int(self.model.config.image_token_id)

    def picture(self, image: Image.Image) -> Picture:
        """Return the image preprocessed for the model.

        Raises:
            ModelError: the processor refuses the image, or decoding the image tokens and encoding them again gives
                other tokens.
        """
        tokenizer = self.processor.tokenizer
        asked: dict[str, Any] = {"text": [self.placeholder], "add_special_tokens": False, "return_tensors": "pt"}
        try:
            made = self.processor(images=[image], **asked)
        except ValueError as error:
            raise ModelError(
                f"an image of {image.width} x {image.height} pixels: the model takes none ({error})"
            ) from error
        ids, runs = [], []
        for token, run in groupby(made["input_ids"][0].tolist()):
            length = len(list(run))
            ids += [token] * (1 if token == self.image_token else length)
            runs += [length] if token == self.image_token else []
        text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if tokenizer(text, add_special_tokens=False)["input_ids"] != ids:
            raise ModelError(f"the tokenizer does not read {text!r}, its text for an image, back as the same tokens")
        return Picture({k: v for k, v in made.items() if k not in TEXT_KEYS}, text, tuple(runs))

    def write_out(self, text: str, pictures: Sequence[Picture]) -> str:
        """Return the rendered text with every placeholder replaced by its picture's text.

        Raises:
            ModelError: there are more or fewer placeholders than pictures.
        """
        parts = text.split(self.placeholder)
        if len(parts) - 1 != len(pictures):
            raise ModelError(f"a prompt with {len(parts) - 1} image placeholders was given {len(pictures)} pictures")
        return "".join(a + b for a, b in zip_longest(parts, (picture.text for picture in pictures), fillvalue=""))

    def positions(self, ids: list[int], pictures: Sequence[Picture]) -> Tensor:
        """Return the positions (A, T) of the first tokens of a row; later text continues from the highest of them."""
        return torch.arange(len(ids))[None]

    def image_inputs(self, rows: Sequence[Sequence[Picture]]) -> dict[str, Tensor]:
        """Return the model's inputs for the pictures in each row of a batch; none for rows without pictures."""
        return stacked(rows)

    def mask(self, seen_BQK: Tensor, ids_BK: Tensor, positions_BK: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the attention mask, bool: (B, 1, Q, K), or one for each kind of layer.

        Args:
            seen_BQK: True for each token itself and for the tokens before it in its own prompt.
            ids_BK: the tokens.
            positions_BK: distance of each token from the start of its own prompt.
        """
        return seen_BQK[:, None]


def stacked(rows: Sequence[Sequence[Picture]]) -> dict[str, Tensor]:
    """Return the inputs of all pictures stacked, each padded with zeros to the largest."""
    pictures = [picture for row in rows for picture in row]
    return {
        name: _filled([picture.inputs[name] for picture in pictures])
        for name in (pictures[0].inputs if pictures else ())
    }


def in_one_row(rows: Sequence[Sequence[Picture]]) -> dict[str, Tensor]:
    """Return the inputs of all pictures, each (1, images, ...), as one row of images padded to the largest."""
    pictures = [picture for row in rows for picture in row]
    return {
        name: _filled([image[None] for picture in pictures for image in picture.inputs[name][0]])[None]
        for name in (pictures[0].inputs if pictures else ())
    }


def _filled(parts: Sequence[Tensor]) -> Tensor:
    largest = map(max, zip(*(part.shape[1:] for part in parts), strict=True))
    whole = parts[0].new_zeros(sum(map(len, parts)), *largest)
    start = 0
    for part in parts:
        whole[(slice(start, start + len(part)), *map(slice, part.shape[1:]))] = part
        start += len(part)
    return whole


def within(window: int, seen_BQK: Tensor, positions_BK: Tensor) -> Tensor:
    """Return the mask limited to a sliding window of `window` tokens, which includes the query itself."""
    positions_BQ = positions_BK[:, -seen_BQK.shape[1] :]
    return seen_BQK & (positions_BQ[:, :, None] - positions_BK[:, None] < window)
