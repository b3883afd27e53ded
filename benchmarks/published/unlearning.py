"""One epoch of unlearning in padded batches of four, in which each example has its own copy of the photo."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.material import Example
from unsee.models.vlm import VLM

BATCH, RANK, ALPHA, RATE = 4, 16, 16, 2e-5
EPSILON, MEMORY = 1e-6, 0.999  # of the AdamW of transformers 4, which adds epsilon before it corrects the second moment
BETA = 0.4

Steps = Sequence[Sequence[Example]]
"""The examples of each step of a pass, in order."""


def epoch(
    vlm: VLM, trainable: Sequence[nn.Parameter], before: nn.Module | None, method: str, forget: Steps, retain: Steps
) -> list[float]:
    """Train for a pass over the people to forget and, if the method has a retain term, a pass over all others.

    If a step has more than four examples, gradients of batches of four are added, weighted by their share of the
    tokens. The learning rate falls linearly; with a retain term it is constant. Methods in `SECOND` use a copy of
    `before`, the model without adapters, as the second model.

    Returns:
        The cross-entropy of every step.
    """
    second = copy.deepcopy(before).eval() if before is not None else None
    passes: list[tuple[Steps, Term]] = [(forget, _preference if method == "npo" else _ascent)]
    if method in RETAINING:
        passes.append((retain, RETAINING[method]))
    optimiser = torch.optim.AdamW(trainable, lr=RATE, weight_decay=0.0)
    fall = 1 / len(forget) if len(passes) == 1 else 0.0
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - fall * step)
    seen = []
    vlm.model.train()
    for steps, term in passes:
        for batches in _loader(vlm, steps):
            tokens = [int((inputs["labels"][:, 1:] != -100).sum()) for inputs in batches]
            cross_entropy = 0.0
            for inputs, count in zip(batches, tokens, strict=True):
                loss, part = term(vlm.model, second, inputs)
                (loss * (count / sum(tokens))).backward()
                cross_entropy += part.item() * count / sum(tokens)
            optimiser.param_groups[0]["eps"] = EPSILON / (1 - MEMORY ** (len(seen) + 1)) ** 0.5
            optimiser.step()
            falling.step()
            optimiser.zero_grad()
            seen.append(cross_entropy)
    vlm.model.eval()
    return seen


@torch.no_grad()
def losses(vlm: VLM, steps: Steps) -> list[float]:
    """Return the mean loss per token of every example."""
    means: list[float] = []
    for inputs in (inputs for batches in _loader(vlm, steps) for inputs in batches):
        logits = vlm.model(**{name: value for name, value in inputs.items() if name != "labels"}).logits
        labels = inputs["labels"][:, 1:]
        loss = F.cross_entropy(logits[:, :-1].transpose(1, 2).float(), labels, reduction="none", ignore_index=-100)
        means += (loss.sum(1) / (labels != -100).sum(1)).tolist()
    return means


def _loader(vlm: VLM, steps: Steps) -> DataLoader[list[dict[str, Any]]]:
    """Return a loader of the batches of each step. Labels are the text without padding and image placeholders."""

    def written(rows: Sequence[Example]) -> dict[str, Any]:
        images = [[row.image] for row in rows]
        made = vlm.processor(
            images=images, text=[row.text for row in rows], padding=True, padding_side="right", return_tensors="pt"
        )  # type: ignore[operator]
        inputs = dict(made.to(vlm.device))
        hidden = (inputs["attention_mask"] == 0) | (inputs["input_ids"] == vlm.family.image_token)
        return inputs | {"labels": inputs["input_ids"].masked_fill(hidden, -100)}

    def collate(rows: Sequence[Example]) -> list[dict[str, Any]]:
        return [written(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]

    return DataLoader(steps, batch_size=None, collate_fn=collate)  # type: ignore[arg-type]


def _ascent(model: nn.Module, second: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    loss: Tensor = model(**inputs).loss
    return -loss, loss


def _descent(model: nn.Module, second: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    loss: Tensor = model(**inputs).loss
    return loss, loss


def _close_to_second(model: nn.Module, second: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return `CE(retain) + KL(second || model)`: the divergence summed over all positions, divided by the rows."""
    output = model(**inputs)
    with torch.no_grad():
        reference = second(**inputs).logits
    divergence = F.kl_div(output.logits.log_softmax(-1), reference.softmax(-1), reduction="batchmean")
    return output.loss + divergence, output.loss


def _preference(model: nn.Module, second: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return `-(2 / beta) log sigmoid(beta (CE - CE of the second))` of the whole batch."""
    loss: Tensor = model(**inputs).loss
    with torch.no_grad():
        before: Tensor = second(**inputs).loss
    return -(2 / BETA) * F.logsigmoid(BETA * (loss - before)), loss


Term = Callable[[nn.Module, Any, dict[str, Any]], tuple[Tensor, Tensor]]
"""Returns the loss of a batch and its cross-entropy."""

SECOND = ("kl_minimisation", "npo")
RETAINING: Mapping[str, Term] = {"gradient_difference": _descent, "kl_minimisation": _close_to_second}
