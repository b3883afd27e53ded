"""Whole models of adapters: what a run keeps of a LoRA training is the adapter alone, on top of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peft import PeftModel

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError
from unsee.core.record import check_free
from unsee.models.files import loading
from unsee.models.vlm import VLM


def merge(config: ModelConfig, adapters: Sequence[Path], out: Path) -> None:
    """Write a model with adapters added to its weights, in the hub's format.

    Args:
        config: the model they were trained on.
        adapters: their folders in the order in which they were trained.
        out: the folder to write.

    Raises:
        ModelError: a folder holds no adapter of this model.
        RecordError: the folder to write holds something.
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
