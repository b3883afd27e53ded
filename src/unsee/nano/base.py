"""Stage two, training: the projector and the decoder learn the corpus while the vision tower stays frozen."""

from __future__ import annotations

import logging
from pathlib import Path

from transformers import PreTrainedModel

from unsee.core.progress import Progress
from unsee.methods.base import Loss
from unsee.models.vlm import VLM
from unsee.nano.corpus import CORPUS, Corpus
from unsee.nano.kinds import Kind
from unsee.nano.language import train_tokenizer
from unsee.training.batches import Plan, Stream
from unsee.training.lessons import FineTuning
from unsee.training.train import Schedule, train

log = logging.getLogger(__name__)

BATCH_TOKENS, LEARNING_RATE = 2048, 1.5e-3


def new_model(kind: Kind, tower: PreTrainedModel, name: str, seed: int = 0) -> VLM:
    """Return the model before its first training step.

    The vision tower is the trained one. The projector has random weights. The decoder and the tokenizer are new too,
    unless the kind starts from another shipped model: then they are that model's.
    """
    if kind.starts_from:
        start = VLM.load(kind.starts_from)
        tokenizer = start.processor.tokenizer
        model = kind.make_model(tower, tokenizer, seed=seed)
        model.model.language_model.load_state_dict(start.model.model.language_model.state_dict())
    else:
        draft = train_tokenizer(["Where was this person born?"])
        unread = VLM(kind.make_model(tower, draft), kind.make_processor(draft), "draft")
        tokenizer = train_tokenizer(Corpus(unread, photos=1, num_strangers=600).texts())
        model = kind.make_model(tower, tokenizer, seed=seed)
    model.config.unsee_corpus = CORPUS
    return VLM(model, kind.make_processor(tokenizer), name)


def train_base(
    kind: Kind,
    tower: PreTrainedModel,
    steps: int,
    *,
    name: str,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> VLM:
    """Train the base model for `steps` steps of 2,048 tokens and return it."""
    vlm = new_model(kind, tower, name, seed)
    corpus = Corpus(vlm, seed=seed)

    stream = Stream(
        make_rows=lambda rng: [(corpus.tree(rng),) for _ in range(256)],
        sides=("retain",),
        vlm=vlm,
        seed=f"base-{seed}",
        batch_tokens=BATCH_TOKENS,
    )

    def report(step: int, loss: Loss, rate: float) -> None:
        if step % 100 == 0:
            log.info("base step=%d loss=%.4f learning_rate=%.2e", step, loss.parts["retain"], rate)

    method = FineTuning(learning_rate=LEARNING_RATE, steps=steps)
    schedule = Schedule(learning_rate=LEARNING_RATE, steps=steps, warmup=0.03, weight_decay=0.02, checkpoint_every=250)
    trainable = vlm.train_language()
    train(
        vlm, method, Plan([stream], method, "clean").steps, schedule, trainable,
        name="base", seed=seed, checkpoint=checkpoint, progress=progress, on_step=report,
    )  # fmt: skip
    return vlm
