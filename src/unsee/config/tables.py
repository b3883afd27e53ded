"""The tables of a recipe about data, model, methods and metrics; training and evaluation are in `protocols`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PlainValidator,
    PositiveInt,
    model_validator,
)

from unsee.config.protocols import STRICT, Modality, Table

GENERATED = "generated"
_FEW_BYTES = 400_000_000
_SHIPPED = Path(__file__).parents[1] / "models"
_MOST_PEOPLE, _MOST_CELEBRITIES = 500, 153
Kind = Literal["people", "documents"]
"""The two kinds of run: people whom a model must forget, or documents whose private values it must not reveal."""


def _scalar(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("must be a number, a text or true/false")
    return value


def _without_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("holds the same value twice")
    return values


def _no_path(name: str) -> str:
    if not name.strip() or name.startswith(".") or {"/", "\\", "\0"} & set(name):
        raise ValueError("names a folder below runs/; it must hold no slash and not begin with a dot")
    return name


RunName = Annotated[str, AfterValidator(_no_path)]
Option = Annotated[bool | int | float | str, PlainValidator(_scalar)]
Modalities = Annotated[tuple[Modality, ...], Field(strict=False, min_length=1), AfterValidator(_without_repeats)]
Seeds = Annotated[tuple[NonNegativeInt, ...], Field(strict=False), AfterValidator(_without_repeats)]


def _is_small(model: object) -> bool:
    """Return whether all weights of a model are at hand and few; an adapter's are not."""
    folder = next((one for one in (Path(str(model)), _SHIPPED / str(model)) if one.is_dir()), None)
    files = list(folder.glob("*.safetensors")) if folder else []
    large = sum(path.stat().st_size for path in files) > _FEW_BYTES
    return bool(files) and not large and not any(path.name.startswith("adapter_") for path in files)


class DataConfig(Table):
    """The people that are learned, forgotten and asked about.

    Attributes:
        source: "generated", or published data or your own: a folder, a snapshot in the cache of the hub, or a name on
            the hub ("MLLMMU/MLLMU-Bench", with "@" and a revision for any but the newest).
        format: the format of a source, a name of `unsee list datasets`; "auto" finds it from the name or the files.
        options: options of the format, by name.
        training_text: the training text, if it is not next to the questions: a clone or the name of
            "MLLMMU/baseline_train_split".
        people: number of fictitious people to generate; a source has its own.
        celebrities: number of public figures to generate, whom the base model already knows.
        celebrities_evaluated: the largest number of celebrities to ask about; 0 for a model that knows none of them.
        retain_evaluated: the largest number of retained people to ask about.
        forget_percent: share of the people to forget; a source has forget sets of its own shares, usually 5, 10 and 15.
        seed: of the people, their portraits and the four sets.
    """

    source: str = GENERATED
    format: str = "auto"
    options: dict[str, Option] = Field(default_factory=dict)
    training_text: str = ""
    people: int = Field(default=60, ge=2, le=_MOST_PEOPLE)
    celebrities: int = Field(default=153, ge=1, le=_MOST_CELEBRITIES)
    celebrities_evaluated: NonNegativeInt = 30
    retain_evaluated: PositiveInt = 30
    forget_percent: int = Field(default=15, ge=1, le=90)
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _somebody_is_forgotten(self) -> Self:
        if self.source == GENERATED and self.training_text:
            raise ValueError("training_text belongs to a source; generated people come with their own")
        if self.source == GENERATED and (self.format not in ("auto", "mllmu") or self.options):
            raise ValueError(
                f"format = '{self.format}' and its options belong to a source; generated people have their own"
            )
        if self.source == GENERATED and self.celebrities_evaluated > _MOST_CELEBRITIES:
            raise ValueError(
                f"celebrities_evaluated = {self.celebrities_evaluated}: at most {_MOST_CELEBRITIES} celebrities are "
                "generated; lower it"
            )
        if self.source == GENERATED and self.retain_evaluated > _MOST_PEOPLE:
            raise ValueError(
                f"retain_evaluated = {self.retain_evaluated}: at most {_MOST_PEOPLE} people are generated; lower it"
            )
        if self.source == GENERATED and round(self.people * self.forget_percent / 100) < 1:
            raise ValueError(
                f"forgetting {self.forget_percent} % of {self.people} people forgets nobody; raise one of them"
            )
        return self


class ModelConfig(Table):
    """The model, and the weights that may change.

    Attributes:
        id: a shipped model's name, a folder or a hub id.
        processor: the model whose processor to use, if this one has none.
        trainable: "full" for every weight of the language model, "lora" for adapters. "auto" takes "full" for a folder
            or a shipped model with at most 400 MB of weights, and "lora" for everything else.
        lora_rank: width of the adapters.
        lora_alpha: scale of the adapters; the update is multiplied by alpha / rank.
        lora_dropout: share of the inputs of an adapter that is dropped in training.
        lora_targets: the linear layers that get an adapter: those of the decoder, also those of the projector, or every
            layer with the name of a decoder layer, as in the published code.
        lora_layers: the decoder layers that get one, counted from 0: "all", "upper 4" for the last four, or a list such
            as "26-29" or "3,7".
        dtype: of the weights; "auto" takes float32 on a CPU and bfloat16 on a GPU.
        quantization: "4bit" keeps the weights under the adapters in four bits (QLoRA; a GPU and bitsandbytes needed).
        gradient_checkpointing: compute activations twice instead of keeping them; less memory, a third more time.
    """

    id: str = "nano"
    processor: str = ""
    trainable: Literal["auto", "full", "lora"] = "auto"
    lora_rank: PositiveInt = 16
    lora_alpha: PositiveInt = 32
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    lora_targets: Literal["decoder", "decoder+projector", "all_linear"] = "decoder"
    lora_layers: str = Field(default="all", min_length=1)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    quantization: Literal["none", "4bit"] = "none"
    gradient_checkpointing: bool = False

    @model_validator(mode="before")
    @classmethod
    def _adapters_for_a_large_model(cls, table: Any) -> Any:
        """Replace "auto" before anything is kept, so that a run's config.toml says what was trained."""
        if isinstance(table, dict) and table.get("trainable", "auto") == "auto":
            return {**table, "trainable": "full" if _is_small(table.get("id", "nano")) else "lora"}
        return table

    @model_validator(mode="after")
    def _four_bits_are_not_trained(self) -> Self:
        if self.quantization == "4bit" and self.trainable == "full":
            raise ValueError("quantization = '4bit' trains adapters only; set trainable = 'lora'")
        return self


