"""An edit: what is added to which matrices of which model, and the way back.

Shape letters: D hidden width.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unsee.core.errors import ConfigError, ModelError
from unsee.models.vlm import VLM
from unsee.runtime.cache import replace_whole

log = logging.getLogger(__name__)

FORMAT = "unsee-edit-1"
APPLIED = "unsee_edits"  # the key of a model's configuration that names the edits in its weights


@dataclass(frozen=True, kw_only=True)
class Edit:
    """The result of an edit method.

    Attributes:
        method: its name.
        settings: its options, as a recipe writes them.
        model: fingerprint of the model it was made for.
        deltas: what is added to each matrix, float32, by the module's name.
        gates: the open dimensions (D) bool, by "category/layer".
        frequencies: what the gates were cut from, (D): published, the share of pictures in which a dimension turned;
            otherwise the mean change of its factor.
    """

    method: str
    settings: Mapping[str, Any]
    model: str
    deltas: Mapping[str, Tensor]
    gates: Mapping[str, Tensor] = field(default_factory=dict)
    frequencies: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """A short name for its content."""
        digest = hashlib.sha256(f"{self.method} {self.model}".encode())
        for name, delta in sorted(self.deltas.items()):
            digest.update(name.encode())
            digest.update(delta.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def ids(self) -> frozenset[str]:
        """Its own id and those of all edits that were merged into it."""
        return frozenset({self.id}.union(*(part["ids"] for part in self.settings.get("merged", ()))))

    def open_shares(self) -> dict[str, float]:
        """The share of open dimensions of each gate; one that lets nothing through is warned of."""
        shares = {key: float(gate.float().mean()) for key, gate in self.gates.items()}
        for key in (key for key, share in shares.items() if not share):
            log.warning("edit=%s gate=%s open_share=0: nothing was learned at the tokens where it stands", self.id, key)
        return shares

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        tensors = {f"delta/{name}": delta for name, delta in self.deltas.items()}
        tensors |= {f"gate/{key}": gate for key, gate in self.gates.items()}
        tensors |= {f"frequency/{key}": frequency for key, frequency in self.frequencies.items()}
        about = {"format": FORMAT, "method": self.method, "settings": json.dumps(self.settings), "model": self.model}
        write_tensors(tensors, path, about)

    @classmethod
    def load(cls, path: Path) -> Edit:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing, or no edit.
        """
        found: dict[str, dict[str, Tensor]] = {"delta": {}, "gate": {}, "frequency": {}}
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                names = file.keys()
                for name in names:
                    kind, _, key = name.partition("/")
                    found.setdefault(kind, {})[key] = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: is not an edit that can be read: {error}") from error
        if about.get("format") != FORMAT:
            raise ModelError(f"{path}: is not an edit ({FORMAT}) but some other safetensors file")
        return cls(
            method=about["method"], settings=json.loads(about["settings"]), model=about["model"],
            deltas=found["delta"], gates=found["gate"], frequencies=found["frequency"],
        )  # fmt: skip


