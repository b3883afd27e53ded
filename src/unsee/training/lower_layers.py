"""Keeps the output of frozen lower layers: with adapters in upper layers only, a row that comes again skips the rest.

The rows are kept in memory by their content: embedded tokens and pictures, positions and mask, under a hash of the
weights of the lower layers. So teaching, oracles and unlearning of one run share them. The first pass of each model is
compared with the whole model.
Shape letters: B rows, T tokens, L tokens of a row without padding, D hidden width.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from unsee.edits.partial_forward import OUR_ARGUMENTS, TOLERANCE, decoder_layers
from unsee.forward.hooks import capture, replace_forward
from unsee.models.vlm import VLM, content

log = logging.getLogger(__name__)

LIMIT_BYTES = 4 * 2**30
"""Rows beyond these are computed every time."""


class LowerLayers:
    """The decoder layers below the lowest one that is trained.

    Args:
        vlm: the model, with an adapter.
        count: the number of these layers, at least 1.

    Attributes:
        hits: rows that were found.
        misses: rows that were computed.
    """

    def __init__(self, vlm: VLM, count: int) -> None:
        self._vlm = vlm
        layers = decoder_layers(vlm)
        self._lower, self._upper = layers[:count], layers[count:]
        self._decoder = vlm.model.get_submodule(vlm.layout.decoder_layers.rpartition(".")[0])
        self._kept = _rows_under(vlm, _digest(self._lower))
        self._checked = self._off = False
        self.hits = self.misses = 0

    def hidden(self, inputs: Mapping[str, Any]) -> Tensor:
        """Return the hidden states of the last layer (B, T, D), as `VLM.hidden` does; those of padding are others."""
        lower_BTD = None
        if not self._off:
            with torch.no_grad():
                lower_BTD = self._lower_output(inputs)
                self._off = lower_BTD is None or not (self._checked or self._is_exact(lower_BTD, inputs))
                self._checked = True
        if lower_BTD is None or self._off:
            return self._vlm.hidden(dict(inputs))
        return self._run(lower_BTD, inputs, skipped=self._lower)

    def _is_exact(self, lower_BTD: Tensor, inputs: Mapping[str, Any]) -> bool:
        """Return True if the upper layers alone give what the whole model gives; else warn."""
        wanted = self._vlm.hidden(dict(inputs))
        off_BTD = (self._run(lower_BTD, inputs, skipped=self._lower) - wanted).abs()
        real_BT = lower_BTD.any(-1)  # padding is 0
        error = float(off_BTD[real_BT].max() / wanted.abs().max())
        if not error <= TOLERANCE[wanted.dtype]:
            log.warning("the output of lower layers is not kept model=%s error=%.1e", self._vlm.id, error)
        return error <= TOLERANCE[wanted.dtype]

    def _lower_output(self, inputs: Mapping[str, Any]) -> Tensor | None:
        """Return the output of the lower layers; None if they are given more than tokens, positions and a mask."""
        everything = [*self._lower, *self._upper]
        with capture([everything[0], self._decoder]) as (first, called), replace_forward(_skip(everything)):
            self._vlm.hidden(dict(inputs))
        if any(isinstance(value, Tensor) for name, value in called.named.items() if name not in OUR_ARGUMENTS):
            return None
        embedded_BTD, mask = first.input, inputs["attention_mask"]
        keys, lengths = zip(*(self._key(row, embedded_BTD, inputs) for row in range(len(embedded_BTD))), strict=True)
        lacking = [row for row, key in enumerate(keys) if key not in self._kept]
        self.misses, self.hits = self.misses + len(lacking), self.hits + len(keys) - len(lacking)
        computed: dict[int, Tensor] = {}
        if lacking:
            some = torch.tensor(lacking, device=embedded_BTD.device)
            positions = inputs["position_ids"]
            part = {"attention_mask": _of_rows(mask, some), "position_ids": positions.index_select(-2, some)}
            with capture([self._lower[-1]]) as (last,):
                self._run(embedded_BTD[some], part, skipped=self._upper)
            computed = {row: last.output[place, : lengths[row]] for place, row in enumerate(lacking)}
        held = sum(tensor.nbytes for tensor in self._kept.values())
        lower_BTD = torch.zeros_like(embedded_BTD)
        for row, (key, length) in enumerate(zip(keys, lengths, strict=True)):
            state_LD = computed[row] if row in computed else self._kept[key]
            lower_BTD[row, :length] = state_LD
            if row in computed and held + state_LD.nbytes <= LIMIT_BYTES:
                self._kept[key] = state_LD.clone()
                held += state_LD.nbytes
        return lower_BTD

    def _key(self, row: int, embedded_BTD: Tensor, inputs: Mapping[str, Any]) -> tuple[bytes, int]:
        """Return a hash of everything that decides a row's output, and the number of its tokens."""
        masks = _masks(inputs["attention_mask"])
        seen_TT = torch.stack([mask[row].any(0) for mask in masks]).any(0)
        more = (seen_TT.sum(-1) > 1).nonzero()  # padding sees itself alone, as the first token does
        length = int(more[-1]) + 1 if len(more) else 1
        digest = hashlib.sha256(content(embedded_BTD[row, :length]))
        digest.update(content(inputs["position_ids"][..., row, :length]))
        for mask in masks:
            digest.update(content(mask[row, ..., :length, :length]))
        return digest.digest(), length

    def _run(self, states_BTD: Tensor, inputs: Mapping[str, Any], skipped: Sequence[nn.Module]) -> Tensor:
        """Run the decoder without some of its layers."""
        with replace_forward(_skip(skipped)):
            output: Tensor = self._decoder(
                inputs_embeds=states_BTD, attention_mask=inputs["attention_mask"],
                position_ids=inputs["position_ids"], use_cache=False,
            ).last_hidden_state  # fmt: skip
        return output


