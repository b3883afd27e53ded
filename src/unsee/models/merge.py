"""Merging adapters into a model. A run saves only the LoRA adapters that it trained, one on top of the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError
from unsee.core.files import replacing
from unsee.core.record import check_free
from unsee.models.adapter import below, is_adapter, merge_into
from unsee.models.vlm import VLM


def merge(config: ModelConfig, adapters: Sequence[Path], out: Path) -> None:
    """Write a model with adapters merged into its weights, in the hub's format.

    Args:
        config: the model that the adapters were trained on.
        adapters: folders of the adapters, in the order of their training.
        out: the folder to write.

    Raises:
        ModelError: a folder holds no adapter of this model.
        RecordError: the folder to write is not empty, or cannot be written.
    """
    check_free(out)
    for folder, earlier in zip(adapters, (Path(config.id), *adapters), strict=False):
        if not is_adapter(folder):
            raise ModelError(f"{folder}: holds no adapter (no adapter_config.json)")
        base = Path(below(folder))
        if is_adapter(base) and base.resolve() != earlier.resolve():
            raise ModelError(f"{folder}: was trained on top of the adapter {base}; name that one right before it")
    vlm = VLM.load_as(config)
    for folder in adapters:
        vlm.model = merge_into(vlm.model, folder)
    with replacing(out) as folder:
        vlm.save(folder)
