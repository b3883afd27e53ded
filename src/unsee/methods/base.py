"""The interfaces of a method: what it is given and what it returns.

A method is a frozen dataclass that inherits from one of these; everything the engine asks of it is declared here, with
a type and a default.

    LossMethod              changes weights by minimising a loss
      GradientMethod        combines the gradients of several losses itself
      ArithmeticMethod      computes with the change that its training made
    EditMethod              computes an edit from privacy pairs
    StatisticsMethod        computes an edit from forward passes over forget and retain questions, without training
    PromptMethod            puts a system prompt before every question
    GuardMethod             answers some questions in the model's place
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from unsee.core.errors import ModelError
from unsee.core.progress import Progress, Silent
from unsee.data.pairs import PrivacyPair
from unsee.data.schema import Input
from unsee.edits.edit import Edit
from unsee.forward.losses import Scored
from unsee.forward.trees import Batch
from unsee.methods import METHODS
from unsee.models.vlm import VLM
from unsee.runtime.cache import Cache

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Layers = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int and value >= 0 else value)]
"""Layers as `parse_layers` reads them; a single one may be written as a number."""

Side = Literal["forget", "retain", "refusal", "stand_in", "swapped", "swapped_2", "swapped_3", "swapped_4"]
"""The data of a step.

forget: questions about the people to forget, with the true answers.
retain: questions about the people to keep, with the true answers.
refusal: the questions of the forget side with refusals for answers; answer i belongs to answer i of the forget side.
swapped: the questions and answers of the forget side about somebody else (`LossMethod.others`; in a deletion request
    the stranger who stands in for the person): with that person's portrait, or with that person's name in question and
    answer; answer i belongs to answer i of the forget side.
swapped_2, swapped_3, swapped_4: the same about people who are drawn anew.
stand_in: the same about one other person in all steps, drawn for each person to forget and each training.
"""
SWAPPED: tuple[Side, ...] = ("swapped", "swapped_2", "swapped_3", "swapped_4")
IN_PLACE: tuple[Side, ...] = ("stand_in", *SWAPPED)
Order = Literal["joint", "alternating"]
Others = Literal["retain", "strangers"]
Asked = tuple[Side, Input]
"""The questions of a side that are asked with the image, or as text."""
Model = Callable[[Batch], Scored]
Guard = Callable[[str], str | None]
Batches = Callable[[Side, Input], Iterator[Batch]]
"""One pass over the questions of a side that are asked with the image, or as text; nothing if there are none."""


@dataclass(frozen=True)
class StepBatch:
    """The data of one training step: a batch for each side that the method asks for."""

    sides: Mapping[Side, Batch]

    @property
    def forget(self) -> Batch:
        """The batch to forget."""
        return self.of("forget")

    @property
    def retain(self) -> Batch:
        """The batch to keep."""
        return self.of("retain")

    def of(self, side: Side) -> Batch:
        """Return the batch of a side.

        Raises:
            ModelError: the step has none.
        """
        if side not in self.sides:
            raise ModelError(f"a step has no {side} batch; a method must list every side it looks at in `sides`")
        return self.sides[side]

    def to(self, device: torch.device) -> StepBatch:
        """Return the same data on another device."""
        return StepBatch({side: batch.to(device) for side, batch in self.sides.items()})


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise and its parts for the log (name to value, nats)."""

    total: Tensor
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LossMethod(ABC):
    """A method that changes weights by minimising a loss.

    A property below becomes an option of a method that declares a field of the same name.

    Attributes:
        undrawn: options that have no part in what is drawn: runs that differ only in them see the same batches.
        learning_rate: peak learning rate, > 0.
        steps: optimiser steps; 0 where epochs count.
        epochs: passes over the data; 0 where steps count.
        balance: scale the gradient of image questions about the people to forget to the length of that of the text
            questions, at three times the work. Source: the balancing of CMJU, without its choice of weights.
    """

    undrawn: ClassVar[frozenset[str]] = frozenset({"balance"})

    learning_rate: PositiveFloat
    steps: NonNegativeInt = 0
    epochs: NonNegativeInt = 0
    balance: bool = False

    def __post_init__(self) -> None:
        """Refuse two lengths, or none."""
        if bool(self.steps) == bool(self.epochs):
            raise ValueError("steps and epochs: give exactly one of them, and 0 for the other")

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that the loss looks at, at least one; the first decides how many steps an epoch has."""
        return ("forget", "retain")

    @property
    def reference_sides(self) -> tuple[Side, ...]:
        """The sides about which the loss asks the reference model."""
        return ()

    @property
    def whole_sides(self) -> tuple[Side, ...]:
        """The sides of which `Scored.whole_M` is wanted: every position of their texts, padding included."""
        return ()

    @property
    def reference(self) -> Literal["target", "oracle"]:
        """The reference model: the target before unlearning, or the oracle that never saw the people to forget."""
        return "target"

    @property
    def others(self) -> Others:
        """Who takes the place of people (`IN_PLACE`): people to keep, or invented ones if there are any."""
        return "retain"

    @property
    def schedule(self) -> Order:
        """The order of sides.

        "joint": every step has all sides. "alternating": each epoch is a pass over the first side, then one over the
        second; a step has one side.
        """
        return "joint"

    @property
    def num_batches(self) -> int:
        """The number of different batches, which are used again and again; 0 for a new one in every step."""
        return 0

    @property
    def check_every(self) -> int:
        """The steps between two checks whether training may end early; 0 takes all steps."""
        return 0

    @property
    def hidden_layers(self) -> Layers:
        """The decoder layers whose outputs are in `Scored.hidden`, as `parse_layers` reads them; "" for none."""
        return ""

    @abstractmethod
    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return the loss of one step; pure, sees no optimiser, device or file."""


