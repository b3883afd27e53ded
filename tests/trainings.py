"""A tiny model, what of it is trained, and endless steps to train it with."""

import itertools

import tiny
import torch

from unsee.methods.base import StepBatch
from unsee.training.train import Schedule

LORA_RANK, LORA_ALPHA = 4, 8
STEPS = 8
SCHEDULE = Schedule(learning_rate=3e-3, steps=STEPS, checkpoint_every=4)


def prepared(trainable):
    """A fresh model and what of it is trained."""
    vlm = tiny.make_vlm()
    return vlm, vlm.train_language() if trainable == "full" else vlm.add_lora(LORA_RANK, LORA_ALPHA)


def pairs(vlm):
    """Endless steps, no two alike."""
    for shade in itertools.count():
        forget = tiny.make_batch(vlm, shade=shade)
        yield StepBatch({"forget": forget, "retain": tiny.make_batch(vlm, shade=-shade, answers=tiny.ANSWERS[::-1])})


def weights(parameters):
    return [parameter.detach().clone() for parameter in parameters]


def same(a, b):
    return all(torch.equal(left, right) for left, right in zip(a, b, strict=True))
