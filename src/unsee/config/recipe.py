"""The settings of one run: a recipe (TOML), changed by `--set`, checked as a whole before anything is computed.

Every value is typed and bounded, and has its unit in its name. Errors about unknown keys and wrong types name the key.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import tomli_w
from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, ValidationError, create_model, model_validator

from unsee.config.arguments import checked
from unsee.config.protocols import STRICT, EvaluationConfig, Modality, Table, TeachConfig, UnlearnConfig
from unsee.config.reasons import reason, shown
from unsee.config.tables import (
    GENERATED,
    AttackOptions,
    AttackTable,
    DataConfig,
    DocumentsMethodTable,
    Kind,
    MethodTable,
    MetricTable,
    ModelConfig,
    OutOfDomainTable,
    PrivacyConfig,
    ResourcesConfig,
    RunName,
)
from unsee.core.errors import ConfigError, UnknownNameError, did_you_mean, several
from unsee.core.reading import parse_toml, read_toml

RECIPES = Path(__file__).parents[1] / "recipes"
_OWN_TABLES: dict[Kind, tuple[str, ...]] = {"people": ("data", "teach"), "documents": ("privacy",)}

__all__ = [
    "GENERATED", "AttackOptions", "AttackTable", "DataConfig", "DocumentsConfig", "DocumentsMethodTable",
    "EvaluationConfig", "Kind", "MethodTable", "MetricTable", "Modality", "ModelConfig", "OutOfDomainTable",
    "PrivacyConfig", "ResourcesConfig", "RunConfig", "TeachConfig", "UnlearnConfig", "build_dataclass", "build_table",
    "dump_config", "kind_of", "load_model_config", "load_recipe", "recipe_names", "resolve",
]  # fmt: skip

Instance = TypeVar("Instance")
Settings = TypeVar("Settings", bound=Table)
Checked = TypeVar("Checked", bound=BaseModel)


class RunConfig(Table):
    """Everything that decides the outcome of a run about people.

    Attributes:
        name: the title of the report.
        kind: "people".
        seed: of the training; `data.seed` draws the people.
        threads: CPU threads of every stage. The last bits of a number depend on them, so they are fixed, whatever the
            machine; raise them for a large model on a CPU.
        require_signal: apply no method where target and oracle do not differ; false applies them all, to try code, and
            ranks nothing all the same.
        metric: options of metrics by name, except those that are keys of `[evaluation]`.
        method: the methods by name, in the order in which they run.
        attack: the attacks on target, oracles and methods, by name.
        requests: number of groups of people whom every method that trains also forgets one after another; 1 for none.
    """

    name: RunName
    kind: Literal["people"] = "people"
    seed: NonNegativeInt = 0
    threads: PositiveInt = 1
    require_signal: bool = True
    resources: ResourcesConfig = ResourcesConfig()
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    teach: TeachConfig = TeachConfig()
    unlearn: UnlearnConfig = UnlearnConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    metric: dict[str, MetricTable] = Field(default_factory=dict)
    method: dict[str, MethodTable] = Field(default_factory=dict)
    attack: dict[str, AttackTable] = Field(default_factory=dict)
    requests: int = Field(default=1, ge=1, le=20)

    @model_validator(mode="after")
    def _attacked_methods_are_there(self) -> Self:
        for attack, table in self.attack.items():
            for name in table.methods:
                if name not in self.method:
                    hint = did_you_mean(name, self.method)
                    raise ValueError(f"attack.{attack}.methods: the run has no method '{name}'{hint}")
        return self


class DocumentsConfig(Table):
    """Everything that decides the outcome of a run about documents.

    Attributes:
        name: the title of the report.
        kind: "documents".
        seed: of edits and training; `privacy.seed` draws the documents.
        threads: CPU threads of every stage, as in a run about people.
        metric: options of metrics by name, except those that are keys of `[evaluation]`.
        method: the methods by name, in the order in which they run.
    """

    name: RunName
    kind: Literal["documents"] = "documents"
    seed: NonNegativeInt = 0
    threads: PositiveInt = 1
    resources: ResourcesConfig = ResourcesConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    model: ModelConfig = ModelConfig()
    unlearn: UnlearnConfig = UnlearnConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    metric: dict[str, MetricTable] = Field(default_factory=dict)
    method: dict[str, DocumentsMethodTable] = Field(default_factory=dict)


class _OnlyModel(Table):
    model: ModelConfig


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


@checked("unsee.load_recipe")
def load_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> RunConfig | DocumentsConfig:
    """Read a recipe and apply overrides to it.

    Args:
        recipe: the name of a shipped recipe, or the path of a TOML file (a run's `config.toml` is one).
        overrides: "a.b=value", the value as in TOML; what is not TOML is taken as text.

    Raises:
        ConfigError: the file or a value cannot be used; the message starts with the dotted key.
    """
    path = _recipe_path(recipe)
    table = read_toml(path, ConfigError)
    if {"forget", "before"} <= table.keys():
        raise ConfigError(f"{path}: the settings of an audit, no recipe; `unsee audit` carries it out again")
    if {"forget", "retain"} <= table.keys():
        raise ConfigError(
            f"{path}: the settings of a deletion request, no recipe; `unsee unlearn` carries it out again"
        )
    table.setdefault("kind", kind_of(table))
    for override in overrides:
        _override(table, override)
    return build_table(DocumentsConfig, table) if kind_of(table) == "documents" else build_table(RunConfig, table)


def kind_of(table: Mapping[str, object]) -> Kind:
    """Return the kind of a recipe or of a run's `config.toml`; older ones without `kind` are told by `[privacy]`.

    Raises:
        ConfigError: the kind is unknown, or a table belongs to the other kind.
    """
    kind = table.get("kind", "documents" if "privacy" in table else "people")
    if kind not in typing.get_args(Kind):
        raise ConfigError(f"kind: must be 'people' or 'documents', got {shown(kind)}")
    for other, names in _OWN_TABLES.items():
        if foreign := [name for name in names if name in table and kind != other]:
            raise ConfigError(f"kind: a recipe with a table [{foreign[0]}] is about '{other}', got '{kind}'")
    return typing.cast(Kind, kind)


def command_of(path: Path) -> str:
    """Return the command `unsee run` for a run's config: a shipped recipe with `--set`, or the file itself."""
    config = load_recipe(path).model_dump()
    if config["name"] not in recipe_names():
        return f"unsee run {path.name}"
    made, recipe = _flat(config), _flat(load_recipe(config["name"]).model_dump())
    if made.keys() < recipe.keys():
        return f"unsee run {path.name}"
    changed = {key: value for key, value in made.items() if key not in recipe or recipe[key] != value}
    changes = {key: f"{key}={_as_toml(value)}" for key, value in changed.items()}
    for key in [key for key in changes if key not in recipe]:  # a default of a table that the recipe does not have
        fewer = {other: change for other, change in changes.items() if other != key}
        if _flat(_loaded(config["name"], fewer.values())) == made:
            changes = fewer
    return " ".join(["unsee run", config["name"], *(f"--set {change}" for change in changes.values())])


def _loaded(recipe: str, changes: Iterable[str]) -> dict[str, Any]:
    """Return the values of a changed recipe; none if the changes cannot be read without a shell or do not fit."""
    try:
        return load_recipe(recipe, [shlex.split(change)[0] for change in changes]).model_dump()
    except ConfigError:
        return {}


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, object]:
    """Return every value by its dotted key."""
    flat: dict[str, object] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return flat


