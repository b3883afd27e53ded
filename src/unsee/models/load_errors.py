"""One-sentence errors for model files that are missing or cannot be loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError
from safetensors import safe_open

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError

_PROCESSOR_FILES: dict[str, tuple[str, ...]] = {
    "processor": ("processor_config.json", "preprocessor_config.json"),
    "tokenizer": ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
}
WEIGHTS_INDEX = "model.safetensors.index.json"
_LFS = b"version https://git-lfs.github.com/spec/"
_HUB_SECONDS = 10.0
_LONGEST_REASON = 500
_MOST_PER_STORED = 4  # two four-bit parameters are stored as one number
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
        reason = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."
        raise ModelError(f"{what} cannot be loaded: {reason}{advice}") from error


def holds_processor(folder: Path) -> bool:
    """Return True if a folder holds a processor and its tokenizer."""
    return all(any((folder / name).is_file() for name in names) for names in _PROCESSOR_FILES.values())


def check_folder(config: ModelConfig, folder: Path) -> list[Path]:
    """Check that a folder holds every part of a model, whole, and return its files of weights.

    Raises:
        ModelError: a file is missing or cut short, or the configuration is no object.
    """
    model_files: dict[str, tuple[str, ...]] = {
        "model configuration": ("config.json",),
        "weights (safetensors)": ("model.safetensors", WEIGHTS_INDEX),
    }
    for what, names in (model_files if config.processor else model_files | _PROCESSOR_FILES).items():
        if not any((folder / name).is_file() for name in names):
            advice = f"; {PROCESSOR_ADVICE}" if what in _PROCESSOR_FILES else ""
            searched = f"looked for {' or '.join(names)} in {folder}"
            raise ModelError(f"model {config.id}: the folder holds no {what} ({searched}){advice}")
    check_fetched(folder)
    where = f"model {config.id}: "
    _object(folder / "config.json", where)
    paths = _weights(folder, where)
    for path in paths:
        check_whole(path)
    return paths


def check_fetched(folder: Path) -> None:
    """Check that no file is a placeholder of git-LFS.

    Raises:
        ModelError: one is.
    """
    for path in sorted((*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*.model"))):
        with loading(f"{path}:"), path.open("rb") as file:
            start = file.read(len(_LFS))
        if start == _LFS:
            raise ModelError(f"{path}: is a pointer of git-LFS, not the file itself; run `git lfs pull` in {folder}")


def check_whole(path: Path) -> None:
    """Check that a safetensors file is as long as its header says.

    Raises:
        ModelError: it is not.
    """
    advice = "; the file is empty, cut short or something else: fetch it again"
    with loading(f"{path}: the weights", advice), safe_open(path, framework="numpy"):
        pass


def check_size(config: ModelConfig, parameters: int, paths: Sequence[Path]) -> None:
    """Check that files of weights can be those of a model: what they lack would be made up, in memory of any size.

    Raises:
        ModelError: the model has more than `_MOST_PER_STORED` parameters for each number in the files.
    """
    stored = 0
    for path in paths:
        with safe_open(path, framework="numpy") as file:
            stored += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    if parameters > _MOST_PER_STORED * stored:
        raise ModelError(
            f"model {config.id}: config.json describes {parameters:,} parameters, but the files of weights hold "
            f"{stored:,}; they are not of one model"
        )


def check_hub(id: str) -> None:
    """Check that the hub, or the cache of it, holds a model: the client alone would ask five times, half a minute long.

    Raises:
        ModelError: it does not, or cannot be reached.
    """
    if isinstance(try_to_load_from_cache(id, "config.json"), str):
        return
    fetch = f"run `hf download {id} --local-dir DIR` and give DIR instead"
    try:
        get_hf_file_metadata(hf_hub_url(id, "config.json"), timeout=_HUB_SECONDS)
    except GatedRepoError as error:
        raise ModelError(
            f"model {id}: its authors ask for consent; give it on its page, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"model {id}: no such folder, and the hub has no model of this name (a private one needs `hf auth login`)"
        ) from error
    except RemoteEntryNotFoundError as error:
        raise ModelError(f"model {id}: holds no config.json on the hub; if it is an adapter, {fetch}") from error
    except Exception as error:  # the client and the libraries below it each raise types of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(
            f"model {id}: no such folder, and the hub cannot be reached ({reason}); "
            f"on a machine with a connection, {fetch}"
        ) from error


def _weights(folder: Path, where: str) -> list[Path]:
    """Return the files of weights: those that the index names, or the only one."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    named = _object(folder / WEIGHTS_INDEX, where).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise ModelError(f"{where}{WEIGHTS_INDEX} names no files (no weight_map)")
    paths = [folder / name for name in sorted(set(named.values()))]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise ModelError(
            f"{where}{len(missing)} of the {len(paths)} files of weights are missing, such as {missing[0]}; "
            "fetch them again"
        )
    return paths


def _object(path: Path, where: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}{path.name} is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{where}{path.name} holds no object of settings, but {type(value).__name__}")
    return value
