"""Stage one: train a small vision tower to recognise the features of portraits and to read documents.

On rendered portraits, one linear head per visible attribute reads the mean patch feature. On rendered documents, one
attention-pooled head per label reads the patches; numbers have one label per digit. Trained through the language loss
alone, the tower learns nothing within the training steps (docs/lab-notes.md).
Shape letters: B images, C channels, H W pixels, P patches, D features.
"""

from __future__ import annotations

import logging
import multiprocessing
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import Blip2VisionConfig, CLIPVisionConfig, PreTrainedModel

from unsee.data.augmentation import augment_with_noise
from unsee.data.people.portraits import (
    BACKGROUNDS,
    BEARDS,
    CLOTHES,
    COLOURS,
    FEMALE_HAIR,
    GLASSES,
    HAIR_COLOURS,
    MALE_HAIR,
    SKINS,
    draw_look,
    draw_portrait,
    draw_scene,
)
from unsee.nano.documents import DOCUMENT_LABELS, DocumentHeads, draw_labelled

log = logging.getLogger(__name__)

Job = TypeVar("Job")
Drawn = tuple[np.ndarray, np.ndarray]

CROP_PIXELS = 64
RESIZE_PIXELS = 72
CHANNEL_MEAN = 0.5
CHANNEL_STD = 0.5
LABELS: dict[str, list[str]] = {
    "skin": list(SKINS),
    "hair_style": sorted({*FEMALE_HAIR, *MALE_HAIR}),
    "hair_colour": list(HAIR_COLOURS),
    "glasses": list(GLASSES),
    "beard": list(BEARDS),
    "clothes": list(CLOTHES),
    "clothes_colour": list(COLOURS),
    "background": list(BACKGROUNDS),
}


def vision_config() -> CLIPVisionConfig:
    """Return the sizes of nano's tower: 64 patches of 8 x 8 pixels, four layers of width 128."""
    return CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=CROP_PIXELS,
        patch_size=8,
    )


def blip2_vision_config() -> Blip2VisionConfig:
    """Return the sizes of nano-minigpt4's tower: 64 patches of 8 x 8 pixels, three layers of width 128."""
    return Blip2VisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=CROP_PIXELS,
        patch_size=8,
        initializer_range=0.05,  # the published 1e-10 suits only a tower whose weights are loaded
    )