@dataclass(frozen=True, kw_only=True)
class GradientMethod(LossMethod):
    """A loss method that sees the gradients of several losses apart and combines them itself."""

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the losses, in the order in which their gradients are computed."""
        return ("forget", "retain")

    @abstractmethod
    def term(self, name: str, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return one of the losses of a step; pure."""

    @property
    def fisher(self) -> tuple[Asked, ...]:
        """Questions whose Fisher information is computed before the first step, as far as the data hold them.

        It is the square of a batch's gradient of the cross-entropy, a mean over one pass.
        """
        return ()

    @abstractmethod
    def combine(
        self, gradients: Mapping[str, Sequence[Tensor]], fisher: Mapping[Asked, Sequence[Tensor]]
    ) -> Sequence[Tensor]:
        """Return the gradient to step along, one tensor for each trained parameter.

        Args:
            gradients: for each term its gradients, one tensor for each trained parameter, in one order. They are those
                of the whole batch, however many processes share it. Clipping comes after.
            fisher: the Fisher information that the method asks for, in the same order.
        """

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        """Return the sum of all terms."""
        losses = [self.term(name, model, reference, batch) for name in self.terms]
        parts = {name: value for loss in losses for name, value in loss.parts.items()}
        return Loss(torch.stack([loss.total for loss in losses]).sum(), parts)


@dataclass(frozen=True)
class Training:
    """One of several trainings that all start from the target.

    Attributes:
        sides: the sides of its steps; the first decides how many steps an epoch has.
        inputs: ask the people on both sides with the image, as text, or both; () for as the recipe says. Ways in which
            the run does not unlearn are left out, and the training with them if there is no other.
    """

    sides: tuple[Side, ...]
    inputs: tuple[Input, ...] = ()


Change = Mapping[str, Tensor]
"""Trained minus target, float32, by the name of the module (its weight) or of the parameter."""


