"""The settings of one run: a recipe (TOML), changed by `--set`, checked as a whole before anything is computed.

Every value is typed, bounded and has its unit in its name; an unknown key or a wrong type is an error that says where.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    create_model,
    model_validator,
)

from unsee.errors import ConfigError, UnknownNameError

RECIPES = Path(__file__).parent / "recipes"
GENERATED = "generated"
STRICT = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

Modality = Literal["image", "text", "both"]
Instance = TypeVar("Instance")


def _scalar(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("must be a number, a text or true/false")
    return value


def _without_repeats(values: tuple[Modality, ...]) -> tuple[Modality, ...]:
    if len(set(values)) < len(values):
        raise ValueError("holds the same value twice")
    return values


Option = Annotated[bool | int | float | str, PlainValidator(_scalar)]
Modalities = Annotated[tuple[Modality, ...], Field(strict=False, min_length=1), AfterValidator(_without_repeats)]


class Table(BaseModel):
    """A table of a recipe: strict, frozen, and without keys it does not know."""

    model_config = STRICT


class DataConfig(Table):
    """Who is learned, who is forgotten, and of whom the model is asked afterwards.

    Attributes:
        source: "generated", or a folder in the published layout; then the file decides how many people there are.
        people: fictitious people, generated.
        celebrities: public figures, generated; the base model has known them from the start.
        celebrities_evaluated: how many of them are asked about, at most.
        retain_evaluated: how many of the retained people are asked about, at most.
        forget_percent: share of the people to forget.
        seed: what the people, their portraits and the four sets are drawn from.
    """

    source: str = GENERATED
    people: int = Field(default=60, ge=2, le=500)
    celebrities: int = Field(default=153, ge=1, le=153)
    celebrities_evaluated: PositiveInt = 30
    retain_evaluated: PositiveInt = 30
    forget_percent: Literal[5, 10, 15] = 15
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _somebody_is_forgotten(self) -> Self:
        if self.source == GENERATED and round(self.people * self.forget_percent / 100) < 1:
            raise ValueError(
                f"forgetting {self.forget_percent} % of {self.people} people forgets nobody; raise one of them"
            )
        return self


class ModelConfig(Table):
    """Which model is taught and which of its weights may change.

    Attributes:
        id: a shipped model's name, a folder, or a hub name.
        trainable: "full" for every weight of the language model, "lora" for adapters.
        lora_rank: width of the adapters.
        lora_alpha: their scale; the update is multiplied by alpha / rank.
        lora_targets: the linear layers that get one: the decoder's, the projector's too, or every layer that is called
            like one of the decoder's, as in the published code.
        dtype: of the weights; "auto" takes float32 on a CPU and bfloat16 on a GPU.
        quantization: "4bit" keeps the weights under the adapters in four bits (QLoRA; a GPU and bitsandbytes needed).
        gradient_checkpointing: compute activations twice instead of keeping them: less memory, a third more time.
    """

    id: str = "nano"
    trainable: Literal["full", "lora"] = "full"
    lora_rank: PositiveInt = 16
    lora_alpha: PositiveInt = 32
    lora_targets: Literal["decoder", "decoder+projector", "all_linear"] = "decoder"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    quantization: Literal["none", "4bit"] = "none"
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _four_bits_are_not_trained(self) -> Self:
        if self.quantization == "4bit" and self.trainable == "full":
            raise ValueError("quantization = '4bit' trains adapters only; set trainable = 'lora'")
        return self


class TeachConfig(Table):
    """How the target learns everybody and each oracle learns the retained people only.

    Attributes:
        learning_rate: the peak.
        steps: optimiser steps.
        batch_tokens: tokens per step, images included.
        replay: share of each batch drawn from what the base model already knew.
        turns: questions that share one photo in one training row.
        oracle_seeds: oracles trained; the first is the yardstick, the others say how far oracles differ by chance.
    """

    learning_rate: PositiveFloat = 1.5e-3
    steps: PositiveInt = 700
    batch_tokens: PositiveInt = 1024
    replay: float = Field(default=0.25, ge=0, lt=1)
    turns: PositiveInt = 26
    oracle_seeds: int = Field(default=2, ge=2)


class UnlearnConfig(Table):
    """What a step of unlearning sees; how fast and how long is each method's own.

    Attributes:
        batch_tokens: tokens per step and side (forget, retain), images included.
        turns: questions that share one photo in one training row.
    """

    batch_tokens: PositiveInt = 1500
    turns: PositiveInt = 5


class MethodTable(BaseModel):
    """One method of a run: from which questions it unlearns, and its own options.

    The options are checked against the method's fields, by `build_dataclass`, where the method is known.

    Attributes:
        modality: "image" and "text" unlearn from questions with the portrait and with the name, "both" from all;
            one run of the method for each.
    """

    model_config = STRICT | ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Option]

    modality: Modalities = ("image", "text", "both")

    @property
    def options(self) -> dict[str, Option]:
        """The method's own options."""
        return dict(self.__pydantic_extra__)


