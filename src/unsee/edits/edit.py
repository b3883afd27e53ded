"""An edit: changes that are added to some weights of one model and can be taken back.

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

from unsee.config.arguments import checked
from unsee.core.errors import ConfigError, ModelError
from unsee.core.files import replacing
from unsee.core.reading import parse_json
from unsee.models.vlm import VLM, content

log = logging.getLogger(__name__)

FORMAT = "unsee-edit-1"
APPLIED = "unsee_edits"
"""Key of a model's configuration; its value is the ids of the edits that are in the model's weights."""


@checked("unsee.Edit")
@dataclass(frozen=True, kw_only=True)
class Edit:
    """The result of a method that computes changes of weights.

    Attributes:
        method: the method's name.
        settings: the method's options, as in a recipe, and what it chose itself.
        model: fingerprint of the model it was made for.
        deltas: the change of each weight, float32, by the name of the module (its `weight`) or of the parameter.
        gates: the open dimensions (D) bool, by "category/layer".
        frequencies: the numbers from which the gates were cut (D), by "category/layer".
    """

    method: str
    settings: Mapping[str, Any]
    model: str
    deltas: Mapping[str, Tensor]
    gates: Mapping[str, Tensor] = field(default_factory=dict)
    frequencies: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """A hash of method, model and deltas."""
        digest = hashlib.sha256(f"{self.method} {self.model}".encode())
        for name, delta in sorted(self.deltas.items()):
            digest.update(name.encode())
            digest.update(content(delta))
        return digest.hexdigest()[:16]

    @property
    def ids(self) -> frozenset[str]:
        """The id of this edit and of all edits that were merged into it."""
        return frozenset({self.id}.union(*(part["ids"] for part in self.settings.get("merged", ()))))

    def open_shares(self) -> dict[str, float]:
        """Return the share of open dimensions of each gate, and log a warning for a gate that is closed everywhere."""
        shares = {key: float(gate.float().mean()) for key, gate in self.gates.items()}
        for key in (key for key, share in shares.items() if not share):
            log.warning("edit=%s gate=%s open_share=0: nothing was learned at the gated tokens", self.id, key)
        return shares

    def save(self, path: Path) -> None:
        """Write the edit as one safetensors file.

        Raises:
            RecordError: the file cannot be written.
        """
        tensors = {f"delta/{name}": delta for name, delta in self.deltas.items()}
        tensors |= {f"gate/{key}": gate for key, gate in self.gates.items()}
        tensors |= {f"frequency/{key}": frequency for key, frequency in self.frequencies.items()}
        about = {"format": FORMAT, "method": self.method, "settings": json.dumps(self.settings), "model": self.model}
        with replacing(path) as file:
            write_tensors(tensors, file, about)

    @classmethod
    @checked("unsee.Edit.load")
    def load(cls, path: str | Path) -> Edit:
        """Read an edit that `save` wrote.

        Raises:
            ModelError: the file cannot be read, or is no edit.
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
        try:
            settings = parse_json(about.get("settings", "{}"))
        except ValueError as error:
            raise ModelError(f"{path}: its settings are {error}; make the edit again") from error
        if not _are_settings(settings):
            raise ModelError(f"{path}: its settings are not those of an edit; make it again")
        return cls(
            method=about.get("method", ""), settings=settings, model=about.get("model", ""),
            deltas=found["delta"], gates=found["gate"], frequencies=found["frequency"],
        )  # fmt: skip


def _are_settings(value: object) -> bool:
    """Return True for a table whose edits that were merged have their ids."""
    parts = value.get("merged", []) if isinstance(value, dict) else None
    return isinstance(parts, list) and all(
        isinstance(part, dict) and isinstance(part.get("ids"), list) and all(isinstance(id, str) for id in part["ids"])
        for part in parts
    )


