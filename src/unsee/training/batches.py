"""The examples of each training step, determined by the seed and the step alone."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from unsee.config.protocols import AdamW, Labels, Protocol
from unsee.core.errors import DataError
from unsee.forward.trees import Tree, collate, pack_by_length
from unsee.methods.base import LossMethod, Side, StepBatch
from unsee.models.vlm import VLM
from unsee.runtime.distributed import share
from unsee.training.train import Schedule

Row = tuple[Tree, ...]
"""One training row: a tree for each side of a stream, aligned answer by answer."""
MakeRows = Callable[[random.Random], list[Row]]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Endless epochs of batches of one side, or of several sides aligned answer by answer.

    Attributes:
        make_rows: makes the training rows of an epoch.
        sides: the sides that a row has trees for, in order; the first one decides which rows form a batch.
        vlm: the model that reads the batches.
        seed: of the rows and their order; the same seed gives the same batches.
        batch_tokens: padded tokens per batch, for batches of rows of similar length; 0 to count examples.
        batch_examples: examples per batch, of any length; 0 to count tokens.
        labels: the tokens that the loss covers.
        whole_sides: the sides of which every position is scored too, padding included.
    """

    make_rows: MakeRows
    sides: tuple[Side, ...]
    vlm: VLM
    seed: str
    batch_tokens: int = 0
    batch_examples: int = 0
    labels: Labels = "answer"
    whole_sides: tuple[Side, ...] = ()

    def plan(self, epoch: int) -> list[list[Row]]:
        """Return the rows of each batch of one epoch, in order.

        Raises:
            DataError: there are no rows.
        """
        rng = random.Random(f"{self.seed}-{epoch}")
        rows = self.make_rows(rng)
        if self.batch_examples:
            order = rng.sample(range(len(rows)), len(rows))
            parts = [order[start : start + self.batch_examples] for start in range(0, len(order), self.batch_examples)]
        else:
            parts = pack_by_length([row[0] for row in rows], self.batch_tokens)
            rng.shuffle(parts)
        if not parts:
            raise DataError("these people have no training text; nothing can be taught or unlearned")
        return [[rows[index] for index in part] for part in parts]

    def epoch(self, number: int) -> Iterator[StepBatch]:
        """Yield the batches of one epoch as tensors, with this process's rows of each."""
        for rows in self.plan(number):
            trees = zip(*rows, strict=True)
            yield StepBatch(
                {
                    side: collate(own_rows(one_side), self.vlm, self.labels, padded_to=self._padded_to(side, one_side))
                    for side, one_side in zip(self.sides, trees, strict=True)
                }
            )

    def _padded_to(self, side: Side, trees: Sequence[Tree]) -> int | None:
        """Return the length of the longest text of all processes' rows; None if texts are not padded."""
        return max(tree.longest_text for tree in trees) if side in self.whole_sides else None

    def __iter__(self) -> Iterator[StepBatch]:
        """Yield epoch after epoch."""
        return itertools.chain.from_iterable(map(self.epoch, itertools.count()))


def own_rows(trees: Sequence[Tree]) -> list[Tree]:
    """Return this process's rows of a batch.

    If they contain no picture, one row with a picture is added unscored. So every process has gradients (zero if need
    be) for the same parameters.
    """
    own = list(share(trees))
    lacking = [tree for tree in trees if tree.pictures] if not any(tree.pictures for tree in own) else []
    company = lacking or ([] if own else trees)
    return [*own, *(tree.unscored() for tree in company[:1])]


@dataclass(frozen=True)
class Plan:
    """The data and the learning rate of every step of one training.

    With the published protocol the learning rate falls linearly from the first step. For alternating methods it is
    constant, because the published code calls its scheduler once per epoch instead of once per step. In both cases
    gradients are not clipped.

    Attributes:
        streams: the data, in the order in which an alternating method uses them.
        method: sets the number of steps, the learning rate and the order of the streams.
        protocol: "clean" or "published".
        adamw: the epsilon of AdamW.
    """

    streams: Sequence[Stream]
    method: LossMethod
    protocol: Protocol
    adamw: AdamW = "torch"

    @property
    def steps(self) -> Iterator[StepBatch]:
        """The data of every step, endless."""
        if self.method.schedule == "alternating":
            for number in itertools.count():
                for stream in self.streams:
                    yield from stream.epoch(number)
        for batches in zip(*self.streams, strict=True):
            yield StepBatch({side: batch for one in batches for side, batch in one.sides.items()})

    @property
    def num_steps(self) -> int:
        """Number of steps. An epoch is one pass over the first stream, or over all streams if they alternate."""
        if self.method.steps:
            return self.method.steps
        passed = self.streams if self.method.schedule == "alternating" else self.streams[:1]
        return sum(len(stream.plan(epoch)) for stream in passed for epoch in range(self.method.epochs))

    @property
    def schedule(self) -> Schedule:
        """The learning rate of every step."""
        rate, steps = self.method.learning_rate, self.num_steps
        if self.protocol == "clean":
            return Schedule(learning_rate=rate, steps=steps, adamw=self.adamw)
        decay = 0.0 if self.method.schedule == "alternating" else 1.0
        return Schedule(
            learning_rate=rate, steps=steps, warmup=0.0, decay=decay, clip_norm=math.inf, adamw=self.adamw
        )  # fmt: skip