@dataclass(frozen=True, kw_only=True)
class ArithmeticMethod(LossMethod):
    """A loss method whose result is computed from the change that training made; the result is an edit."""

    @property
    def trainings(self) -> Mapping[str, Training]:
        """The trainings by name, all with this loss; by default one, with the sides of the method."""
        return {"": Training(self.sides)}

    @abstractmethod
    def after_training(self, changes: Mapping[str, Change], vlm: VLM, batches: Batches) -> Deltas:
        """Compute what to add to the target's weights.

        Args:
            changes: the change that each training made, by its name.
            vlm: the target; it must be left as it is.
            batches: questions of each side, for statistics.
        """


@dataclass(frozen=True, kw_only=True)
class Work:
    """The settings of the computation of an edit, apart from the options of the method.

    Attributes:
        seed: of everything that is drawn.
        progress: where long work is shown.
        cache: where to keep what depends on the model alone; None keeps nothing.
        earlier: an edit whose gate frequencies are used again; only for methods that say so.
    """

    seed: int = 0
    progress: Progress = field(default_factory=Silent)
    cache: Cache | None = None
    earlier: Edit | None = None


@dataclass(frozen=True, kw_only=True)
class Deltas:
    """The result of a method that computes an edit.

    Attributes:
        deltas: what is added to each matrix, float32, by the module's name.
        settings: what was chosen on the way and is recorded beside the options (layers, rank, ...).
        gates: the open dimensions (D) bool, by "category/layer".
        frequencies: the numbers from which the gates were cut (D), by "category/layer".
    """

    deltas: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    gates: Mapping[str, Tensor] = field(default_factory=dict)
    frequencies: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EditMethod(ABC):
    """A method that computes what to add to some matrices so that sensitive questions are refused.

    It only computes: the model is left as it is, and an edit that is applied can be undone.
    """

    reuses_frequencies: ClassVar[bool] = False
    """Whether `compute` can use the gate frequencies of an earlier edit (`work.earlier`)."""

    @property
    def layers(self) -> Layers:
        """The decoder layers to edit, as `parse_layers` reads them."""
        return "auto"

    @abstractmethod
    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Compute the deltas for these pairs, each of which has its benign answer."""

    def edit(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Edit:
        """Return the edit for these pairs, each of which has its benign answer."""
        return edit_of(self, vlm, self.compute(vlm, pairs, work), work.seed)


@dataclass(frozen=True, kw_only=True)
class StatisticsMethod(ABC):
    """A method that computes an edit from what the model does on forget and retain questions, without training."""

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that it looks at."""
        return ("forget", "retain")

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Ways of asking in which every side must have questions; () if any will do."""
        return ()

    @abstractmethod
    def compute(self, vlm: VLM, batches: Batches, work: Work) -> Deltas:
        """Compute the deltas from forward passes; the model is left as it is."""


def edit_of(method: EditMethod | StatisticsMethod | ArithmeticMethod, vlm: VLM, made: Deltas, seed: int) -> Edit:
    """Return the edit that a method computed for a model, with its name and its options."""
    return Edit(
        method=METHODS.name_of(type(method)),
        settings={**asdict(method), **made.settings, "seed": seed},
        model=vlm.fingerprint(),
        deltas=made.deltas,
        gates=made.gates,
        frequencies=made.frequencies,
    )


@dataclass(frozen=True, kw_only=True)
class PromptMethod(ABC):
    """A method that leaves the weights alone and puts a system prompt before every question."""

    @abstractmethod
    def system_prompt(self, names: tuple[str, ...]) -> str | None:
        """Return the system prompt, or None for none, given the names of the people to forget."""


@dataclass(frozen=True, kw_only=True)
class GuardMethod(ABC):
    """A method that leaves the model alone and answers some questions in its place."""

    @abstractmethod
    def guard(self, pairs: Sequence[PrivacyPair]) -> Guard:
        """Return a function from a question to the answer in the model's place; None lets the model answer."""


Method = LossMethod | EditMethod | StatisticsMethod | PromptMethod | GuardMethod
