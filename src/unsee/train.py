"""The one training loop: teaching, and every method that minimises a loss.

Device placement, gradients and clipping are accelerate's. A run is a function of its inputs: batches depend on seed and
step only, so that a run killed at any step and resumed from its checkpoint ends with the same weights.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unsee.collate import Batch, Tree, collate, pack_by_length
from unsee.errors import DataError, ModelError
from unsee.losses import Scored
from unsee.methods.base import Loss, Model, Pair, Side
from unsee.models.vlm import VLM
from unsee.progress import Progress, Silent

log = logging.getLogger(__name__)

MakeTrees = Callable[[random.Random], list[Tree]]


class Objective(Protocol):
    """The part of a loss method that the loop needs."""

    reference_sides: ClassVar[tuple[Side, ...]]

    def loss(self, model: Model, reference: Model, batch: Pair) -> Loss:
        """The loss of one step."""
        ...


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast: warm-up over the first `warmup` share, linear decay over the last `decay` share."""

    learning_rate: float
    steps: int
    warmup: float = 0.05
    decay: float = 0.5
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    checkpoint_every: int = 50

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = (step + 1) / max(1.0, self.warmup * self.steps)
        fall = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.learning_rate * min(1.0, rise, fall)


class Scorer(nn.Module):
    """Batch in, scores of its answers out; the vocabulary product is computed at answer positions only."""

    def __init__(self, vlm: VLM) -> None:
        super().__init__()
        self.model = vlm.model
        self._vlm = (vlm,)

    def hidden(self, batch: Batch) -> Tensor:
        """Hidden states that predict the answer tokens, (N, D)."""
        return self._vlm[0].hidden(batch.inputs).flatten(0, 1)[batch.source_N]

    def forward(self, batch: Batch) -> Scored:
        """Scores of every answer token of the batch."""
        logits_NV = self._vlm[0].head()(self.hidden(batch))
        return Scored(logits_NV, batch.target_N, batch.item_N, batch.num_items)


class Reference:
    """The model as it was before training, without a second copy of it.

    With LoRA the adapter is switched off for the call. With full fine-tuning the hidden states of all scheduled batches
    are computed once before the first step; with the output matrix of that moment they give the exact logits.
    """

    def __init__(self, vlm: VLM, scorer: Scorer) -> None:
        self._vlm = vlm
        self._scorer = scorer
        self._hidden: dict[int, Tensor] = {}
        self._head: Tensor | None = None

    @torch.no_grad()
    def remember(self, batch: Batch) -> None:
        """Compute what `batch` needs; a no-op with LoRA."""
        if self._vlm.adapter is None:
            self._hidden[id(batch)] = self._scorer.hidden(batch)
            if self._head is None:
                self._head = self._vlm.head().weight.detach().clone()  # type: ignore[operator]

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Scored:
        """Scores of the batch under the model as it was."""
        if self._vlm.adapter is not None:
            with self._vlm.adapter_off():
                scored: Scored = self._scorer(batch)
                return scored
        if self._head is None or id(batch) not in self._hidden:
            raise ModelError("reference: a batch was not announced before training (list its side in reference_sides)")
        logits_NV = self._hidden[id(batch)] @ self._head.T
        return Scored(logits_NV, batch.target_N, batch.item_N, batch.num_items)


def batches(make_trees: MakeTrees, batch_tokens: int, seed: str, vlm: VLM) -> Iterator[Batch]:
    """Endless epochs of batches: the same for the same seed.

    Raises:
        DataError: there is nothing to make a batch of.
    """
    for epoch in itertools.count():
        rng = random.Random(f"{seed}-{epoch}")
        trees = make_trees(rng)
        plan = pack_by_length(trees, batch_tokens)
        if not plan:
            raise DataError("these people have no training text; nothing can be taught or unlearned")
        rng.shuffle(plan)
        for rows in plan:
            yield collate([trees[row] for row in rows], vlm)