def _portraits(job: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    count, seed = job
    rng = random.Random(f"vision-{seed}")
    pixels = np.empty((count, RESIZE_PIXELS, RESIZE_PIXELS, 3), dtype=np.uint8)
    labels = np.empty((count, len(LABELS)), dtype=np.int64)
    for row in range(count):
        look, scene = draw_look(rng, rng.choice(("female", "male"))), draw_scene(rng)
        image = draw_portrait(look, scene, 96)
        if rng.random() < 0.7:
            image = augment_with_noise(image, rng)
        pixels[row] = np.asarray(image.resize((RESIZE_PIXELS, RESIZE_PIXELS), Image.Resampling.BICUBIC))
        seen = {**vars(look), **vars(scene)}
        labels[row] = [values.index(seen[name]) for name, values in LABELS.items()]
    return pixels, labels


def draw_training_portraits(count: int, seed: int, processes: int = 2) -> tuple[Tensor, Tensor]:
    """Draw `count` portraits as uint8 (B, 72, 72, 3), and their attribute indices (B, attributes)."""
    return _drawn(_portraits, _jobs(count, seed), processes)


def draw_training_documents(count: int, seed: int, processes: int = 2) -> tuple[Tensor, Tensor]:
    """Draw `count` documents as uint8 (B, 72, 72, 3), and the indices of their labels (B, labels)."""
    return _drawn(draw_labelled, [(*job, RESIZE_PIXELS) for job in _jobs(count, seed)], processes)


def _jobs(count: int, seed: int, chunk: int = 500) -> list[tuple[int, int]]:
    return [(min(chunk, count - start), seed * 100_000 + start) for start in range(0, count, chunk)]


def _drawn(draw: Callable[[Job], Drawn], jobs: list[Job], processes: int) -> tuple[Tensor, Tensor]:
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        parts = pool.map(draw, jobs)
    return torch.from_numpy(np.concatenate([p for p, _ in parts])), torch.from_numpy(
        np.concatenate([y for _, y in parts])
    )


def crop_and_normalise(pixels_BHWC: Tensor, generator: torch.Generator | None) -> Tensor:
    """Crop and normalise pictures to (B, 3, 64, 64).

    Args:
        pixels_BHWC: pictures as uint8 (B, 72, 72, 3).
        generator: draws a random crop and brightness for each picture (no mirroring); None takes the central crop.
    """
    spare = RESIZE_PIXELS - CROP_PIXELS
    batch = len(pixels_BHWC)
    if generator is None:
        top = left = torch.full((batch,), spare // 2)
    else:
        top, left = (torch.randint(0, spare + 1, (batch,), generator=generator) for _ in range(2))
    span = torch.arange(CROP_PIXELS)
    rows, columns = top[:, None] + span, left[:, None] + span
    crops = pixels_BHWC[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]].float() / 255
    if generator is not None:
        crops = crops * (0.85 + 0.3 * torch.rand((batch, 1, 1, 1), generator=generator))
    return ((crops - CHANNEL_MEAN) / CHANNEL_STD).permute(0, 3, 1, 2).contiguous()


class AttributeHeads(nn.Module):
    """One linear classifier per visible attribute on the mean patch feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, len(values)) for values in LABELS.values())

    def forward(self, features_BPD: Tensor) -> list[Tensor]:
        """Return the logits of each attribute, each (B, values)."""
        mean_BD = features_BPD.mean(1)
        return [head(mean_BD) for head in self.heads]


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(count, generator=generator)[: count // size * size].split(size)


def train_vision_tower(
    new_tower: Callable[[], PreTrainedModel], steps: int, num_portraits: int, num_documents: int, seed: int = 0
) -> tuple[PreTrainedModel, dict[str, float]]:
    """Train a tower for `steps` steps of 64 portraits and 64 documents.

    Returns:
        The tower, and the accuracy of each head on new portraits and documents, between 0 and 1.
    """
    pixels, labels = draw_training_portraits(num_portraits, seed)
    documents, document_labels = draw_training_documents(num_documents, seed)
    torch.manual_seed(seed)
    tower = new_tower()
    width = tower.config.hidden_size
    heads, document_heads = AttributeHeads(width), DocumentHeads(width)
    parameters = [*tower.parameters(), *heads.parameters(), *document_heads.parameters()]
    peak = 1.5e-3
    optimiser = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.05)
    generator = torch.Generator().manual_seed(seed)
    drawn = zip(_batches(len(pixels), 64, generator), _batches(len(documents), 64, generator), strict=False)
    for step, (rows, others) in enumerate(islice(drawn, steps)):
        optimiser.param_groups[0]["lr"] = peak * min(1.0, (step + 1) / 50, 2 * (steps - step) / steps)
        both = crop_and_normalise(torch.cat([pixels[rows], documents[others]]), generator)
        features, document_features = tower(both).last_hidden_state[:, 1:].split([len(rows), len(others)])
        losses = _losses(heads(features), labels[rows])
        losses += _losses(document_heads(document_features), document_labels[others])
        loss = torch.stack(losses).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step % 100 == 0:
            log.info("vision step=%d loss=%.3f", step, loss.item())
    tower.eval()
    accuracy = _accuracy(tower, heads, draw_training_portraits(1000, seed + 1), list(LABELS))
    read = _accuracy(tower, document_heads, draw_training_documents(1000, seed + 1), list(DOCUMENT_LABELS))
    accuracy |= {f"document_{name}": value for name, value in read.items()}
    log.info("vision %s", " ".join(f"{name}={value:.3f}" for name, value in accuracy.items()))
    return tower, accuracy


def _losses(logits: Sequence[Tensor], labels: Tensor) -> list[Tensor]:
    return [nn.functional.cross_entropy(each, labels[:, index]) for index, each in enumerate(logits)]


@torch.no_grad()
def _accuracy(
    tower: PreTrainedModel, heads: nn.Module, test_set: tuple[Tensor, Tensor], names: Sequence[str]
) -> dict[str, float]:
    pixels, labels = test_set
    logits = [heads(tower(crop_and_normalise(part, None)).last_hidden_state[:, 1:]) for part in pixels.split(250)]
    return {
        name: float((torch.cat([part[i] for part in logits]).argmax(-1) == labels[:, i]).float().mean())
        for i, name in enumerate(names)
    }
