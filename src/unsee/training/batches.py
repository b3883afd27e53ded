"""Which examples make up each step of training: a function of the seed and the step alone."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from unsee.config.protocols import Labels, Protocol
from unsee.core.errors import DataError
from unsee.forward.trees import Batch, Tree, collate, pack_by_length
from unsee.methods.base import Order, Side, StepBatch
from unsee.models.vlm import VLM
from unsee.runtime.distributed import share
from unsee.training.train import Schedule

MakeTrees = Callable[[random.Random], list[Tree]]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Endless epochs of batches of one side; the same for the same seed.

    Attributes:
        make_trees: the examples of an epoch.
        vlm: whose batches these are.
        seed: of the examples and their order.
        batch_tokens: padded tokens per batch, for batches of alike lengths; 0 counts examples.
        batch_examples: examples per batch, whatever their lengths; 0 counts tokens.
        labels: what the loss covers.
    """

    make_trees: MakeTrees
    vlm: VLM
    seed: str
    batch_tokens: int = 0
    batch_examples: int = 0
    labels: Labels = "answer"

    def plan(self, epoch: int) -> list[list[Tree]]:
        """The batches of one epoch in their order, not yet tensors.

        Raises:
            DataError: there is nothing to make a batch of.
        """
        rng = random.Random(f"{self.seed}-{epoch}")
        trees = self.make_trees(rng)
        if self.batch_examples:
            order = rng.sample(range(len(trees)), len(trees))
            rows = [order[start : start + self.batch_examples] for start in range(0, len(order), self.batch_examples)]
        else:
            rows = pack_by_length(trees, self.batch_tokens)
            rng.shuffle(rows)
        if not rows:
            raise DataError("these people have no training text; nothing can be taught or unlearned")
        return [[trees[row] for row in part] for part in rows]

    def epoch(self, number: int) -> Iterator[Batch]:
        """Return the batches of one epoch, of each this process's rows."""
        return (collate(own_rows(trees), self.vlm, self.labels) for trees in self.plan(number))

    def __iter__(self) -> Iterator[Batch]:
        """Epoch after epoch."""
        return itertools.chain.from_iterable(map(self.epoch, itertools.count()))


def own_rows(trees: Sequence[Tree]) -> list[Tree]:
    """The rows of a batch that are this process's, and one more, not scored, if without it there would be no picture.

    For a gradient has to be made of the same parameters in all processes, if of zeros in some.
    """
    own = list(share(trees))
    lacking = [tree for tree in trees if tree.pictures] if not any(tree.pictures for tree in own) else []
    company = lacking or ([] if own else trees)
    return [*own, *(tree.unscored() for tree in company[:1])]


def pairs(streams: Mapping[Side, Stream], order: Order = "joint") -> Iterator[StepBatch]:
    """One pair per step without end.

    "joint" takes a batch of every side for each step; "alternating" goes through an epoch of the first side, then of
    the second, and a step has that side alone.
    """
    if order == "alternating":
        for number in itertools.count():
            for side, stream in streams.items():
                for batch in stream.epoch(number):
                    yield StepBatch({side: batch})
    sides = {side: iter(stream) for side, stream in streams.items()}
    while True:
        yield StepBatch({side: next(stream) for side, stream in sides.items()})


def num_steps(streams: Mapping[Side, Stream], epochs: int, order: Order = "joint") -> int:
    """Steps in so many epochs: passes over the first side, or over all sides where they alternate."""
    passed = list(streams.values()) if order == "alternating" else list(streams.values())[:1]
    return sum(len(stream.plan(epoch)) for stream in passed for epoch in range(epochs))


@dataclass(frozen=True)
class Course:
    """What a training goes through, and how fast: `steps` of it, or `epochs`.

    The published rate falls linearly from the first step; where a method alternates it is constant, for the published
    code lowers it once an epoch by what was meant for a step. Neither is clipped.
    """

    streams: Mapping[Side, Stream]
    learning_rate: float
    steps: int
    epochs: int
    protocol: Protocol
    order: Order = "joint"

    @property
    def pairs(self) -> Iterator[StepBatch]:
        """The data of every step."""
        return pairs(self.streams, self.order)

    @property
    def schedule(self) -> Schedule:
        """The learning rate of every step."""
        steps = self.steps or num_steps(self.streams, self.epochs, self.order)
        if self.protocol == "clean":
            return Schedule(learning_rate=self.learning_rate, steps=steps)
        decay = 0.0 if self.order == "alternating" else 1.0
        return Schedule(learning_rate=self.learning_rate, steps=steps, warmup=0.0, decay=decay, clip_norm=math.inf)
