"""What the frozen part of what looks makes of photos, kept on disk: models that differ elsewhere look once.

That part is tower and projector, or, where the projector learns, the tower alone. Kept is what is read of its output,
under the content of its weights and of what it is given, a batch of photos at a time, so that the numbers are those of
the model to the last bit. An evaluation has the same batches whatever model sits it; a training that shows photos as
they are draws their company at random and looks at each by itself.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unsee.forward.trees import Batch, moved_to
from unsee.models.family import Picture
from unsee.models.vlm import VLM, content
from unsee.runtime.cache import VERSION, cache_folder, replace_whole
from unsee.runtime.distributed import state

log = logging.getLogger(__name__)

_OUTPUT, _LAYERS = "output", ".hidden_states"
_PARTS = ("pooler_output", "deepstack_features")
"""What the decoder is given of photos: in its tokens' places, and, in Qwen3-VL, again in its first layers."""


@contextmanager
def looked_at_once(vlm: VLM) -> Iterator[None]:
    """Photos that were looked at before, by this model or one with the same frozen part, are not again.

    Its weights must not change meanwhile. What a gradient goes through is not kept, nor what training disturbs, nor
    what autocast makes of it. A file that cannot be read or written is a warning: the photos are looked at.
    """
    eyes = _eyes(vlm)
    look, folder, digest = eyes.look, cache_folder() / "features", cache(partial(_digest, vlm, eyes))
    unwritten: dict[Path, dict[str, Tensor]] = {}

    def write() -> None:
        while unwritten:
            path, read = unwritten.popitem()
            try:
                if read:
                    replace_whole(path, lambda part: save_file(read, part))  # noqa: B023  (called at once)
            except (OSError, SafetensorError) as error:
                log.warning("features path=%s unwritable=%s", path, error)

    def recall(*arguments: Any, **named: Any) -> Any:
        write()
        learning = eyes.module.training or (torch.is_grad_enabled() and eyes.learn)
        if learning or torch.is_autocast_enabled(vlm.device.type):
            return look(*arguments, **named)
        dtype = next(eyes.module.parameters()).dtype  # DeepSpeed may have changed it
        path = folder / f"{_key(digest(), arguments, named | {'dtype': dtype})}.safetensors"
        try:
            if path.is_file():
                return _remembered(load_file(path, device=str(vlm.device)))
        except (OSError, SafetensorError) as error:
            log.warning("features path=%s unreadable=%s", path, error)
        return _noting(look(*arguments, **named), unwritten.setdefault(path, {}))

    with eyes.replaced(recall):
        yield
    write()


Seen = tuple[dict[str, Any], dict[str, Tensor]]
"""What the model is given of photos, and what was read of the frozen part's output for them."""


def looks_once(vlm: VLM) -> bool:
    """Whether training may be given what was seen before: not while the tower learns, nor in several processes.

    Of these each has other photos.
    """
    return state().num_processes == 1 and not vlm.divided and not _eyes(vlm).learn


@torch.no_grad()
def looked_at(vlm: VLM, rows: Sequence[Sequence[Picture]], *, one_by_one: bool = False) -> tuple[Seen, ...]:
    """What the frozen part makes of the photos of a batch of training, for `shown`: once for model and reference.

    Nothing unless it `looks_once`. Deviation: what is frozen looks as in an evaluation, without dropout.

    Args:
        vlm: the model.
        rows: the photos in each row of the batch.
        one_by_one: each photo by itself, so that it is known again in other company.
    """
    pictures = [picture for row in rows for picture in row]
    if not pictures or not looks_once(vlm):
        return ()
    parts = [[[picture]] for picture in pictures] if one_by_one else [rows]
    core, eyes = vlm.model.model, _eyes(vlm)
    training = core.training
    core.eval()
    try:
        return tuple(_seen(vlm, eyes, moved_to(vlm.device, vlm.family.image_inputs(part))) for part in parts)
    finally:
        core.train(training)


def _seen(vlm: VLM, eyes: _Eyes, inputs: dict[str, Any]) -> Seen:
    look, read = eyes.look, dict[str, Tensor]()
    with eyes.replaced(lambda *arguments, **named: _noting(look(*arguments, **named), read)):
        found = vlm.model.model.get_image_features(**inputs)
    _parts(found)
    return inputs, read


