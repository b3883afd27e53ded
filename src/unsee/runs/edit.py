"""Edits one model from a file of privacy pairs. Inputs are checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from unsee.config.recipe import build_dataclass
from unsee.core.errors import ConfigError
from unsee.core.files import replacing
from unsee.core.progress import Progress
from unsee.core.record import check_free, check_writable
from unsee.data.pairs import load_pairs
from unsee.edits.edit import Edit, Editor
from unsee.edits.pair_rows import ANSWER_TOKENS, answered, check_pairs
from unsee.forward.vision_cache import cached_vision
from unsee.methods import METHODS
from unsee.methods.base import EditMethod, Work
from unsee.models.vlm import VLM
from unsee.runtime.cache import Cache
from unsee.scoring.names import readable


class EditRow(NamedTuple):
    """The change of an edit to one weight, as text."""

    edit: str
    method: str
    weight: str
    shape: str
    norm: str
    gate: str


@dataclass(frozen=True)
class EditJob:
    """One edit as the command line asks for it.

    Attributes:
        model: a shipped model's name, a folder or a hub id.
        data: a file of privacy pairs.
        method: an edit method's name.
        options: its options.
        frequencies: an earlier edit of the same method, whose gate frequencies are used again; Neural Gate only.
    """

    model: str
    data: Path
    method: str
    options: Mapping[str, Any]
    frequencies: Path | None = None

    def run(self, out: Path, work: Work, *, whole: bool = False) -> Edit:
        """Compute the edit, write it to `out/edit.safetensors`, and if `whole` the edited model to `out/model`.

        Raises:
            UnseeError: the options, the pairs, the model, the earlier edit or the folder cannot be used; nothing is
                written.
        """
        check_writable(out)
        if whole:
            check_free(out / "model")
        method = self._method()
        if self.frequencies and not method.reuses_frequencies:
            raise ConfigError(f"frequencies: method {self.method} has no gates to cut from them")
        earlier = Edit.load(self.frequencies) if self.frequencies else None
        pairs = load_pairs(self.data)
        cache = Cache(out)
        vlm = VLM.load(self.model)
        check_pairs(vlm, pairs)
        with work.progress.stage(f"edit {readable(self.method)}") as progress, cached_vision(vlm, cache):
            pairs = answered(vlm, pairs, max_new_tokens=ANSWER_TOKENS)
            edit = method.edit(vlm, pairs, replace(work, progress=progress, earlier=earlier, cache=cache))
        edit.save(out / "edit.safetensors")
        if whole:
            Editor(vlm).apply(edit)
            with replacing(out / "model") as folder:
                vlm.save(folder)
        return edit

    def _method(self) -> EditMethod:
        method = build_dataclass(METHODS.get(self.method), self.options, f"method.{self.method}")
        if not isinstance(method, EditMethod):
            editors = [name for name, cls in METHODS.usable().items() if issubclass(cls, EditMethod)]
            raise ConfigError(f"method {self.method}: does not edit a model (these do: {', '.join(editors)})")
        return method


def apply_edits(model: str, paths: list[Path], out: Path, progress: Progress) -> list[Edit]:
    """Apply edits to a model and write it; nothing is written unless all of them fit.

    Raises:
        UnseeError: the model or an edit cannot be read, they do not belong together, or the folder is not empty.
    """
    check_free(out)
    edits = [Edit.load(path) for path in paths]
    vlm = VLM.load(model)
    editor = Editor(vlm)
    with progress.task("apply edits", len(edits)) as advance:
        for edit in edits:
            editor.apply(edit)
            advance(1)
    with progress.task("write the model", 1) as advance, replacing(out) as folder:
        vlm.save(folder)
        advance(1)
    return edits


def edit_rows(edit: Edit) -> list[EditRow]:
    """Return one row per weight; the gate is shown as the share of open dimensions in each category."""
    rows, shares = [], edit.open_shares()
    for name, delta in edit.deltas.items():
        by_layer = [(*key.rsplit("/", 1), share) for key, share in shares.items()]
        gate = ", ".join(f"{category} {share:.2f}" for category, layer, share in by_layer if f".{layer}." in name)
        shape = " x ".join(map(str, delta.shape))
        rows.append(EditRow(edit.id, edit.method, name, shape, f"{float(delta.norm()):.4g}", gate))
    return rows
