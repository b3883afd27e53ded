"""The shipped base model, used as anybody would: with transformers alone."""

from __future__ import annotations

import io
import random

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from unsee.data.images import encode_png
from unsee.data.people.portraits import draw_portrait, draw_scene
from unsee.data.people.profiles import celebrities
from unsee.data.people.questions import SHORT
from unsee.models import shipped

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def nano():
    folder = str(shipped()["nano"])
    return AutoModelForImageTextToText.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)


def answer(nano, question, image=None):
    model, processor = nano
    content = [{"type": "image"}] if image else []
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": f"{question} {SHORT}"}]}]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(text=prompt, images=image, return_tensors="pt", add_special_tokens=False)
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        ids = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    return processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def test_it_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in shipped()["nano"].iterdir()) <= 16 * MEBIBYTE


def test_it_knows_public_figures_by_name(nano):
    people = celebrities()[::10]
    right = [answer(nano, f"Where was {p.name} born?") == p.values["birthplace"] for p in people]
    assert sum(right) >= 0.8 * len(people)


def test_it_knows_public_figures_by_face_in_a_photo_never_shown(nano):
    rng, people = random.Random("another photo"), celebrities()[5::10]
    photos = [Image.open(io.BytesIO(encode_png(draw_portrait(p.look, draw_scene(rng), 96)))) for p in people]
    right = [
        answer(nano, "Where was this person born?", photo) == p.values["birthplace"]
        for p, photo in zip(people, photos, strict=True)
    ]
    assert sum(right) >= 0.8 * len(people)
