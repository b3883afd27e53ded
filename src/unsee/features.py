"""What a vision tower and projector make of photos, kept on disk: models that differ in their decoder look once.

Kept under the content of every weight outside the decoder and of what the tower is given, a batch of photos at a time,
so that the numbers are those of the model to the last bit. An evaluation has the same batches whatever model sits it;
a training that shows photos as they are draws their company at random and looks at each by itself.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unsee.cache import VERSION, cache_folder, replace_whole
from unsee.collate import Batch, moved_to
from unsee.models.family import Picture
from unsee.models.vlm import VLM, content
from unsee.processes import state

log = logging.getLogger(__name__)

_PARTS = ("pooler_output", "deepstack_features")
"""What the decoder is given of them: in its tokens' places, and, in Qwen3-VL, again in its first layers."""


@contextmanager
def looked_at_once(vlm: VLM) -> Iterator[None]:
    """Photos that were looked at before, by this model or one with the same tower and projector, are not again.

    Weights outside the decoder must not change meanwhile. What a gradient goes through is not kept, nor what training
    disturbs. A file that cannot be read or written is a warning: the photos are looked at.
    """
    core: Any = vlm.model.model
    look, folder, eyes = core.get_image_features, cache_folder() / "features", cache(partial(_digest, vlm))

    def recall(*arguments: Any, **named: Any) -> Any:
        if core.training or (torch.is_grad_enabled() and _learns(vlm)):
            return look(*arguments, **named)
        path = folder / f"{_key(eyes(), arguments, named)}.safetensors"
        try:
            if path.is_file():
                return _read(path, vlm.device)
        except (OSError, SafetensorError) as error:
            log.warning("features path=%s unreadable=%s", path, error)
        found = look(*arguments, **named)
        try:
            _write(path, found)
        except (OSError, SafetensorError) as error:
            log.warning("features path=%s unwritable=%s", path, error)
        return found

    with _looking(core, recall):
        yield


@torch.no_grad()
def looked_at(vlm: VLM, rows: Sequence[Sequence[Picture]], *, one_by_one: bool = False) -> dict[str, Tensor]:
    """What a batch of training shows the decoder of its photos, for `shown`: once for model and reference.

    Nothing while tower or projector learn, or in several processes, of which each has other photos. Deviation: what is
    frozen looks as in an evaluation, without dropout.

    Args:
        vlm: the model.
        rows: the photos in each row of the batch.
        one_by_one: each photo by itself, so that it is known again in other company.
    """
    pictures = [picture for row in rows for picture in row]
    if not pictures or state().num_processes > 1 or vlm.divided or _learns(vlm):
        return {}
    core: Any = vlm.model.model
    training = core.training
    core.eval()
    try:
        parts = [
            core.get_image_features(**moved_to(vlm.device, vlm.family.image_inputs(some)))
            for some in ([[[picture]] for picture in pictures] if one_by_one else [rows])
        ]
    finally:
        core.train(training)
    together = {name: _joined(name, [getattr(part, name, None) for part in parts]) for name in _PARTS}
    return {key: value for name, found in together.items() for key, value in _flat(name, found).items()}


@contextmanager
def shown(vlm: VLM, batch: Batch) -> Iterator[None]:
    """The model is given what the batch has seen of its photos, if anything, and looks at none.

    Under autocast it looks: what the decoder is given would have another precision.
    """
    if torch.is_autocast_enabled(vlm.device.type) or not (seen := batch.seen):
        yield
    else:
        with _looking(vlm.model.model, lambda *_, **__: _whole(seen)):
            yield


@contextmanager
def _looking(core: Any, look: Any) -> Iterator[None]:
    before = vars(core).get("get_image_features")
    core.get_image_features = look
    try:
        yield
    finally:
        del core.get_image_features
        if before:
            core.get_image_features = before


def _learns(vlm: VLM) -> bool:
    """Whether anything outside the decoder does; an adapter there, even while it is switched off."""
    decoder = set(vlm.model.get_submodule(_decoder(vlm)).parameters())
    outside = ((name, part) for name, part in vlm.model.model.named_parameters() if part not in decoder)
    return any(part.requires_grad or "lora_" in name for name, part in outside)


def _decoder(vlm: VLM) -> str:
    return vlm.layout.decoder_layers.rpartition(".")[0]


def _digest(vlm: VLM) -> bytes:
    """Of all that decides what a photo gives, but the photo."""
    digest = hashlib.sha256(f"{VERSION} {vlm.device.type} {vlm.model.config.to_json_string()}".encode())
    for name, tensor in sorted(vlm.model.model.state_dict().items()):
        if not f"model.{name}".startswith(f"{_decoder(vlm)}."):
            _add(digest, name, tensor)
    return digest.digest()


def _key(eyes: bytes, arguments: tuple[Any, ...], named: dict[str, Any]) -> str:
    digest = hashlib.sha256(eyes)
    for name, value in (*enumerate(arguments), *sorted(named.items())):
        _add(digest, name, value)
    return digest.hexdigest()[:40]


def _add(digest: Any, name: object, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(content(value))
    else:
        digest.update(f"{name} {value!r}".encode())


def _flat(name: str, value: Any) -> dict[str, Tensor]:
    """The tensors of a tensor, of a list of them or of a list of lists, by name and numbers."""
    if isinstance(value, Tensor):
        return {name: value.clone().contiguous()}
    parts = [_flat(f"{name}.{number:04}", part) for number, part in enumerate(value or ())]
    return {name: tensor for part in parts for name, tensor in part.items()}


def _nested(name: str, tensors: dict[str, Tensor]) -> Any:
    """What `_flat` was given."""
    if name in tensors:
        return tensors[name]
    inner = sorted({".".join(key.split(".")[: name.count(".") + 2]) for key in tensors if key.startswith(f"{name}.")})
    return [_nested(part, tensors) for part in inner] or None


def _joined(name: str, parts: Sequence[Any]) -> Any:
    """What the parts of a batch are together: tensors one above the other, lists of photos one after another."""
    if parts[0] is None:
        return None
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    if name == "deepstack_features":  # a list of layers, each with its photos
        return [_joined("", layer) for layer in zip(*parts, strict=True)]
    return [photo for part in parts for photo in part]


def _whole(tensors: dict[str, Tensor]) -> SimpleNamespace:
    return SimpleNamespace(**{name: _nested(name, tensors) for name in _PARTS})


def _write(path: Path, found: Any) -> None:
    tensors = {key: value for name in _PARTS for key, value in _flat(name, getattr(found, name, None)).items()}
    replace_whole(path, lambda part: save_file(tensors, part))


def _read(path: Path, device: torch.device) -> SimpleNamespace:
    return _whole(load_file(path, device=str(device)))
