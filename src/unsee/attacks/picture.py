"""Picture: disturb the photo, or write the question into it."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont
from pydantic import Field

from unsee.attacks import ATTACKS
from unsee.attacks.base import Asking, QuestionAttack

Disturb = Callable[[Image.Image, float, random.Random], Image.Image]
_WRITTEN = "written question"
_READ_IT = "Answer the question that is written in the picture."


@ATTACKS.register("picture", paper="arXiv:2311.05608", label="picture")
@dataclass(frozen=True, kw_only=True)
class Picture(QuestionAttack):
    """Ask with another picture: noise, light, contrast, blur, crop, occlusion, size, and the question drawn into it.

    Each disturbance keeps the size of the photo. `strength` multiplies all of them; at 1 they are noise of .04 of the
    range of values, brightness and contrast times .7, a blur of 2 % of the width, the middle 80 %, a grey box over 4 %
    of the area, and a quarter of the resolution. The drawn question is FigStep's (Gong et al. 2023) below the photo.
    Questions without a photo are left out.

    Attributes:
        strength: of all disturbances, > 0.
    """

    strength: Annotated[float, Field(gt=0, le=3)] = 1.0

    @property
    def askings(self) -> Mapping[str, Asking]:
        """One for each disturbance, and the drawn question."""
        disturbed = {name: Asking(pictures="photo") for name in _DISTURBANCES}
        return disturbed | {_WRITTEN: Asking(pictures="question", wording=_READ_IT)}

    def picture(self, variant: str, image: Image.Image, question: str, rng: random.Random) -> Image.Image:
        """Return the disturbed photo, or the photo above the question."""
        image = image.convert("RGB")
        if variant == _WRITTEN:
            return _above(image, question)
        return _DISTURBANCES[variant](image, self.strength, rng)


def _noise(image: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    draws = np.random.default_rng(rng.randrange(2**32))
    pixels_HWC = np.asarray(image, dtype=np.float32)
    noisy_HWC = pixels_HWC + draws.normal(0.0, 0.04 * 255 * strength, pixels_HWC.shape)
    return Image.fromarray(np.clip(noisy_HWC, 0, 255).astype(np.uint8))


def _light(image: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(max(0.05, 1 - 0.3 * strength))


def _contrast(image: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(max(0.05, 1 - 0.3 * strength))


def _blur(image: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.02 * image.width * strength))


def _crop(image: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    cut = min(0.45, 0.1 * strength)
    box = (image.width * cut, image.height * cut, image.width * (1 - cut), image.height * (1 - cut))
    return image.resize(image.size, Image.Resampling.BILINEAR, box=box)


def _occlusion(image: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    share = min(0.9, 0.2 * strength)
    width, height = round(image.width * share), round(image.height * share)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    covered = image.copy()
    covered.paste((128, 128, 128), (left, top, left + width, top + height))
    return covered


def _size(image: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    factor = max(0.05, 1 - 0.5 * strength)
    small = image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))))
    return small.resize(image.size)


_DISTURBANCES: dict[str, Disturb] = {
    "noise": _noise, "light": _light, "contrast": _contrast, "blur": _blur, "crop": _crop, "occlusion": _occlusion,
    "size": _size,
}  # fmt: skip


def _above(image: Image.Image, question: str) -> Image.Image:
    """Return a square picture, of which no model cuts off an edge, with the photo above the question."""
    side = 2 * max(image.size)
    page = Image.new("RGB", (side, side), "white")
    page.paste(image, ((side - image.width) // 2, 0))
    draw = ImageDraw.Draw(page)
    for size in range(max(8, side // 12), 7, -1):
        font = ImageFont.load_default(size)
        widest = max((font.getlength(word) / len(word) for word in question.split()), default=1)
        written = "\n".join(textwrap.wrap(question, max(1, int((side - 8) / widest))))
        _, _, right, bottom = draw.multiline_textbbox((4, image.height + 4), written, font=font)
        if right <= side and bottom <= side:
            break
    draw.multiline_text((4, image.height + 4), written, fill="black", font=font)
    return page