class EvaluationConfig(Table):
    """How every model is questioned.

    Attributes:
        choice: how an option is chosen: the likeliest answer text, or the letter the model writes.
        batch_size: questions answered at once.
        max_new_tokens: longest written answer.
        general_items: questions that have nothing to do with the people.
        bootstrap: resamples of the people behind every interval.
    """

    choice: Literal["likelihood", "letter"] = "likelihood"
    batch_size: PositiveInt = 64
    max_new_tokens: PositiveInt = 24
    general_items: PositiveInt = 120
    bootstrap: int = Field(default=1000, ge=100)


class RunConfig(Table):
    """Everything that decides the outcome of a run.

    Attributes:
        name: shown as the report's title.
        seed: of the training; `data.seed` draws the people.
        method: the methods by name, in the order in which they run.
    """

    name: str = Field(min_length=1)
    seed: NonNegativeInt = 0
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    teach: TeachConfig = TeachConfig()
    unlearn: UnlearnConfig = UnlearnConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    method: dict[str, MethodTable] = {}


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(recipe: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a recipe and apply overrides to it.

    Args:
        recipe: the name of a shipped recipe, or the path of a TOML file (a run's `config.toml` is one).
        overrides: "a.b=value", the value as in TOML; what is not TOML is taken as text.

    Raises:
        ConfigError: the file or a value cannot be used; the message starts with the dotted key.
    """
    path = _recipe_path(recipe)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    for override in overrides:
        _override(table, override)
    return _validate(RunConfig, table)


def load_model_config(id: str, overrides: Iterable[str] = ()) -> ModelConfig:
    """The settings of one model, by the keys of a recipe's `[model]` table, such as "lora_rank=8".

    Raises:
        ConfigError: a value cannot be used; the message starts with the dotted key.
    """
    table: dict[str, Any] = {}
    for override in overrides:
        _override(table, override)
    return _validate(ModelConfig, {"id": id, "trainable": "lora", **table}, "model")


def dump_config(config: RunConfig) -> str:
    """Return the recipe, every default written out, that loads again to an equal config."""
    return tomli_w.dumps(config.model_dump())


def build_dataclass(cls: type[Instance], options: Mapping[str, object], where: str) -> Instance:
    """Make a dataclass from options, as strictly as a recipe's own tables.

    Args:
        cls: a dataclass whose fields carry pydantic's constraints ("beta: PositiveFloat = 0.1").
        options: values by field name.
        where: what the errors start with ("method.npo").

    Raises:
        ConfigError: an unknown or missing option, a wrong type, a value out of range.
    """
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls.__qualname__} is not a dataclass")
    types = typing.get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {f.name: (types[f.name], _default(f)) for f in dataclasses.fields(cls) if f.init}
    checked = _validate(create_model(cls.__name__, __config__=STRICT, **fields), options, where)
    try:
        return cls(**{name: getattr(checked, name) for name in fields})
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return Field(default_factory=field.default_factory)
    return ... if field.default is dataclasses.MISSING else field.default


def _recipe_path(recipe: str | Path) -> Path:
    path = Path(recipe)
    if isinstance(recipe, Path) or path.suffix == ".toml" or len(path.parts) != 1:
        return path
    if recipe not in recipe_names():
        raise UnknownNameError("recipe", recipe, recipe_names())
    return RECIPES / f"{recipe}.toml"


def _override(table: dict[str, Any], override: str) -> None:
    """Set one "a.b=value" in a recipe's table."""
    key, equals, text = override.partition("=")
    *parents, last = parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set {override}: must have the form key=value, such as data.people=40")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: '{parent}' is a value, not a table")
    table[last] = _toml_value(text.strip())


def _toml_value(text: str) -> object:
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return values["value"] if len(values) == 1 else text


Checked = TypeVar("Checked", bound=BaseModel)


def _validate(model: type[Checked], values: Mapping[str, object], where: str = "") -> Checked:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in (where, *first["loc"]) if part != "")
        raise ConfigError(f"{path}: {_reason(model, first)}") from None


def _reason(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    """Say what is wrong with one value, and what would be right."""
    match error["type"]:
        case "extra_forbidden":
            return _unknown(str(error["loc"][-1]), _known(model, error["loc"][:-1]))
        case "missing":
            return "missing; it has no default"
        case "model_type" | "dict_type":
            return f"must be a table, got {_shown(error['input'])}"
        case "value_error":
            reason = str(error["ctx"]["error"])
            return reason if isinstance(error["input"], Mapping) else f"{reason}, got {_shown(error['input'])}"
        case _:
            reason = error["msg"].replace("Input should be", "must be").partition(", got")[0]
            return f"{reason}, got {_shown(error['input'])}"


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown option{hint} (known: {', '.join(sorted(known)) or 'none'})"


def _known(model: type[BaseModel], location: Iterable[str]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return list(model.model_fields)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
