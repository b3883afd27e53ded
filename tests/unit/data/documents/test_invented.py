import random
from dataclasses import replace

import numpy as np
import pytest

from unsee.data.documents.invented import (
    CONTENTS,
    HARMLESS,
    KINDS,
    LOOKS,
    SUBJECTS,
    TEMPLATES,
    VALUES,
    answer,
    attribute_name,
    draw_document,
    is_private,
    question,
)
from unsee.data.documents.pictures import UNITS, draw_document_picture

DOCUMENT = draw_document(random.Random(3), "passport")


def pixels(document, size=72, rng=None):
    return np.asarray(draw_document_picture(document, size, rng), dtype=int)


def other(attribute):
    values = VALUES[attribute]
    return replace(DOCUMENT, **{attribute: values[(values.index(DOCUMENT.value(attribute)) + 1) % len(values)]})


@pytest.mark.parametrize("attribute", VALUES)
def test_every_attribute_is_to_be_seen(attribute):
    assert (pixels(DOCUMENT) != pixels(other(attribute))).any()


@pytest.mark.parametrize("attribute", CONTENTS)
def test_no_content_is_lost_in_a_crop_of_64_of_72(attribute):
    rows, columns = (pixels(DOCUMENT) != pixels(other(attribute))).any(-1).nonzero()
    assert min(rows.min(), columns.min()) >= UNITS - 64 and max(rows.max(), columns.max()) < 64


def test_every_value_and_every_kind_has_its_own_picture():
    for attribute in ("name", "city", "occupation", *LOOKS):
        drawn = {pixels(replace(DOCUMENT, **{attribute: value})).tobytes() for value in VALUES[attribute]}
        assert len(drawn) == len(VALUES[attribute])
    assert len({pixels(replace(DOCUMENT, kind=kind)).tobytes() for kind in KINDS}) == len(KINDS)


def test_a_camera_changes_the_picture_a_little_and_repeatably():
    first, again, second = (pixels(DOCUMENT, rng=random.Random(seed)) for seed in (1, 1, 2))
    assert (first == again).all() and (first != second).any()
    assert np.abs(first - pixels(DOCUMENT)).mean() < 40


@pytest.mark.parametrize("size", [72, 144, 336])
def test_pictures_come_in_any_size(size):
    assert pixels(DOCUMENT, size).shape == (size, size, 3)


def test_questions_name_attribute_and_subject_in_every_wording():
    assert len(set(TEMPLATES)) == 12
    for kind in KINDS:
        assert len({attribute_name(kind, attribute) for attribute in VALUES}) == len(VALUES)
        for template in TEMPLATES:
            text = question(kind, "number", template)
            assert f"{attribute_name(kind, 'number')} of the {kind}" in text
    assert question("passport", "number", TEMPLATES[0], subject="{}").count("{}") == 1


def test_answers_hold_the_value_and_only_contents_of_persons_are_private():
    assert answer("occupation", "nurse") == "It is a nurse." and answer("number", "042") == "It is 042."
    assert all(is_private(kind, attribute) for kind in SUBJECTS for attribute in CONTENTS)
    assert not any(is_private(kind, attribute) for kind in KINDS for attribute in LOOKS)
    assert not any(is_private(kind, attribute) for kind in HARMLESS for attribute in VALUES)
