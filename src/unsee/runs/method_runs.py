"""The methods of a recipe: one `MethodRun` for each modality and seed, checked before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from unsee.config.recipe import DocumentsMethodTable, MethodTable, Modality, UnlearnConfig, build_dataclass
from unsee.core.errors import ConfigError
from unsee.data.pairs import PrivacyPair
from unsee.data.schema import Input, Person
from unsee.edits.partial_forward import parse_layers
from unsee.methods import METHODS
from unsee.methods.base import EditMethod, GuardMethod, LossMethod, Method, PromptMethod
from unsee.models.vlm import VLM
from unsee.runs.weights import Weights
from unsee.scoring.schema import DO_NOTHING
from unsee.training.train import StopRule

INPUTS: dict[str, tuple[Input, ...]] = {"image": ("image",), "text": ("text",), "both": ("image", "text")}
_LABEL = re.compile(r"\w[\w-]*")
_MODELS_OF_A_RUN = re.compile(r"target|oracle(_\d+|_reference)?|random_weights|base")


@dataclass(frozen=True)
class MethodRun:
    """One method with one modality and one seed.

    Attributes:
        name: the name of its table in the recipe, which is the name of the method unless the table has a key `use`.
        modality: the questions it unlearns from; "" if the recipe gives no choice.
        seed: of everything that is drawn.
        method: the method with its options.
        numbered: True if the label contains the seed.
        given: the largest number of pictures per subject that the method gets; 0 for all.
        harmless: number of harmless subjects whose pictures it also gets.
        private: number of further private subjects whose pictures it also gets.
    """

    name: str
    modality: str
    seed: int
    method: Method
    numbered: bool = False
    given: int = 0
    harmless: int = 0
    private: int = 0

    @property
    def changes_weights(self) -> bool:
        """True if it makes a model of its own; prompts and guards only change answers."""
        return not isinstance(self.method, PromptMethod | GuardMethod)

    @property
    def work(self) -> str:
        """What makes its model: "unlearn" if it trains, else "edit"."""
        return "unlearn" if isinstance(self.method, LossMethod) else "edit"

    @property
    def label(self) -> str:
        """Name, modality and seed, for files and progress bars."""
        return "-".join([self.name, *filter(None, [self.modality]), *([str(self.seed)] if self.numbered else [])])


@dataclass(frozen=True)
class Material:
    """The data that methods work with.

    Attributes:
        names: the people or subjects of the private questions, for prompts.
        forget: the people (or pictures) that loss methods forget.
        retain: the people (or pictures) that they keep.
        pairs: (modality, seed) -> the privacy pairs for edits and guards.
        unlearn: the batches of loss methods.
        oracle: a model that never saw the forget side, for methods with `reference = "oracle"`, if there is one.
        modality: the questions that loss methods unlearn from if the recipe gives no choice.
        strangers: invented people, who take the place of a person (`IN_PLACE`) if the method wants that.
        stand_ins: by the ID of a person, the one who always does.
        stop: ends the training of a method that has `check_every`.
    """

    names: tuple[str, ...]
    forget: Sequence[Person]
    retain: Sequence[Person]
    pairs: Callable[[str, int], list[PrivacyPair]]
    unlearn: UnlearnConfig
    oracle: Weights | None = None
    modality: Modality = "both"
    strangers: Sequence[Person] = ()
    stand_ins: Mapping[str, Person] = field(default_factory=dict)
    stop: StopRule | None = None


def control(seed: int) -> MethodRun:
    """Return the control that does nothing."""
    return MethodRun(DO_NOTHING, "", seed, METHODS.get(DO_NOTHING)())


def make_method(label: str, table: MethodTable | DocumentsMethodTable) -> Method:
    """Return the method of one table of a recipe.

    Raises:
        ConfigError: the name of the table or an option cannot be used.
        UnknownNameError: no method has this name.
    """
    if not _LABEL.fullmatch(label):
        raise ConfigError(f"method.{label}: a name may hold letters, digits, _ and - (not as its first character)")
    if _MODELS_OF_A_RUN.fullmatch(label):
        raise ConfigError(f"method.{label}: a model of every run has this name; choose another")
    if label == DO_NOTHING and table.use not in ("", DO_NOTHING):
        raise ConfigError(f"method.{label}: is the name of a control; choose another")
    method: Method = build_dataclass(METHODS.get(table.use or label), table.options, f"method.{label}")
    return method


def people_methods(tables: Mapping[str, MethodTable], seed: int) -> Iterator[MethodRun]:
    """Yield the methods of a run about people, one for each modality and seed; the control comes first.

    A system prompt draws nothing, so it has one seed.
    """
    yield control(seed)
    for name, table in tables.items():
        method = make_method(name, table)
        for modality in table.modality if name != DO_NOTHING else ():
            seeds = table.seeds_for(modality) or (seed,)
            if isinstance(method, PromptMethod):
                yield MethodRun(name, "", seeds[0], method)
                break
            for own in seeds:
                yield MethodRun(name, modality, own, method, numbered=len(seeds) > 1)


def documents_methods(tables: Mapping[str, DocumentsMethodTable], seed: int) -> Iterator[MethodRun]:
    """Yield the methods of a run about documents, one for each seed; the control comes first."""
    yield control(seed)
    for name, table in tables.items():
        method = make_method(name, table)
        seeds = table.seeds or (seed,)
        for own in seeds if name != DO_NOTHING else ():
            numbered = len(seeds) > 1
            pictures = {"given": table.given, "private": table.private, "harmless": table.harmless}
            yield MethodRun(name, "", own, method, numbered=numbered, **pictures)


def check_layers(method_runs: Sequence[MethodRun], vlm: VLM) -> None:
    """Refuse layers that the model does not have, before anything is computed.

    Raises:
        ConfigError: a method names such a layer; the message lists the layers of the model.
    """
    for run in method_runs:
        layers = ""
        if isinstance(run.method, EditMethod):
            layers = run.method.layers
        elif isinstance(run.method, LossMethod):
            layers = run.method.hidden_layers
        try:
            if layers:
                parse_layers(vlm, layers)
        except ConfigError as error:
            raise ConfigError(f"method.{run.name}.{error}") from None
