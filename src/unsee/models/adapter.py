"""LoRA adapters on disk: what each was trained on, and merging them into a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from unsee.core.errors import ModelError
from unsee.models import shipped
from unsee.models.load_errors import check_fetched, check_whole, loading

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_CARD = """\
---
library_name: peft
---
# A LoRA adapter

unsee wrote this folder. It holds no whole model: it is a change to `{base}`, which must still be there. All commands of
unsee take the folder as a model:

    unsee eval FOLDER --data DATA

Other programs need a whole model:

    unsee models merge BASE FOLDER --out DIR

BASE is `{base}`.
"""


def is_adapter(folder: Path) -> bool:
    """Return True if a folder holds an adapter and no whole model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def below(folder: Path) -> str:
    """Return the name or folder of the model that an adapter was trained on.

    A folder may be named relative to the adapter's folder or to the working directory.

    Raises:
        ModelError: the configuration cannot be read, or names no model.
    """
    path = folder / CONFIG
    with loading(f"{path}: the adapter's configuration"):
        config = json.loads(path.read_text(encoding="utf-8"))
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not base or not isinstance(base, str):
        raise ModelError(f"{folder}: is an adapter that does not name its base model; {cure(folder)}")
    if base in shipped():
        return base
    return next((str(path) for path in (folder / base, Path(base)) if path.is_dir()), base)


def chain(id: str) -> tuple[str, tuple[Path, ...]]:
    """Return the whole model under an adapter, and the adapters to merge into it in order; none for a whole model.

    Raises:
        ModelError: an adapter's base model is missing, or its configuration cannot be read.
    """
    adapters: list[Path] = []
    while id not in shipped() and is_adapter(Path(id)):
        if Path(id).resolve() in (folder.resolve() for folder in adapters):
            raise ModelError(f"{id}: is an adapter of itself; {cure(Path(id))}")
        adapters.insert(0, Path(id))
        id = below(adapters[0])
    if adapters and id not in shipped() and not Path(id).is_dir() and (id.startswith((".", "/")) or id.count("/") != 1):
        raise ModelError(f"{adapters[0]}: is an adapter of {id}, which is not there; {cure(adapters[0])}")
    return id, tuple(adapters)


def merge_into(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return the model with an adapter merged into its weights.

    Raises:
        ModelError: the adapter cannot be read, or has other tensors than the model takes from it.
    """
    from peft import PeftConfig, PeftModel

    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder}: holds no adapter (no {CONFIG})")
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder}: holds no weights of an adapter (looked for {WEIGHTS})")
    check_fetched(folder)
    check_whole(folder / WEIGHTS)
    with loading(f"{folder}: the adapter"):
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        adapted: Any = PeftModel(model, config)
        renamed = getattr(model, "_checkpoint_conversion_mapping", {})
        report = adapted.load_adapter(str(folder), "default", torch_device=str(model.device), key_mapping=renamed)
        for tensors, why in (
            (report.unexpected_keys, "have no place in this model"),
            (report.missing_keys, "are missing in its file"),
        ):
            if tensors:
                raise ModelError(f"{len(tensors)} of its tensors {why}, such as {min(tensors)}")
        merged: PreTrainedModel = adapted.merge_and_unload()
    return merged


def write_card(folder: Path, base: str) -> None:
    """Write a README.md that says what an adapter is and how it is used."""
    (folder / "README.md").write_text(_CARD.format(base=base), encoding="utf-8")


def cure(folder: Path) -> str:
    """Return the end of a sentence that says how to use an adapter whose base model is not found."""
    return f"with the base model in BASE, `unsee models merge BASE {folder} --out DIR` writes a whole model"
