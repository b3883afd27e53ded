"""One-sentence errors for model files that are missing or cannot be loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError

_PROCESSOR_FILES: dict[str, tuple[str, ...]] = {
    "processor": ("processor_config.json", "preprocessor_config.json"),
    "tokenizer": ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
}
PROCESSOR_ADVICE = "set model.processor to a model whose processor fits, such as 'llava-hf/llava-1.5-7b-hf'"


@contextmanager
def loading(what: str, advice: str = "") -> Iterator[None]:
    """Turn every exception of the block into a `ModelError` of one sentence.

    Args:
        what: name of the thing that is being loaded, for the message.
        advice: text after the reason that says what to do.

    Raises:
        ModelError: the block raised.
    """
    try:
        yield
    except Exception as error:  # transformers, tokenizers and safetensors each raise types of their own
        lines = (str(error).strip() or type(error).__name__).splitlines()
        reason = " ".join(map(str.strip, lines[: 2 if lines[0].endswith(":") else 1]))
        raise ModelError(f"{what} cannot be loaded: {reason}{advice}") from error


def holds_processor(folder: Path) -> bool:
    """Return True if a folder holds a processor and its tokenizer."""
    return all(any((folder / name).is_file() for name in names) for names in _PROCESSOR_FILES.values())


def check_folder(config: ModelConfig, folder: Path) -> None:
    """Check that a folder holds every part of a model.

    Raises:
        ModelError: a file is missing, or the configuration is not JSON.
    """
    model_files: dict[str, tuple[str, ...]] = {
        "model configuration": ("config.json",),
        "weights (safetensors)": ("model.safetensors", "model.safetensors.index.json"),
    }
    for what, names in (model_files if config.processor else model_files | _PROCESSOR_FILES).items():
        if not any((folder / name).is_file() for name in names):
            advice = f"; {PROCESSOR_ADVICE}" if what in _PROCESSOR_FILES else ""
            searched = f"looked for {' or '.join(names)} in {folder}"
            raise ModelError(f"model {config.id}: the folder holds no {what} ({searched}){advice}")
    try:
        json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise ModelError(f"model {config.id}: config.json is not valid JSON ({error})") from error