def write_tensors(tensors: Mapping[str, Tensor], path: Path, about: dict[str, str]) -> None:
    """Write one safetensors file, whole or not at all."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    replace_whole(path, lambda part: save_file(whole, part, metadata=about))


def merge(edits: Sequence[Edit]) -> Edit:
    """One edit that adds up several of the same model.

    Raises:
        ModelError: they were made for different models.
        ConfigError: two of them are the same, or both hold a gate of the same category and layer.
    """
    first, *others = edits
    if any(edit.model != first.model for edit in others):
        raise ModelError("these edits were made for different models and cannot be merged")
    held: set[str] = set()
    for edit in edits:
        if shared := held & edit.ids:
            raise ConfigError(f"edit {min(shared)} is in two of these edits; it cannot be merged with itself")
        held |= edit.ids
    deltas: dict[str, Tensor] = {}
    gates: dict[str, Tensor] = {}
    frequencies: dict[str, Tensor] = {}
    for edit in edits:
        if twice := sorted(gates.keys() & edit.gates.keys()):
            raise ConfigError(f"two of these edits hold a gate of {twice[0]}; merging would lose one of them")
        for name, delta in edit.deltas.items():
            deltas[name] = deltas[name] + delta if name in deltas else delta
        gates |= edit.gates
        frequencies |= edit.frequencies
    settings = {"merged": [{**edit.settings, "ids": sorted(edit.ids), "method": edit.method} for edit in edits]}
    names = "+".join(dict.fromkeys(edit.method for edit in edits))
    return Edit(method=names, settings=settings, model=first.model, deltas=deltas, gates=gates, frequencies=frequencies)


class Editor:
    """The edits that are in one model, in order, and the way back.

    The matrices as they were before the first edit are kept, and every change starts from them: taking an edit back
    leaves exactly the bits that the remaining edits alone would leave.
    """

    def __init__(self, vlm: VLM) -> None:
        self._vlm = vlm
        self._fingerprint = ""
        self._before: dict[str, Tensor] = {}
        self.edits: list[Edit] = []

    def apply(self, edit: Edit) -> None:
        """Add an edit to the model's weights.

        Raises:
            ModelError: it was made for another model, or it is in the weights already; then nothing has changed.
        """
        if twice := edit.ids.intersection(applied(self._vlm)):
            raise ModelError(f"edit {min(twice)} ({edit.method}): is in model {self._vlm.id} already")
        if not self.edits:
            self._fingerprint = self._vlm.fingerprint()
        if edit.model != self._fingerprint:
            raise ModelError(
                f"edit {edit.id} ({edit.method}): was made for another model (fingerprint {edit.model[:12]}, "
                f"model {self._vlm.id} has {self._fingerprint[:12]})"
            )
        for name, delta in edit.deltas.items():
            weight = self._weight(name)
            if weight.shape != delta.shape:
                raise ModelError(
                    f"edit {edit.id} ({edit.method}): {name} is {tuple(delta.shape)} in the edit, "
                    f"{tuple(weight.shape)} in model {self._vlm.id}"
                )
        self._write([*self.edits, edit])

    def revert(self, id: str | None = None) -> Edit:
        """Take one edit back, the last by default, and return it.

        Raises:
            ModelError: it was not applied here.
        """
        chosen = next((edit for edit in reversed(self.edits) if id in (None, edit.id)), None)
        if chosen is None:
            raise ModelError(f"edit {id or ''}: was not applied to model {self._vlm.id} here")
        self._write([edit for edit in self.edits if edit is not chosen])
        return chosen

    @torch.no_grad()
    def _write(self, edits: list[Edit]) -> None:
        """The kept matrices plus these edits; a matrix that none of them touches is exactly as it was."""
        for name in {name for edit in (*self.edits, *edits) for name in edit.deltas}:
            weight = self._weight(name)
            before = self._before.setdefault(name, weight.detach().clone())
            total = before.float()
            touching = [edit.deltas[name] for edit in edits if name in edit.deltas]
            for delta in touching:
                total = total + delta.to(before.device)
            weight.copy_(total.to(before.dtype) if touching else before)
        others = [id for id in applied(self._vlm) if not any(id in edit.ids for edit in self.edits)]
        setattr(self._vlm.model.config, APPLIED, [*others, *(id for edit in edits for id in sorted(edit.ids))])
        self.edits = edits

    def _weight(self, name: str) -> Tensor:
        try:
            module = self._vlm.model.get_submodule(name)
        except AttributeError:
            module = nn.Identity()
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor):
            raise ModelError(f"model {self._vlm.id}: has no matrix {name}")
        return weight


def applied(vlm: VLM) -> list[str]:
    """The ids of the edits in a model's weights, with all that were merged; also if it was saved with them."""
    return list(getattr(vlm.model.config, APPLIED, []))