def lower_layers(vlm: VLM, hidden_layers: Sequence[int] = ()) -> LowerLayers | None:
    """Return the layers whose output can be kept while the model is trained as it is prepared now.

    Args:
        vlm: the model, prepared for training.
        hidden_layers: decoder layers whose outputs a method reads.

    Returns:
        None if the lowest layer is trained, or anything beside the decoder's layers, or if a lower output is read.
    """
    if vlm.adapter is None or vlm.divided:
        return None
    inside = f"{vlm.layout.decoder_layers}."
    trained = [name for name, parameter in vlm.model.named_parameters() if parameter.requires_grad]
    if not trained or not all(name.startswith(inside) for name in trained):
        return None
    lowest = min(int(name.removeprefix(inside).partition(".")[0]) for name in trained)
    if not lowest or any(layer < lowest for layer in hidden_layers):
        return None
    return LowerLayers(vlm, lowest)


_KEPT: WeakKeyDictionary[VLM, tuple[bytes, dict[bytes, Tensor]]] = WeakKeyDictionary()
"""For each model the hash of its lower layers, and the rows that were computed with them."""


def _rows_under(vlm: VLM, digest: bytes) -> dict[bytes, Tensor]:
    if vlm not in _KEPT or _KEPT[vlm][0] != digest:
        _KEPT[vlm] = digest, {}
    return _KEPT[vlm][1]


def _digest(layers: Sequence[nn.Module]) -> bytes:
    digest = hashlib.sha256(str(len(layers)).encode())
    for layer in layers:
        for tensor in layer.state_dict().values():
            digest.update(content(tensor))
    return digest.digest()


def _skip(layers: Sequence[nn.Module]) -> dict[nn.Module, Any]:
    return dict.fromkeys(layers, lambda hidden_states, *arguments, **named: hidden_states)


def _masks(mask: Any) -> list[Tensor]:
    return list(mask.values()) if isinstance(mask, dict) else [mask]


def _of_rows(mask: Any, rows: Tensor) -> Any:
    return {kind: part[rows] for kind, part in mask.items()} if isinstance(mask, dict) else mask[rows]
