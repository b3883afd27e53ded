"""Random augmentation of photos: a random crop and brightness, and noise if wanted.

Every function keeps the size of the photo and returns the same photo for the same state of `rng`.
Shape letters: C channels, H height, W width.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance

if TYPE_CHECKING:
    from torch import Tensor

BILINEAR = Image.Resampling.BILINEAR
_ROWS_AT_ONCE = 64  # the noise takes eight bytes for each value, eight times what the image takes


def augment_image(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return a random crop of an image, with a random brightness."""
    rows, columns, top, left = _draw_crop(image.height, image.width, rng)
    crop = image.resize(image.size, BILINEAR, box=(left, top, left + columns, top + rows))
    return ImageEnhance.Brightness(crop).enhance(rng.uniform(0.9, 1.1))


def augment_pixels(pixels_CHW: Tensor, rng: random.Random) -> Tensor:
    """Return a random crop of normalised pixels, multiplied by a random brightness."""
    from torch.nn.functional import interpolate  # imported here, so that `unsee build` starts without torch

    _, height, width = pixels_CHW.shape
    rows, columns, top, left = _draw_crop(height, width, rng)
    crop = pixels_CHW[None, :, top : top + rows, left : left + columns]
    return interpolate(crop, (height, width), mode="bilinear", align_corners=False)[0] * rng.uniform(0.9, 1.1)


def augment_with_noise(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return a random crop of an image with random brightness and noise, as if taken by another camera."""
    columns, rows, left, top = _draw_crop(image.width, image.height, rng)
    crop = image.crop((left, top, left + columns, top + rows)).resize(image.size, BILINEAR)
    bright = ImageEnhance.Brightness(crop).enhance(rng.uniform(0.85, 1.15))
    draws = np.random.default_rng(rng.randrange(2**32))
    pixels_HWC = np.array(bright)
    for top in range(0, image.height, _ROWS_AT_ONCE):
        part = pixels_HWC[top : top + _ROWS_AT_ONCE]
        part[:] = np.clip(part.astype(np.float32) + draws.normal(0.0, 5.0, part.shape), 0, 255)
    return Image.fromarray(pixels_HWC)


def _draw_crop(first: int, second: int, rng: random.Random) -> tuple[int, int, int, int]:
    """Draw a crop of 88 to 100 % of two axes: its length along each axis, then its offset along each."""
    share = rng.uniform(0.88, 1.0)
    lengths = round(first * share), round(second * share)
    return *lengths, rng.randint(0, first - lengths[0]), rng.randint(0, second - lengths[1])
