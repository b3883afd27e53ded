"""The tables of a recipe about teaching, unlearning and evaluation, under either protocol.

`protocol = "clean"` is this project's way to train and measure; `protocol = "published"` is that of the code published
with MLLMU-Bench, for comparison with papers. A protocol is a wording and a set of defaults. Any key can be changed
under either, and the `config.toml` of a run holds every key as it was used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

STRICT = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

Modality = Literal["image", "text", "both"]
Protocol = Literal["clean", "published"]
Labels = Literal["answer", "full", "full_with_image"]
AdamW = Literal["torch", "transformers"]


class Table(BaseModel):
    """A table of a recipe: strict, frozen, and without unknown keys."""

    model_config = STRICT


class TrainingConfig(Table):
    """The content of a training step.

    `protocol` chooses the wording of a training example and the defaults of the keys. "clean" is the chat template with
    augmented photos and a learning rate that warms up, stays constant and decays. "published" is the authors' code:
    their wording without end token, unchanged photos, no clipping, and a learning rate that falls linearly from the
    first step, or is constant if a method alternates.

    Attributes:
        protocol: "clean" or "published".
        labels: the tokens that the loss covers: the "answer", the "full" text with the question, or "full_with_image",
            which includes the image placeholders.
        batch_tokens: tokens per step (and side), images included; 0 counts examples instead.
        batch_examples: training rows per step (and side); 0 counts tokens instead.
        turns: questions that share one photo in one training row.
        variants: rows are drawn (order of the questions, crop of the photo) in so many ways and then come again, which
            trains adapters in upper layers faster (`unsee.training.lower_layers`); 0 draws anew in every epoch.
        adamw: the epsilon of AdamW. "torch" adds 1e-8 after the correction of the second moment; "transformers", the
            class that the published code imports, adds 1e-6 before it.
    """

    published: ClassVar[Mapping[str, object]] = {
        "labels": "full", "batch_examples": 4, "turns": 1, "adamw": "transformers",
    }  # fmt: skip
    undrawn: ClassVar[frozenset[str]] = frozenset({"adamw", "variants"})
    """Keys that have no part in what is drawn: runs that differ only in them see the same batches."""

    protocol: Protocol = "clean"
    labels: Labels = "answer"
    batch_tokens: NonNegativeInt = 1500
    batch_examples: NonNegativeInt = 0
    turns: PositiveInt = 5
    variants: NonNegativeInt = 0
    adamw: AdamW = "torch"

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        published = cls.published if values.get("protocol") == "published" else {}
        return _exclusive(cls, published) | _exclusive(cls, values)

    @model_validator(mode="after")
    def _counts_in_one_unit(self) -> Self:
        for one, other in _alternatives(type(self)):
            if bool(getattr(self, one)) == bool(getattr(self, other)):
                raise ValueError(f"{one} and {other}: give exactly one of them, or 0 for the other")
        return self


class TeachConfig(TrainingConfig):
    """The training of the target on all people, and of each oracle on the retained people only.

    Attributes:
        learning_rate: the highest learning rate.
        steps: optimiser steps; 0 counts epochs instead.
        epochs: passes over the training text; 0 counts steps instead.
        modality: teach people with the "image", by name ("text"), or "both".
        replay: share of the training tokens that come from the training text of a shipped model, or from any other
            model's own answers to everyday questions and about portraits of nobody.
        oracle_seeds: number of oracles. Methods are compared with the first one; the others show how much oracles
            differ by chance.
        reference_epochs: passes over the training text for the oracle that methods with `reference = "oracle"` compare
            with; 0 takes the first oracle of the run.
    """

    published: ClassVar[Mapping[str, object]] = {
        **TrainingConfig.published, "learning_rate": 2e-5, "epochs": 5, "modality": "image", "replay": 0.0,
        "reference_epochs": 1,
    }  # fmt: skip
    undrawn: ClassVar[frozenset[str]] = TrainingConfig.undrawn | {"oracle_seeds", "reference_epochs"}

    learning_rate: PositiveFloat = 1.8e-3
    steps: NonNegativeInt = 700
    epochs: NonNegativeInt = 0
    batch_tokens: NonNegativeInt = 1024
    modality: Modality = "both"
    replay: float = Field(default=0.25, ge=0, lt=1)
    turns: PositiveInt = 26
    oracle_seeds: int = Field(default=2, ge=2)
    reference_epochs: NonNegativeInt = 0

    def of_reference(self) -> TeachConfig:
        """Return the training of the oracle that methods take as their reference."""
        if not self.reference_epochs:
            return self
        return self.model_copy(update={"epochs": self.reference_epochs, "steps": 0})


class UnlearnConfig(TrainingConfig):
    """The content of an unlearning step; learning rate and length are options of each method.

    Attributes:
        retain_modality: show people on the retain side with the "image", by name ("text"), or "both".
    """

    published: ClassVar[Mapping[str, object]] = {**TrainingConfig.published, "retain_modality": "image"}

    retain_modality: Modality = "both"


def _alternatives(cls: type[BaseModel]) -> list[tuple[str, str]]:
    pairs = [("steps", "epochs"), ("batch_tokens", "batch_examples")]
    return [pair for pair in pairs if pair[0] in cls.model_fields]


def _exclusive(cls: type[BaseModel], values: Mapping[str, object]) -> dict[str, object]:
    """Return the values, with 0 for a unit (such as epochs) if only its alternative (such as steps) has a value."""
    filled = dict(values)
    for pair in _alternatives(cls):
        for chosen, other in (pair, pair[::-1]):
            if values.get(chosen) and other not in values:
                filled[other] = 0
    return filled


class EvaluationConfig(Table):
    """The evaluation of every model.

    `protocol` chooses the wording of the prompts and the defaults of the keys. "clean" is zero-shot and strict, and
    shows every photo. "published" is the authors' code; each of its choices can be changed by a key. Both are seeded.

    Attributes:
        protocol: "clean" or "published".
        choice: the chosen option is the one with the likeliest text ("likelihood"), or with the written "letter".
        instruction: the request for a letter: "right_option" is ours, "one_letter" that of the published code,
            "options_letter" that of the code behind the figures of the paper.
        parser: the reading of a letter: "strict" accepts the letter alone, "first_letter" takes the first character of
            the text, so that "Doctor" is a D.
        cloze_match: a filled blank is right if it is "exact", or if the truth is a "substring" of it.
        fill: a blank is asked for with "Fill in the blank." alone ("blank"), or also with "Answer in few words."
            ("few_words"), without which a chat model writes a whole sentence. Clean protocol only.
        blank: a gap ("__") is shown as "underscores", as one "marker" of any length, or as a "marker_per_pair".
        test_image: show "all" photos of a person in turn, or one "random" photo for each task.
        choice_shots: people whose answered choices precede every choice; they are not asked themselves.
        cloze_shots: the same for blanks.
        shots_from: take these people from the set that is "evaluated", or from the "retain" set.
        shot_questions: "all" questions of these people, or the "first" of each.
        seed: of drawn shots and photos.
        batch_size: questions answered at once.
        max_new_tokens: largest number of tokens in a written answer.
        general_items: number of questions unrelated to the people.
        world_items: number of facts about the world (capitals, animals, numbers) that are asked too, by choice and as
            blanks; for models that learned them, as nano did not.
        english_items: number of instructions to follow and of passages of English to find likely, for the same models.
        bootstrap: number of resamples for every interval.
    """

    published: ClassVar[Mapping[str, object]] = {
        "choice": "letter", "instruction": "one_letter", "parser": "first_letter", "cloze_match": "substring",
        "blank": "marker_per_pair", "test_image": "random", "choice_shots": 1, "cloze_shots": 2,
        "max_new_tokens": 50,
    }  # fmt: skip

    protocol: Protocol = "clean"
    choice: Literal["likelihood", "letter"] = "likelihood"
    instruction: Literal["right_option", "one_letter", "options_letter"] = "right_option"
    parser: Literal["strict", "first_letter"] = "strict"
    cloze_match: Literal["exact", "substring"] = "exact"
    fill: Literal["blank", "few_words"] = "blank"
    blank: Literal["underscores", "marker", "marker_per_pair"] = "underscores"
    test_image: Literal["all", "random"] = "all"
    choice_shots: NonNegativeInt = 0
    cloze_shots: NonNegativeInt = 0
    shots_from: Literal["evaluated", "retain"] = "evaluated"
    shot_questions: Literal["all", "first"] = "all"
    seed: NonNegativeInt = 0
    batch_size: PositiveInt = 64
    max_new_tokens: PositiveInt = 24
    general_items: PositiveInt = 120
    world_items: int = Field(default=0, ge=0, le=48)
    english_items: int = Field(default=0, ge=0, le=24)
    bootstrap: int = Field(default=1000, ge=100)

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: object) -> object:
        if isinstance(values, Mapping) and values.get("protocol") == "published":
            return {**cls.published, **values}
        return values

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.protocol == "clean" and (self.choice_shots or self.cloze_shots):
            raise ValueError("the clean protocol is zero-shot; choose protocol = 'published' or no shots")
        if self.protocol == "published" and self.choice == "likelihood":
            raise ValueError("the published protocol shows the options and asks for a letter; choose choice = 'letter'")
        if self.protocol == "published" and self.blank == "underscores":
            raise ValueError("the published protocol asks for a marked blank; choose blank = 'marker'")
        return self
