import random

import pytest
import tiny

from unsee.data.augmentation import augment_image, augment_with_noise


@pytest.mark.parametrize("augment", [augment_image, augment_with_noise])
def test_an_augmented_image_is_another_image_of_the_same_size(augment):
    image = tiny.photo().crop((0, 0, 96, 64))
    images = [augment(image, random.Random(seed)) for seed in (0, 0, 1)]
    assert {found.size for found in images} == {(96, 64)}
    assert images[0] == images[1]
    assert len({found.tobytes() for found in [image, *images]}) == 3
