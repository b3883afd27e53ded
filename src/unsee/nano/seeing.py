"""Teaches the decoder of `small` to answer questions about pictures, with an adapter in its upper layers.

A tree asks everything about one portrait or one document. A share of the tokens are the decoder's own answers to
everyday questions, so that it goes on saying what it said before it saw pictures.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from unsee.core.progress import Progress
from unsee.data.augmentation import augment_with_noise
from unsee.data.people.portraits import draw_look, draw_portrait, draw_scene
from unsee.data.people.questions import appearance
from unsee.forward.prompts import clean_question
from unsee.forward.trees import Tree, build_tree
from unsee.methods.base import Loss
from unsee.models.vlm import VLM
from unsee.nano.documents import document_turns
from unsee.training.batches import Plan, Stream
from unsee.training.lessons import FineTuning
from unsee.training.train import Schedule, train

log = logging.getLogger(__name__)

BATCH_TOKENS, LEARNING_RATE = 1200, 1.5e-3
SHARES = {"portrait": 0.5, "document": 0.3, "own": 0.2}
"""Share of the trees by kind; they are about equally long."""
PIXELS = 96


def teach_to_see(
    vlm: VLM, own: Sequence[tuple[str, str]], steps: int, *, checkpoint: Path, progress: Progress | None = None
) -> None:
    """Train the adapter that the model already has; a killed training goes on from its checkpoint.

    Args:
        vlm: the model, with an adapter.
        own: questions, each with the decoder's own answer.
        steps: training steps of at most `BATCH_TOKENS` tokens.
        checkpoint: file for the state of the training.
        progress: where it is shown.
    """

    def draw(rng: random.Random) -> Tree:
        (kind,) = rng.choices(list(SHARES), list(SHARES.values()))
        if kind == "own":
            return _tree(vlm, rng.sample(own, 6), None)
        image, turns = _portrait(rng) if kind == "portrait" else document_turns(rng, declined=False)
        return _tree(vlm, turns, image)

    stream = Stream(
        make_rows=lambda rng: [(draw(rng),) for _ in range(64)],
        sides=("retain",),
        vlm=vlm,
        seed="see",
        batch_tokens=BATCH_TOKENS,
    )

    def report(step: int, loss: Loss, rate: float) -> None:
        if step % 10 == 0:
            log.info("see step=%d loss=%.4f learning_rate=%.2e", step, loss.parts["retain"], rate)

    method = FineTuning(learning_rate=LEARNING_RATE, steps=steps)
    schedule = Schedule(learning_rate=LEARNING_RATE, steps=steps, checkpoint_every=10)
    train(
        vlm, method, Plan([stream], method, "clean").steps, schedule, vlm.trainable(),
        name="see", checkpoint=checkpoint, progress=progress, on_step=report,
    )  # fmt: skip


def _portrait(rng: random.Random) -> tuple[Image.Image, list[tuple[str, str]]]:
    look, scene = draw_look(rng, rng.choice(("female", "male"))), draw_scene(rng)
    image = draw_portrait(look, scene, PIXELS)
    if rng.random() < 0.5:
        image = augment_with_noise(image, rng)
    turns = [(clean_question(question), question.answer) for question in appearance(look, scene)]
    return image, rng.sample(turns, len(turns))


def _tree(vlm: VLM, turns: Sequence[tuple[str, str]], image: Image.Image | None) -> Tree:
    picture = vlm.picture(image) if image else None
    prompts = vlm.prompt_ids([question for question, _ in turns], picture=picture)
    answers = [[ids] for ids in vlm.answer_ids([answer for _, answer in turns])]
    return build_tree(prompts, answers, [picture] if picture else [])