@contextmanager
def shown(vlm: VLM, batch: Batch) -> Iterator[None]:
    """The model is given what the frozen part has seen of the batch's photos, if anything, and looks at none.

    Under autocast it looks: what comes next would be given another precision.
    """
    if torch.is_autocast_enabled(vlm.device.type) or not (seen := batch.seen):
        yield
        return
    core, eyes = vlm.model.model, _eyes(vlm)
    whole = _Eyes(core, "get_image_features")
    project = whole.look

    def given(*_: Any, **__: Any) -> SimpleNamespace:
        found = []
        for inputs, read in seen:
            if eyes == whole:
                found.append(_remembered(read))
                continue
            with eyes.replaced(lambda *_, read=read, **__: _remembered(read)):
                found.append(project(**inputs))
        together = zip(_PARTS, *map(_parts, found), strict=True)
        return SimpleNamespace(**{name: _joined(name, parts) for name, *parts in together})

    with whole.replaced(given):
        yield


def _parts(found: Any) -> list[Any]:
    """Reads what the decoder is given."""
    return [getattr(found, name, None) for name in _PARTS]


@dataclass(frozen=True)
class _Eyes:
    """The largest part of what looks in which nothing learns; the tower, if it does."""

    module: nn.Module
    method: str

    @property
    def look(self) -> Callable[..., Any]:
        """From photos to what is kept."""
        look: Callable[..., Any] = getattr(self.module, self.method)
        return look

    @property
    def learn(self) -> bool:
        """Whether anything of it does."""
        return self.method == "forward" and _learns(self.module.named_parameters())

    @contextmanager
    def replaced(self, look: Callable[..., Any]) -> Iterator[None]:
        """Another way to look."""
        before = vars(self.module).get(self.method)
        setattr(self.module, self.method, look)
        try:
            yield
        finally:
            delattr(self.module, self.method)
            if before:
                setattr(self.module, self.method, before)


def _eyes(vlm: VLM) -> _Eyes:
    if _learns(_outside_decoder(vlm, vlm.model.model.named_parameters())):
        return _Eyes(vlm.model.get_submodule(vlm.layout.vision_tower), "forward")
    return _Eyes(vlm.model.model, "get_image_features")


def _outside_decoder(vlm: VLM, named: Iterable[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    decoder = vlm.layout.decoder_layers.rpartition(".")[0]
    return [(name, tensor) for name, tensor in named if not f"model.{name}".startswith(f"{decoder}.")]


def _learns(named: Iterable[tuple[str, Tensor]]) -> bool:
    """Whether any does; an adapter even while it is switched off."""
    return any(tensor.requires_grad or "lora_" in name for name, tensor in named)


class _Part:
    """Stands for an output of which no more than what is read has to be there."""

    def __init__(self, at: Callable[[object], Any]) -> None:
        self._at = at

    def __getattr__(self, name: str) -> Any:
        try:
            return self._at(name)
        except LookupError:
            raise AttributeError(name) from None

    def __getitem__(self, index: int) -> Any:
        return self._at(index)


def _noting(value: Any, read: dict[str, Tensor], path: str = _OUTPUT) -> Any:
    """The same output; the tensors that are read of it are noted under their path."""
    if isinstance(value, Tensor):
        read[path] = value.clone().contiguous()
        return value
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and not path.endswith(_LAYERS):
        return [_noting(part, read, f"{path}.{number:04}") for number, part in enumerate(value)]
    return _Part(lambda key: _noting(_at(value, key), read, f"{path}.{key}"))


def _remembered(read: dict[str, Tensor], path: str = _OUTPUT) -> Any:
    """The output of which these tensors were read."""
    if path in read:
        return read[path]
    inner = sorted({".".join(name.split(".")[: path.count(".") + 2]) for name in read if name.startswith(f"{path}.")})
    if not inner:
        raise LookupError(path)
    if path != _OUTPUT and not path.endswith(_LAYERS):
        return [_remembered(read, part) for part in inner]
    return _Part(lambda key: _remembered(read, f"{path}.{key}"))


def _at(value: Any, key: object) -> Any:
    return value[key] if isinstance(key, int) else getattr(value, str(key))


def _digest(vlm: VLM, eyes: _Eyes) -> bytes:
    """Of all that decides what a photo gives, but the photo."""
    about = f"{VERSION} {vlm.device.type} {vlm.model.config.to_json_string()} {eyes.method}"
    digest = hashlib.sha256(about.encode())
    weights = eyes.module.state_dict().items()
    for name, tensor in sorted(weights if eyes.method == "forward" else _outside_decoder(vlm, weights)):
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


def _joined(name: str, parts: Sequence[Any]) -> Any:
    """What the parts of a batch are together: tensors one above the other, lists of photos one after another."""
    if len(parts) == 1 or parts[0] is None:
        return parts[0]
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    if name == "deepstack_features":  # a list of layers, each with its photos
        return [_joined("", layer) for layer in zip(*parts, strict=True)]
    return [photo for part in parts for photo in part]
