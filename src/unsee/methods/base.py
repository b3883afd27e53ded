"""What a method is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol, runtime_checkable

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from unsee.core.errors import ModelError
from unsee.core.progress import Progress, Silent
from unsee.data.pairs import PrivacyPair
from unsee.edits.edit import Edit
from unsee.forward.losses import Scored
from unsee.forward.trees import Batch
from unsee.models.vlm import VLM

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Side = Literal["forget", "retain"]
Order = Literal["joint", "alternating"]
Layers = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int and value >= 0 else value)]
"""Layers as `parse_layers` reads them; a single one may be written as a number."""
Share = Annotated[float, Field(gt=0, le=1)]
Model = Callable[[Batch], Scored]
Guard = Callable[[str], str | None]


@dataclass(frozen=True)
class Pair:
    """One step's data: a batch for each side that the method asks for."""

    sides: Mapping[Side, Batch]

    @property
    def forget(self) -> Batch:
        """What to forget."""
        return self._of("forget")

    @property
    def retain(self) -> Batch:
        """What to keep."""
        return self._of("retain")

    def to(self, device: torch.device) -> Pair:
        """The same data on another device."""
        return Pair({side: batch.to(device) for side, batch in self.sides.items()})

    def _of(self, side: Side) -> Batch:
        if side not in self.sides:
            raise ModelError(f"a step has no {side} batch; a method must list every side it looks at in `sides`")
        return self.sides[side]


@dataclass(frozen=True)
class Loss:
    """The scalar to minimise and its parts for the log (name to value, nats)."""

    total: Tensor
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How long a loss method trains: `steps`, or `epochs` (passes over its data), the other being 0."""

    steps: NonNegativeInt = 0
    epochs: NonNegativeInt = 0

    def __post_init__(self) -> None:
        """Refuse two lengths, or none."""
        if bool(self.steps) == bool(self.epochs):
            raise ValueError("steps and epochs: give exactly one of them, and 0 for the other")


@runtime_checkable
class LossMethod(Protocol):
    """A method that changes weights by minimising a loss.

    `sides` says which data the method looks at; `reference_sides` on which of them it compares with the model as it was
    before unlearning. Two more fields are heeded where a method has them: `schedule` ("joint": all sides in every step;
    "alternating": each epoch is a pass over the forget side and then one over the retain side, one side in a step) and
    `reference` ("target": the model before unlearning; "oracle": the one that was never taught the forget people).
    """

    reference_sides: ClassVar[tuple[Side, ...]]

    @property
    def sides(self) -> tuple[Side, ...]:
        """The data of a step, at least one side."""
        ...

    @property
    def learning_rate(self) -> float:
        """Peak learning rate."""
        ...

    @property
    def steps(self) -> int:
        """Optimiser steps, or 0."""
        ...

    @property
    def epochs(self) -> int:
        """Passes over the data, or 0."""
        ...

    def loss(self, model: Model, reference: Model, batch: Pair) -> Loss:
        """The loss of one step; pure, sees no optimiser, device or file."""
        ...


@runtime_checkable
class PromptMethod(Protocol):
    """A method that leaves the weights alone and puts a system prompt before every question."""

    def system_prompt(self, names: tuple[str, ...]) -> str | None:
        """The system prompt, or None for none, given the names of the people to forget."""
        ...


@dataclass(frozen=True, kw_only=True)
class Work:
    """How an edit is computed, apart from the method's own options.

    Attributes:
        seed: of everything that is drawn.
        progress: where long work is shown.
        cache: folder for what depends on the model alone; None keeps nothing.
    """

    seed: int = 0
    progress: Progress = field(default_factory=Silent)
    cache: Path | None = None


@runtime_checkable
class EditMethod(Protocol):
    """A method that computes what to add to some matrices so that sensitive questions are refused.

    It only computes: the model is left as it is, and whoever applies the edit can take it back.
    """

    def edit(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Edit:
        """The edit for these pairs, each of which has its benign answer."""
        ...


@runtime_checkable
class GuardMethod(Protocol):
    """A method that leaves the model alone and answers some questions in its place."""

    def guard(self, pairs: Sequence[PrivacyPair]) -> Guard:
        """What is said to a question in place of the model; None lets the model answer."""
        ...