def _as_toml(value: object) -> str:
    """Return a value as `--set` takes it in a shell; text is quoted as in TOML only if it could be another type."""
    if isinstance(value, str) and value and value == value.strip() and _toml_value(value) == value:
        return shlex.quote(value)
    return shlex.quote(_in_a_line(value))


def _in_a_line(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_in_a_line, value))}]"
    return tomli_w.dumps({"value": value}).partition("=")[2].strip()


def resolve(settings: type[Settings], table: dict[str, Any], overrides: Iterable[str] = ()) -> Settings:
    """Apply overrides to a table and check it.

    Args:
        settings: the class of the result.
        table: nested values; it is changed in place.
        overrides: as for `load_recipe`.

    Raises:
        ConfigError: a value cannot be used; the message starts with the dotted key.
    """
    for override in overrides:
        _override(table, override)
    return build_table(settings, table)


def parse_options(options: Iterable[str]) -> dict[str, Any]:
    """Return "name=value" options as a table, the values as in TOML; what is not TOML is taken as text.

    Raises:
        ConfigError: an option has another form.
    """
    table: dict[str, Any] = {}
    for option in options:
        _override(table, option)
    return table


def load_model_config(id: str, overrides: Iterable[str] = ()) -> ModelConfig:
    """Return the settings of one model; it trains adapters unless an override is "model.trainable=full".

    Raises:
        ConfigError: a value cannot be used; the message starts with the dotted key.
    """
    return resolve(_OnlyModel, {"model": {"id": id, "trainable": "lora"}}, overrides).model