def write_tensors(tensors: Mapping[str, Tensor], path: Path, about: dict[str, str]) -> None:
    """Write one safetensors file."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, path, metadata=about)


def merge(edits: Sequence[Edit]) -> Edit:
    """Add several edits of one model up to one edit.

    Raises:
        ModelError: they were made for different models.
        ConfigError: one edit is in two of them, or two hold a gate of the same category and layer.
    """
    first, *others = edits
    if any(edit.model != first.model for edit in others):
        raise ModelError("these edits were made for different models and cannot be merged")
    ids: set[str] = set()
    for edit in edits:
        if shared := ids & edit.ids:
            raise ConfigError(f"edit {min(shared)} is in two of these edits; it cannot be merged with itself")
        ids |= edit.ids
    deltas: dict[str, Tensor] = {}
    gates: dict[str, Tensor] = {}
    frequencies: dict[str, Tensor] = {}
    for edit in edits:
        if twice := sorted(gates.keys() & edit.gates.keys()):
            raise ConfigError(f"two of these edits hold a gate of {twice[0]}; merging would lose one of them")
        for key, delta in edit.deltas.items():
            name = key.removesuffix(".weight")  # a module's name and that of its weight mean the same
            deltas[name] = deltas[name] + delta if name in deltas else delta
        gates |= edit.gates
        frequencies |= edit.frequencies
    settings = {"merged": [{**edit.settings, "ids": sorted(edit.ids), "method": edit.method} for edit in edits]}
    names = "+".join(dict.fromkeys(edit.method for edit in edits))
    return Edit(method=names, settings=settings, model=first.model, deltas=deltas, gates=gates, frequencies=frequencies)


@checked("unsee.Editor")
class Editor:
    """Applies edits to one model and takes them back.

    The weights as they were before the first edit are kept, and every change is computed from them. Taking an edit back
    therefore leaves exactly the bits that the remaining edits alone would leave. Weights that are tied are one
    parameter: it is changed once, whichever of its names an edit uses.
    """

    def __init__(self, vlm: VLM) -> None:
        self._vlm = vlm
        self._fingerprint = ""
        self._before: dict[str, Tensor] = {}
        self.edits: list[Edit] = []

    def apply(self, edit: Edit) -> None:
        """Add an edit to the model's weights.

        Raises:
            ModelError: it does not fit the model, or it is in the weights already; then nothing has changed.
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
            weight = self._parameter(name)
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
        """Set the weights to the kept ones plus these edits; a weight that none of them names gets its old bits."""
        wanted = [self._by_parameter(edit) for edit in edits]
        parameters = dict(self._vlm.model.named_parameters())
        for name in {*self._before, *(name for deltas in wanted for name in deltas)}:
            weight = parameters[name]
            before = self._before.setdefault(name, weight.detach().clone())
            total = before.float()
            deltas = [own[name] for own in wanted if name in own]
            for delta in deltas:
                total = total + delta.to(before.device)
            weight.copy_(total.to(before.dtype) if deltas else before)
        others = [id for id in applied(self._vlm) if not any(id in edit.ids for edit in self.edits)]
        ids = [*others, *(id for edit in edits for id in sorted(edit.ids))]
        setattr(self._vlm.model.config, APPLIED, ids)
        if not ids:
            delattr(self._vlm.model.config, APPLIED)  # so that the model is saved as if there never had been an edit
        self.edits = edits
        if not edits:
            self._before.clear()

    def _by_parameter(self, edit: Edit) -> dict[str, Tensor]:
        """Return an edit's deltas by the name of the parameter, one name for tied weights."""
        names = {parameter: name for name, parameter in self._vlm.model.named_parameters()}
        deltas: dict[str, Tensor] = {}
        for key, delta in edit.deltas.items():
            name = names[self._parameter(key)]
            if name in deltas and not torch.equal(deltas[name], delta):
                raise ModelError(
                    f"edit {edit.id} ({edit.method}): {key} is a second name of a weight of model {self._vlm.id}, "
                    "with another change than the first"
                )
            deltas[name] = delta
        return deltas

    def _parameter(self, name: str) -> nn.Parameter:
        """Return the `weight` of the module of this name, or else the parameter of this name."""
        module, _, own = name.rpartition(".")
        for path, attribute in ((name, "weight"), (module, own)):
            try:
                found = getattr(self._vlm.model.get_submodule(path), attribute, None)
            except AttributeError:
                continue
            if isinstance(found, nn.Parameter):
                return found
        raise ModelError(f"model {self._vlm.id}: has no weight {name}")


def applied(vlm: VLM) -> list[str]:
    """Return the ids of all edits in a model's weights, those saved with the model and those merged included."""
    return list(getattr(vlm.model.config, APPLIED, []))