class ResourcesConfig(Table):
    """What one stage gets. No figure depends on it but for rounding.

    Attributes:
        gpus: GPUs of every stage. With several, `accelerate launch` starts each stage in as many processes, which share
            its work. A stage with one takes the CPU where there is no GPU.
        strategy: how they share it: "ddp" puts the whole model on each GPU and divides the batches, "fsdp" divides
            weights, gradients and optimiser states too, for models whose training fits no GPU.
    """

    gpus: PositiveInt = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"


class _OptionsTable(BaseModel):
    """Options of a leaf; `build_dataclass` checks them once the leaf is known."""

    model_config = STRICT | ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Option]

    @property
    def options(self) -> dict[str, Option]:
        """The options of the leaf."""
        return dict(self.__pydantic_extra__)


class MetricTable(_OptionsTable):
    """Options of one metric, except those that are keys of `[evaluation]`."""


class _MethodTable(_OptionsTable):
    """One method of a run with its options.

    Attributes:
        use: the registered method, if the table has another name. So one method can run several times with different
            options.
    """

    use: str = ""


class MethodTable(_MethodTable):
    """One method of a run about people.

    Attributes:
        modality: the questions to unlearn from: those with the portrait ("image"), with the name ("text"), or "both".
            The method runs once for each value and seed.
        seeds: the method runs once for each; by default with the seed of the recipe. "{ both = [0, 1, 2] }" gives
            several for one modality.
    """

    modality: Modalities = ("image", "text", "both")
    seeds: Seeds | dict[Modality, Seeds] = ()

    def seeds_for(self, modality: Modality) -> tuple[int, ...]:
        """Return the seeds for one modality; none stand for the seed of the recipe."""
        return self.seeds.get(modality, ()) if isinstance(self.seeds, dict) else self.seeds


class AttackOptions(_OptionsTable):
    """One attack."""


class AttackTable(AttackOptions):
    """One attack of a run about people.

    Attributes:
        modality: attack the methods that unlearned from these questions; methods without a choice are always attacked.
            Of several seeds the first is attacked.
        methods: attack these methods of the run only; none stand for all. Controls are always attacked.
    """

    modality: Modalities = ("both",)
    methods: Annotated[tuple[str, ...], Field(strict=False)] = ()


class DocumentsMethodTable(_MethodTable):
    """One method of a run about documents.

    Attributes:
        seeds: the method runs once for each; by default with the seed of the recipe.
        given: the largest number of pictures per subject that the method gets; 0 for all.
        harmless: number of harmless subjects whose pictures the method also gets, with questions to answer.
        private: number of further private subjects whose pictures it also gets, with questions to refuse.
    """

    seeds: Seeds = ()
    given: NonNegativeInt = 0
    harmless: NonNegativeInt = 0
    private: NonNegativeInt = 0


class OutOfDomainTable(Table):
    """A privacy benchmark with pictures that no edit uses.

    Attributes:
        source: a folder in the format of the benchmark.
        image_root: the folder that its image paths start from; by default `source`.
    """

    source: str = Field(min_length=1)
    image_root: str = ""


class PrivacyConfig(Table):
    """The pictures and private questions of a run about documents, and the judges of refusal.

    Attributes:
        source: "generated", or a folder.
        format: the format of a source, a name of `unsee list privacy`.
        image_root: the folder that the image paths of a source start from; by default `source`.
        images: number of pictures to generate per subject and split.
        unseen_subject: the subject that no edit sees; by default that of a built folder, or drawn.
        seed: of documents and splits.
        classifier: a folder with a text classifier as one more judge of refusal; none by default.
        out_of_domain: other benchmarks, by name, whose questions every model is asked too.
        skip_missing: leave out questions whose picture is missing; the record of the run holds how many pictures were.
    """

    source: str = GENERATED
    format: str = "privacy_pair"
    image_root: str = ""
    images: int = Field(default=10, ge=1, le=1000)
    unseen_subject: str = ""
    seed: NonNegativeInt = 0
    classifier: str = ""
    out_of_domain: dict[str, OutOfDomainTable] = Field(default_factory=dict)
    skip_missing: bool = False

    @model_validator(mode="after")
    def _generated_pictures_have_no_root(self) -> Self:
        if self.source == GENERATED and self.format != "privacy_pair":
            raise ValueError(f"format = '{self.format}' belongs to a source; generated pictures are in 'privacy_pair'")
        if self.source == GENERATED and self.image_root:
            raise ValueError("image_root belongs to a source; generated pictures lie beside their questions")
        return self
