"""The models of an audit: whether they can be compared, and what identifies each of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from PIL import Image

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError
from unsee.core.files import sha256_of
from unsee.models import shipped
from unsee.models.adapter import chain
from unsee.models.vlm import VLM, content
from unsee.runtime.cache import key_of
from unsee.scoring.findings import AuditedModel

_SMALL = 100_000_000  # parameters


@dataclass(frozen=True)
class Traits:
    """What two models must share to be asked the same.

    Attributes:
        family: the name of the model family.
        shapes: the shape of every weight, by name.
        tokenizer: hash of vocabulary and chat template.
        pictures: hash of a picture as the model takes it.
    """

    family: str
    shapes: dict[str, tuple[int, ...]]
    tokenizer: str
    pictures: str

    @classmethod
    def of(cls, vlm: VLM) -> Traits:
        """Return those of a loaded model."""
        template = vlm.template(with_image=True)
        picture = vlm.picture(Image.linear_gradient("L").convert("RGB"))
        pixels = {name: hashlib.sha256(content(tensor)).hexdigest() for name, tensor in picture.inputs.items()}
        return cls(
            family=vlm.model.config.model_type,
            shapes={name: tuple(tensor.shape) for name, tensor in vlm.model.state_dict().items()},
            tokenizer=key_of(vlm.processor.tokenizer.get_vocab(), str(template), template.lead),
            pictures=key_of(pixels, picture.text, picture.runs),
        )


def described(config: ModelConfig) -> tuple[Traits, AuditedModel, float]:
    """Load a model; return its traits, what identifies it, and the rate at which it is usually trained further.

    Raises:
        ModelError: it cannot be loaded.
        UnknownNameError: no model has this name.
    """
    files = _files(config.id)
    vlm = VLM.load_as(config)
    own = AuditedModel(
        name=config.id, fingerprint=vlm.fingerprint(), files={name: sha256_of(path) for name, path in files.items()}
    )
    return Traits.of(vlm), own, _rate(vlm, config)


def check_alike(before: Traits, other: Traits, before_id: str, option: str, id: str) -> None:
    """Check that a model can be asked what the model before is asked.

    Raises:
        ModelError: they differ in family, shapes, tokenizer or pictures.
    """
    what = ""
    if before.family != other.family:
        what = f"is of the family {other.family}, and the model before, {before_id}, of {before.family}"
    elif differ := sorted(
        name for name in before.shapes.keys() | other.shapes if before.shapes.get(name) != other.shapes.get(name)
    ):
        what = (
            f"{len(differ)} of its weights have other shapes than in the model before, {before_id}, such as {differ[0]}"
        )
    elif before.tokenizer != other.tokenizer:
        what = f"has another tokenizer or chat template than the model before, {before_id}"
    elif before.pictures != other.pictures:
        what = f"prepares pictures in another way than the model before, {before_id}"
    if what:
        raise ModelError(f"{option} {id}: {what}; an audit compares a model with the one that it was made from")


def _files(id: str) -> dict[str, Path]:
    """Return the files of weights by name: those of the model, and of all adapters on it."""
    base, adapters = chain(id)
    config = try_to_load_from_cache(base, "config.json") if base.count("/") == 1 and not Path(base).is_dir() else None
    whole = Path(config).parent if isinstance(config, str) else shipped().get(base) or Path(base)
    found = {}
    for folder in (whole, *adapters):
        above = f"{folder.resolve().name}/" if adapters else ""
        found.update({f"{above}{path.name}": path for path in sorted(folder.glob("*.safetensors"))})
    return found


def _rate(vlm: VLM, config: ModelConfig) -> float:
    """Return a usual rate of fine-tuning; adapters, and small models, learn at larger ones."""
    small = vlm.model.num_parameters() < _SMALL
    if config.trainable == "lora":
        return 2e-3 if small else 2e-4
    return 1e-3 if small else 2e-5
