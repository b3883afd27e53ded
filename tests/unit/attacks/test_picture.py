import random

import numpy as np
import pytest
import tiny
from PIL import Image

from unsee.attacks import ATTACKS

PICTURE = ATTACKS.get("picture")
DISTURBED = [name for name, asking in PICTURE().askings.items() if asking.pictures == "photo"]
WRITTEN = "written question"


def shown(variant, image=None, strength=1.0, question="", seed=0):
    image = tiny.photo() if image is None else image
    return PICTURE(strength=strength).picture(variant, image, question, random.Random(seed))


@pytest.mark.parametrize("variant", DISTURBED)
def test_a_disturbed_photo_has_its_size_and_is_another_one(variant):
    photo = tiny.photo()
    disturbed = shown(variant)
    assert disturbed.size == photo.size and disturbed.mode == "RGB"
    assert disturbed.tobytes() != photo.tobytes()
    assert photo.tobytes() == tiny.photo().tobytes()


@pytest.mark.parametrize("variant", [*DISTURBED, WRITTEN])
def test_the_same_seed_gives_the_same_picture(variant):
    once, again = (shown(variant, question="Where?", seed=3) for _ in range(2))
    assert once.tobytes() == again.tobytes()


@pytest.mark.parametrize("variant", ["noise", "occlusion"])
def test_another_seed_gives_another_one_where_something_is_drawn(variant):
    assert shown(variant, seed=0).tobytes() != shown(variant, seed=1).tobytes()


@pytest.mark.parametrize("variant", DISTURBED)
def test_more_strength_changes_more(variant):
    photo = np.asarray(tiny.photo().resize((192, 128)), dtype=float)
    image = Image.fromarray(photo.astype(np.uint8))
    moved = [np.abs(np.asarray(shown(variant, image, strength)) - photo).mean() for strength in (1e-6, 1.0, 3.0)]
    assert moved[0] < 1 and moved[0] < moved[1] < moved[2]


@pytest.mark.parametrize("strength", [1e-6, 3.0])
@pytest.mark.parametrize("variant", DISTURBED)
@pytest.mark.parametrize("mode", ["L", "RGBA"])
@pytest.mark.parametrize("size", [(96, 64), (9, 7)])
def test_grey_and_transparent_photos_of_any_size_are_taken(variant, mode, size, strength):
    image = tiny.photo().resize(size).convert(mode)
    assert (shown(variant, image, strength).size, shown(variant, image, strength).mode) == (size, "RGB")


def written_on(page, image):
    """What stands below the photo."""
    return page.crop((0, image.height, *page.size))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("size", [(96, 96), (120, 60), (50, 90)])
def test_the_question_is_written_below_the_whole_photo_in_a_square_that_no_model_crops(mode, size):
    image = tiny.photo().resize(size).convert(mode)
    width, height = size
    page = shown(WRITTEN, image, question="Where was this person born, and what did this person study there?")
    assert page.size == (2 * max(size),) * 2
    left = (page.width - width) // 2
    assert page.crop((left, 0, left + width, height)).tobytes() == image.convert("RGB").tobytes()
    written = written_on(page, image)
    assert min(written.convert("L").tobytes()) < 100
    assert written.tobytes() != written_on(shown(WRITTEN, image, question="Job?"), image).tobytes()
    assert set(written_on(shown(WRITTEN, image), image).tobytes()) == {255}


@pytest.mark.parametrize(("words", "count"), [("hair of this person ", 9), ("MMMMWWWW ", 7), ("M" * 80, 1)])
def test_a_long_question_is_seen_whole(words, count):
    photo = tiny.photo()
    seen = [written_on(shown(WRITTEN, question=words * count + end), photo) for end in ("I", "J")]
    assert seen[0].tobytes() != seen[1].tobytes()
    margins = (0, 0, 4, seen[0].height), (0, seen[0].height - 1, *seen[0].size), (seen[0].width - 1, 0, *seen[0].size)
    assert all(set(seen[0].crop(margin).tobytes()) == {255} for margin in margins)