def dump_config(config: Table) -> str:
    """Return the settings as TOML with every default written out; loading it gives an equal config."""
    return tomli_w.dumps(config.model_dump())


def build_dataclass(cls: type[Instance], options: Mapping[str, object], where: str) -> Instance:
    """Make a dataclass from options, checked as strictly as the tables of a recipe.

    Args:
        cls: a dataclass whose fields carry pydantic's constraints ("beta: PositiveFloat = 0.1").
        options: values by field name.
        where: the start of error messages ("method.npo").

    Raises:
        ConfigError: an unknown or missing option, a wrong type, a value out of range.
    """
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls.__qualname__} is not a dataclass")
    types = typing.get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {f.name: (types[f.name], _default(f)) for f in dataclasses.fields(cls) if f.init}
    checked = build_table(create_model(cls.__name__, __config__=STRICT, **fields), options, where)
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
        values = parse_toml(f"value = {text}")
    except ValueError:
        return text
    return values["value"] if len(values) == 1 else text


def build_table(model: type[Checked], values: Mapping[str, object], where: str = "") -> Checked:
    """Make a table of a recipe from values.

    Args:
        model: the class of the table.
        values: the values by key.
        where: the start of error messages; "" for a whole recipe.

    Raises:
        ConfigError: an unknown or missing key, a wrong type, a value out of range.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults: dict[tuple[str, ...], str] = {}
        for one in error.errors():  # a value that may be of several types has an error for each
            place = tuple(str(part) for part in one["loc"] if not re.search(r"\w\[|^\[key\]$", str(part)))
            if place and isinstance(one["loc"][-1], int):  # a value in a list; the reason shows which
                place = place[:-1]
            faults.setdefault(place, _reason(model, one))
        above = {place[:end] for place in faults for end in range(len(place))}
        told = [
            f"{path}: {fault}" if (path := ".".join(filter(None, (where, *place)))) else fault
            for place, fault in faults.items()
            if place not in above or len(faults) == 1
        ]
        raise ConfigError(several(told)) from None


def _reason(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    """Return one clause that says what is wrong with a value and what is allowed."""
    match error["type"]:
        case "extra_forbidden":
            known = _known(model, error["loc"][:-1])
            hint = did_you_mean(str(error["loc"][-1]), known)
            return f"unknown option{hint} (known: {', '.join(sorted(known)) or 'none'})"
        case "missing":
            return reason(error)
        case "value_error" if isinstance(error["input"], Mapping):
            return reason(error)
        case _:
            return f"{reason(error)}, got {shown(error['input'])}"


def _known(model: type[BaseModel], location: Iterable[str]) -> list[str]:
    found: Any = model
    for part in location:
        found = typing.get_args(found)[1] if typing.get_origin(found) is dict else found.model_fields[part].annotation
    return list(found.model_fields)
