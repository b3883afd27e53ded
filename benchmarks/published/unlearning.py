"""One epoch of unlearning in padded batches of four, each example with its own copy of the photo."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.material import Example
from unsee.models.vlm import VLM

BATCH, RANK, ALPHA, RATE = 4, 16, 16, 2e-5
BETA = 0.4


def epoch(vlm: VLM, method: str, forget: Sequence[Example], retain: Sequence[Example]) -> None:
    """A pass over the people to forget, and for the methods with a retain term a pass over all others after it."""
    second = copy.deepcopy(vlm.model).eval() if method in ("kl_minimisation", "npo") else None
    trainable = vlm.add_lora(RANK, ALPHA, "all_linear")
    passes: list[tuple[Sequence[Example], Callable[[dict[str, Any]], Tensor]]] = [
        (
            forget,
            lambda inputs: _preference(vlm.model, second, inputs) if method == "npo" else -_loss(vlm.model, inputs),
        )
    ]
    if method == "gradient_difference":
        passes.append((retain, lambda inputs: _loss(vlm.model, inputs)))
    if method == "kl_minimisation":
        passes.append((retain, lambda inputs: _held(vlm.model, second, inputs)))
    optimiser = torch.optim.AdamW(trainable, lr=RATE, weight_decay=0.0)
    vlm.model.train()
    for examples, loss in passes:
        for inputs in _batches(vlm, examples, shuffle=True):
            loss(inputs).backward()
            optimiser.step()
            optimiser.zero_grad()
    vlm.model.eval()


@torch.no_grad()
def losses(vlm: VLM, examples: Sequence[Example]) -> list[float]:
    """Mean loss per token of every example before the first step, in order of size."""
    found: list[float] = []
    for inputs in _batches(vlm, examples, shuffle=False):
        logits = vlm.model(**{name: value for name, value in inputs.items() if name != "labels"}).logits
        labels = inputs["labels"][:, 1:]
        loss = F.cross_entropy(logits[:, :-1].transpose(1, 2).float(), labels, reduction="none", ignore_index=-100)
        found += (loss.sum(1) / (labels != -100).sum(1)).tolist()
    return sorted(found)


def _batches(vlm: VLM, examples: Sequence[Example], *, shuffle: bool) -> Iterator[dict[str, Any]]:
    """Batches as the processor makes them, the whole text as labels, without padding and image placeholders."""

    def collate(rows: list[Example]) -> dict[str, Any]:
        images = [[row.image] for row in rows]
        made = vlm.processor(images=images, text=[row.text for row in rows], padding=True, return_tensors="pt")  # type: ignore[operator]
        inputs = dict(made.to(vlm.device))
        hidden = (inputs["attention_mask"] == 0) | (inputs["input_ids"] == vlm.family.image_token)
        return inputs | {"labels": inputs["input_ids"].masked_fill(hidden, -100)}

    order = torch.Generator().manual_seed(0)
    yield from DataLoader(list(examples), batch_size=BATCH, shuffle=shuffle, collate_fn=collate, generator=order)  # type: ignore[arg-type]


def _loss(model: nn.Module, inputs: dict[str, Any]) -> Tensor:
    loss: Tensor = model(**inputs).loss
    return loss


def _held(model: nn.Module, second: nn.Module | None, inputs: dict[str, Any]) -> Tensor:
    """`CE(retain) + KL(second || model)`, the divergence over all positions, divided by the rows."""
    output = model(**inputs)
    with torch.no_grad():
        wanted = second(**inputs).logits if second else output.logits
    divergence = F.kl_div(output.logits.log_softmax(-1), wanted.softmax(-1), reduction="batchmean")
    loss: Tensor = output.loss + divergence
    return loss


def _preference(model: nn.Module, second: nn.Module | None, inputs: dict[str, Any]) -> Tensor:
    """`-(2 / beta) log sigmoid(beta (CE - CE of the second))` of the whole batch."""
    loss = _loss(model, inputs)
    with torch.no_grad():
        before = _loss(second, inputs) if second else loss
    return -(2 / BETA) * F.logsigmoid(BETA * (loss - before))
