"""Caches the outputs of the frozen vision part on disk, so that models with the same vision part encode a photo once.

The vision part is tower and projector, or the tower alone if the projector is trained. A file holds the features of one
batch of photos, as far as the model reads them. Its key hashes the weights and the batch, so the numbers are
bit-identical. It is used in evaluations, which have the same batches for every model, and in edits, whose batches
mostly hold one photo. Training does not use it; docs/benchmarks.md says why.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unsee.core.errors import RecordError
from unsee.core.files import intact, keep
from unsee.models.vlm import VLM, content
from unsee.runtime.cache import VERSION, Cache

log = logging.getLogger(__name__)

_OUTPUT, _LAYERS = "output", ".hidden_states"


@contextmanager
def cached_vision(vlm: VLM, kept: Cache | None = None) -> Iterator[None]:
    """Read vision features from the cache within the block, and add those that it lacks.

    The weights of the vision part must not change within the block. Outputs with a gradient, outputs in training mode
    and outputs under autocast are computed and not cached. If a file cannot be written, that is a warning, and no
    others are.

    Args:
        vlm: the model.
        kept: the cache of the command; by default one that belongs to no run.
    """
    kept = kept or Cache()
    encoder = _frozen_encoder(vlm)
    encode, digest = encoder.encode, cache(partial(_digest, vlm, encoder))
    writable = True
    unwritten: dict[Path, dict[str, Tensor]] = {}

    def write() -> None:
        nonlocal writable
        while unwritten:
            path, features = unwritten.popitem()
            try:
                if features and writable:
                    keep(path, partial(save_file, features))
            except RecordError as error:
                writable = False
                log.warning("%s; features are not kept", error)

    def cached_encode(*arguments: Any, **named: Any) -> Any:
        write()  # by now the model has read everything it needs from the last output
        training = encoder.module.training or (torch.is_grad_enabled() and encoder.is_trained)
        if training or torch.is_autocast_enabled(vlm.device.type):
            return encode(*arguments, **named)
        path = kept.path("features", f"{_key(digest(), arguments, named)}.safetensors")
        if intact(path):
            return _replayed(load_file(path, device=str(vlm.device)))
        return _recorded(encode(*arguments, **named), unwritten.setdefault(path, {}))

    with encoder.replaced(cached_encode):
        yield
    write()


@dataclass(frozen=True)
class _Encoder:
    """The vision part: the largest part of the vision side that is not trained, or else the tower.

    Attributes:
        module: the tower, or the whole model without its head.
        method: the method of `module` that maps photos to features.
    """

    module: nn.Module
    method: str

    @property
    def encode(self) -> Callable[..., Any]:
        """The method that maps photos to features."""
        encode: Callable[..., Any] = getattr(self.module, self.method)
        return encode

    @property
    def is_trained(self) -> bool:
        """True if one of its parameters is trained."""
        return self.method == "forward" and _any_trained(self.module.named_parameters())

    @contextmanager
    def replaced(self, encode: Callable[..., Any]) -> Iterator[None]:
        """Replace `encode` within the context."""
        before = vars(self.module).get(self.method)
        setattr(self.module, self.method, encode)
        try:
            yield
        finally:
            delattr(self.module, self.method)
            if before:
                setattr(self.module, self.method, before)


def _frozen_encoder(vlm: VLM) -> _Encoder:
    if _any_trained(_outside_decoder(vlm, vlm.model.model.named_parameters())):
        return _Encoder(vlm.model.get_submodule(vlm.layout.vision_tower), "forward")
    return _Encoder(vlm.model.model, "get_image_features")


def _outside_decoder(vlm: VLM, named: Iterable[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    decoder = vlm.layout.decoder_layers.rpartition(".")[0]
    return [(name, tensor) for name, tensor in named if not f"model.{name}".startswith(f"{decoder}.")]


def _any_trained(named: Iterable[tuple[str, Tensor]]) -> bool:
    """Return True if a parameter is trained; an adapter counts even while it is switched off."""
    return any(tensor.requires_grad or "lora_" in name for name, tensor in named)


class _PartialOutput:
    """Stand-in for a model output that computes a part when it is read."""

    def __init__(self, read: Callable[[object], Any]) -> None:
        self._read = read

    def __getattr__(self, name: str) -> Any:
        try:
            return self._read(name)
        except LookupError:
            raise AttributeError(name) from None

    def __getitem__(self, index: int) -> Any:
        return self._read(index)


def _recorded(value: Any, features: dict[str, Tensor], path: str = _OUTPUT) -> Any:
    """Return a stand-in for an output that copies every tensor read from it into `features`, under its path."""
    if isinstance(value, Tensor):
        features[path] = value.clone().contiguous()
        return value
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and not path.endswith(_LAYERS):
        return [_recorded(part, features, f"{path}.{number:04}") for number, part in enumerate(value)]
    return _PartialOutput(lambda key: _recorded(_item(value, key), features, f"{path}.{key}"))


def _replayed(features: dict[str, Tensor], path: str = _OUTPUT) -> Any:
    """Return the output from which `_recorded` took the features."""
    if path in features:
        return features[path]
    depth = path.count(".") + 2
    inner = sorted({".".join(name.split(".")[:depth]) for name in features if name.startswith(f"{path}.")})
    if not inner:
        raise LookupError(path)
    if path != _OUTPUT and not path.endswith(_LAYERS):
        return [_replayed(features, part) for part in inner]
    return _PartialOutput(lambda key: _replayed(features, f"{path}.{key}"))


def _item(value: Any, key: object) -> Any:
    return value[key] if isinstance(key, int) else getattr(value, str(key))


def _digest(vlm: VLM, encoder: _Encoder) -> bytes:
    """Hash everything that the features depend on, except the photos."""
    about = f"{VERSION} {vlm.device.type} {vlm.model.config.to_json_string()} {encoder.method}"
    digest = hashlib.sha256(about.encode())
    weights = encoder.module.state_dict().items()
    for name, tensor in sorted(weights if encoder.method == "forward" else _outside_decoder(vlm, weights)):
        _add(digest, name, tensor)
    return digest.digest()


def _key(encoder: bytes, arguments: tuple[Any, ...], named: dict[str, Any]) -> str:
    digest = hashlib.sha256(encoder)
    for name, value in (*enumerate(arguments), *sorted(named.items())):
        _add(digest, name, value)
    return digest.hexdigest()[:40]


def _add(digest: Any, name: object, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(content(value))
    else:
        digest.update(f"{name} {value!r}".encode())
