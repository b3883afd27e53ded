import random

import pytest
import tiny

from unsee.data import augmentation
from unsee.data.augmentation import augment_image, augment_with_noise


@pytest.mark.parametrize("augment", [augment_image, augment_with_noise])
def test_an_augmented_image_is_another_image_of_the_same_size(augment):
    image = tiny.photo().crop((0, 0, 96, 64))
    images = [augment(image, random.Random(seed)) for seed in (0, 0, 1)]
    assert {found.size for found in images} == {(96, 64)}
    assert images[0] == images[1]
    assert len({found.tobytes() for found in [image, *images]}) == 3


def test_noise_is_the_same_however_many_rows_are_made_at_once(monkeypatch):
    images = []
    for rows in (64, 7, 10_000):
        monkeypatch.setattr(augmentation, "_ROWS_AT_ONCE", rows)
        images.append(augment_with_noise(tiny.photo(), random.Random(0)))
    assert images[0] == images[1] == images[2]
