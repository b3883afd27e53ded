"""What a method is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import Field
from torch import Tensor

from unsee.collate import Batch
from unsee.losses import Scored

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Side = Literal["forget", "retain"]
Model = Callable[[Batch], Scored]


@dataclass(frozen=True)
class Pair:
    """One step's data: what to forget, and what to keep if the method looks at it."""

    forget: Batch | None
    retain: Batch | None


@dataclass(frozen=True)
class Loss:
    """The scalar to minimise and its parts for the log (name to value, nats)."""

    total: Tensor
    parts: Mapping[str, float] = field(default_factory=dict)


class LossMethod(Protocol):
    """A method that changes weights by minimising a loss.

    `sides` says which data a step needs; `reference_sides` on which of them the method compares with the model as it
    was before unlearning.
    """

    sides: ClassVar[tuple[Side, ...]]
    reference_sides: ClassVar[tuple[Side, ...]]
    learning_rate: float
    steps: int

    def loss(self, model: Model, reference: Model, batch: Pair) -> Loss:
        """The loss of one step; pure, sees no optimiser, device or file."""
        ...


class PromptMethod(Protocol):
    """A method that leaves the weights alone and puts a system prompt before every question."""

    def system_prompt(self, names: tuple[str, ...]) -> str | None:
        """The system prompt, or None for none, given the names of the people to forget."""
        ...
