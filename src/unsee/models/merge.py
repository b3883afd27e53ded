"""Merging adapters into a model. A run saves only the LoRA adapters that it trained, one on top of the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peft import PeftModel

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError
from unsee.core.record import check_free
from unsee.models.load_errors import loading
from unsee.models.vlm import VLM


def merge(config: ModelConfig, adapters: Sequence[Path], out: Path) -> None:
    """Write a model with adapters merged into its weights, in the hub's format.

    Args:
        config: the model that the adapters were trained on.
        adapters: folders of the adapters, in the order of their training.
        out: the folder to write.

    Raises:
        ModelError: a folder holds no adapter of this model.
        RecordError: the folder to write is not empty.
    """
    check_free(out)
    for folder in adapters:
        if not (folder / "adapter_config.json").is_file():
            raise ModelError(f"{folder}: holds no adapter (no adapter_config.json)")
    vlm = VLM.load_as(config)
    for folder in adapters:
        with loading(f"{folder}: the adapter"):
            vlm.model = PeftModel.from_pretrained(vlm.model, folder).merge_and_unload()
    vlm.save(out)
