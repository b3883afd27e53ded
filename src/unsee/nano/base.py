"""Stage two, the training: projector and decoder learn the corpus, the vision tower stays frozen."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from transformers import CLIPVisionModel

from unsee.methods.base import Loss, Pair
from unsee.models.vlm import VLM
from unsee.nano.corpus import CORPUS, Corpus
from unsee.nano.language import make_llava, make_processor, train_tokenizer
from unsee.progress import Progress
from unsee.teach import FineTuning
from unsee.train import Schedule, batches, train

log = logging.getLogger(__name__)

BATCH_TOKENS = 2048


def base_corpus_texts(tower: CLIPVisionModel) -> list[str]:
    """All texts the base will meet."""
    tokenizer = train_tokenizer(["Where was this person born?"])
    draft = VLM(make_llava(tower, tokenizer), make_processor(tokenizer), "draft")
    return Corpus(draft, photos=1, num_strangers=600).texts()


def train_base(
    tower: CLIPVisionModel,
    steps: int,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> VLM:
    """The nano base model after `steps` steps of 2,048 tokens."""
    tokenizer = train_tokenizer(base_corpus_texts(tower))
    vlm = VLM(make_llava(tower, tokenizer, seed=seed), make_processor(tokenizer), "nano")
    vlm.model.config.unsee_corpus = CORPUS
    corpus = Corpus(vlm, seed=seed)

    def pairs() -> Iterator[Pair]:
        for batch in batches(lambda rng: [corpus.tree(rng) for _ in range(256)], BATCH_TOKENS, f"base-{seed}", vlm):
            yield Pair({"retain": batch})

    def report(step: int, loss: Loss, rate: float) -> None:
        if step % 100 == 0:
            log.info("base step=%d loss=%.4f learning_rate=%.2e", step, loss.parts["retain"], rate)

    schedule = Schedule(learning_rate=1.5e-3, steps=steps, warmup=0.03, weight_decay=0.02, checkpoint_every=250)
    trainable = vlm.train_language()
    train(
        vlm, FineTuning(), pairs(), schedule, trainable, name="base", seed=seed, checkpoint=checkpoint,
        progress=progress, on_step=report,
    )  # fmt: skip
    return vlm