def train(
    vlm: VLM,
    objective: Objective,
    pairs: Iterator[Pair],
    schedule: Schedule,
    trainable: Sequence[nn.Parameter],
    *,
    name: str,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    on_step: Callable[[int, Loss, float], None] | None = None,
) -> None:
    """Train `trainable` in place for `schedule.steps` steps.

    Args:
        pairs: one pair per step, a function of the step alone; resuming draws and drops those already used.
        checkpoint: file that holds the state every `schedule.checkpoint_every` steps; removed at the end.
        on_step: called with step, loss and learning rate after every step.

    Raises:
        ModelError: the loss or gradient is not finite, or nothing was trained.
    """
    accelerator = Accelerator()
    scorer = Scorer(vlm)
    optimiser = torch.optim.AdamW(trainable, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    scorer, optimiser = accelerator.prepare(scorer, optimiser)
    reference = Reference(vlm, scorer)
    moved = (_move(pair, accelerator.device) for pair in itertools.islice(pairs, schedule.steps))
    announced = _announce(moved, objective.reference_sides, reference)
    done = _resume(checkpoint, trainable, optimiser) if checkpoint else 0
    remaining = itertools.islice(announced, done, None)
    before = [parameter.detach().clone() for parameter in trainable[-2:]]
    vlm.model.train()
    with (progress or Silent()).task(name, schedule.steps) as advance:
        advance(done)
        for step, pair in enumerate(remaining, start=done):
            torch.manual_seed(seed * 1_000_003 + step)
            optimiser.param_groups[0]["lr"] = schedule.rate(step)
            loss = objective.loss(scorer, reference, pair)
            accelerator.backward(loss.total)
            norm = accelerator.clip_grad_norm_(trainable, schedule.clip_norm)
            if not math.isfinite(loss.total.item()) or not math.isfinite(float(norm)):
                kept = _save(checkpoint, trainable, optimiser, step) if checkpoint else None
                where = f"; the state before it is kept in {kept}" if kept else ""
                found = f"loss is {loss.total.item()} (gradient norm {float(norm)})"
                raise ModelError(f"{name}: {found} at step {step}{where}; lower the learning rate")
            optimiser.step()
            optimiser.zero_grad()
            if on_step:
                on_step(step, loss, schedule.rate(step))
            if checkpoint and (step + 1) % schedule.checkpoint_every == 0 and step + 1 < schedule.steps:
                _save(checkpoint, trainable, optimiser, step + 1)
            advance(1)
    vlm.model.eval()
    if done < schedule.steps and all(torch.equal(a, b) for a, b in zip(before, trainable[-2:], strict=True)):
        raise ModelError(f"{name}: training changed nothing; check the learning rate and the trainable parameters")
    if checkpoint:
        checkpoint.unlink(missing_ok=True)


def _announce(pairs: Iterator[Pair], sides: Sequence[Side], reference: Reference) -> Iterator[Pair]:
    """The same pairs; where a method compares with the reference, all are shown to it before the first step."""
    if not sides:
        return pairs
    kept = list(pairs)
    for pair, side in itertools.product(kept, sides):
        reference.remember(pair.sides[side])
    return iter(kept)


def _move(pair: Pair, device: torch.device) -> Pair:
    return Pair({side: batch.to(device) for side, batch in pair.sides.items()})


def _save(path: Path, trainable: Sequence[nn.Parameter], optimiser: torch.optim.Optimizer, step: int) -> Path:
    tensors = {f"parameter.{i}": parameter.detach().contiguous() for i, parameter in enumerate(trainable)}
    for i, parameter in enumerate(trainable):
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{key}.{i}"] = value.detach().clone()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"state": json.dumps({"step": step})})
    os.replace(part, path)
    return path


def _resume(path: Path, trainable: Sequence[nn.Parameter], optimiser: torch.optim.Optimizer) -> int:
    if not path.is_file():
        return 0
    with safe_open(path, "pt") as state:
        step = int(json.loads(state.metadata()["state"])["step"])
        names = set(state.keys())
        with torch.no_grad():
            for i, parameter in enumerate(trainable):
                parameter.copy_(state.get_tensor(f"parameter.{i}"))
                moments = {key: f"{key}.{i}" for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}.{i}" in names}
                if moments:
                    optimiser.state[parameter] = {
                        key: state.get_tensor(name).to(parameter.device) for key, name in moments.items()
                    }
    log.info("resumed path=%s step=%d", path.name, step)
    return step
