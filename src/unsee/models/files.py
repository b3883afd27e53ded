"""What can be wrong with a model's files, each in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError

ANOTHERS = "model.processor names whose it takes, such as 'llava-hf/llava-1.5-7b-hf'"


@contextmanager
def loading(what: str, advice: str = "") -> Iterator[None]:
    """Turn whatever goes wrong in the block into one sentence about it.

    Args:
        what: what is being loaded.
        advice: what to do, after the reason.

    Raises:
        ModelError: something went wrong.
    """
    try:
        yield
    except Exception as error:  # transformers, tokenizers and safetensors have one of their own for every file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{what} cannot be loaded: {reason}{advice}") from error


def check_folder(config: ModelConfig, folder: Path) -> None:
    """Refuse a folder that lacks a part of a model.

    Raises:
        ModelError: a file is missing, or the configuration is not JSON.
    """
    needed: dict[str, tuple[str, ...]] = {
        "model configuration": ("config.json",),
        "weights (safetensors)": ("model.safetensors", "model.safetensors.index.json"),
    }
    beside: dict[str, tuple[str, ...]] = {
        "processor": ("processor_config.json", "preprocessor_config.json"),
        "tokenizer": ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
    }
    for what, names in (needed if config.processor else needed | beside).items():
        if not any((folder / name).is_file() for name in names):
            advice = f"; {ANOTHERS}" if what in beside else ""
            looked = f"looked for {' or '.join(names)} in {folder}"
            raise ModelError(f"model {config.id}: the folder holds no {what} ({looked}){advice}")
    try:
        json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise ModelError(f"model {config.id}: config.json is not valid JSON ({error})") from error
