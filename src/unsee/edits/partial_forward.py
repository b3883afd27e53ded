"""The part of a model that an edit can change, run alone: the decoder layers above one layer, on the tokens that move.

What lies below is computed once; tokens that cannot see a change keep their keys and values. The numbers are those of
the whole model; that is checked with the first batch a model is run on in this way.
Shape letters: A axes of positions, B rows, T tokens of the packed row, V those that run, C those that stay as they are
(T = C + V), D hidden width, U places that predict something.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from unsee.core.errors import ConfigError, ModelError
from unsee.forward.hooks import capture, last_mlp_at, replace
from unsee.forward.losses import Scored
from unsee.forward.trees import Batch
from unsee.models.vlm import VLM

AUTO: Final = "auto"
OWN = {"inputs_embeds", "input_ids", "attention_mask", "position_ids", "past_key_values", "use_cache", "cache_position"}
"""What the decoder is given by us; anything else that holds tensors a family lays beside it, for all tokens."""
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
_FOUND_SOUND: WeakKeyDictionary[nn.Module, set[tuple[int, bool, bool]]] = WeakKeyDictionary()
"""The ways in which each model gave its own numbers: from which layer, some tokens kept, something laid beside."""


def decoder_layers(vlm: VLM) -> list[nn.Module]:
    """The decoder's layers, the first one nearest to the tokens."""
    return list(vlm.model.get_submodule(vlm.layout.decoder_layers).children())


def down_name(vlm: VLM, layer: int) -> str:
    """The name of the matrix through which the layer's MLP writes into the residual stream."""
    return f"{vlm.layout.decoder_layers}.{layer}.{vlm.layout.mlp}.down_proj"


def layer_of(vlm: VLM, name: str) -> int:
    """The decoder layer that a module is part of."""
    return int(name.removeprefix(f"{vlm.layout.decoder_layers}.").partition(".")[0])


def parse_layers(vlm: VLM, text: str) -> list[int]:
    """Layers written as "3", "2,5" or "4-7", lowest first; "auto" is the layer at a third of the depth.

    Raises:
        ConfigError: it is written otherwise, or a layer is out of range.
    """
    last = len(decoder_layers(vlm)) - 1
    if text == AUTO:
        return [max(0, min(round((last + 1) / 3), last - 1))]  # what the last layer gives, no later token sees
    found: set[int] = set()
    for part in text.split(","):
        start, dash, end = part.strip().partition("-")
        if not start.isdecimal() or not (end or start).isdecimal() or (dash and not end):
            raise ConfigError(f"layers: must be written as 3, 2,5 or 4-7, got '{text}'")
        found |= set(range(int(start), int(end or start) + 1))
        if not found or max(found) > last:
            raise ConfigError(f"layers: '{text}' is out of range; model {vlm.id} has the layers 0 to {last}")
    return sorted(found)


class Above:
    """One batch from the output of a decoder layer upwards.

    Args:
        vlm: the model, with the weights that the part below is to have.
        batch: the packed rows, on the model's device.
        layer: the layer whose output is the start; -1 for the embedded tokens.
        changed_BT: the tokens at which that output will be changed; all of them by default.
        edited: the layers of which a part will be replaced; the last one's MLP is computed for all tokens if it is one
            of them, otherwise only where something is predicted.

    Attributes:
        hidden_BVD: the output of the layer, unchanged, at the tokens that run.

    Raises:
        ModelError: the family's upper layers depend on more than the layer's output.
    """

    def __init__(
        self, vlm: VLM, batch: Batch, layer: int, changed_BT: Tensor | None = None, *, edited: Collection[int] = ()
    ) -> None:
        self._vlm, self._batch = vlm, batch
        self._layers = decoder_layers(vlm)
        self._decoder = vlm.model.get_submodule(vlm.layout.decoder_layers.rpartition(".")[0])
        self._start = layer
        self._last_whole = len(self._layers) - 1 in edited
        sound = _FOUND_SOUND.setdefault(vlm.model, set())
        way = (layer, changed_BT is not None, bool(batch.inputs.keys() - OWN))
        idle = self._layers[layer + 1 :] if way in sound else []
        watched = [self._layers[max(layer, 0)], self._decoder]
        with torch.no_grad(), capture(watched) as (seen, called), replace(dict.fromkeys(idle, _pass_on)):
            final_BTD = vlm.hidden(batch.inputs)
        self._beside = {
            name: value for name, value in called.named.items() if name not in OWN and _holds_tensors(value)
        }
        hidden_BTD = seen.input if layer < 0 else seen.output
        self._order(changed_BT, *hidden_BTD.shape[:2])
        mask, positions = batch.inputs["attention_mask"], batch.inputs["position_ids"]
        cache = DynamicCache()
        if self._order_BC.shape[1]:
            with torch.no_grad():
                whole_BTD = self._run(hidden_BTD, mask, positions, cache, self._beside)
            if way not in sound:
                self._check(whole_BTD, final_BTD)
        kept: Any = list(enumerate(cache.layers))
        self._kept = [
            (index, _rows(part.keys, self._order_BC), _rows(part.values, self._order_BC))
            for index, part in kept
            if index > layer
        ]
        self._mask = _map(mask, self._seen)
        self._positions = positions.gather(-1, self._order_BV.expand(*positions.shape[:-1], -1))
        self.hidden_BVD = self.pick(hidden_BTD)
        self._source_U = self._slots(batch.places[0], hidden_BTD.shape[1])
        if way not in sound:
            with torch.no_grad():
                self._check(self._again(self.hidden_BVD), final_BTD.flatten(0, 1)[batch.places[0]])
            sound.add(way)

    def pick(self, values: Tensor) -> Tensor:
        """Of values (B, T) or (B, T, D) those of the tokens that run."""
        order = self._order_BV if values.dim() == 2 else self._order_BV[..., None].expand(-1, -1, values.shape[2])
        return values.gather(1, order)

    def __call__(self, hidden_BVD: Tensor) -> Scored:
        """Scores of the batch's answers if this is what the layer gives at the tokens that run."""
        logits_UV = self._vlm.head()(self._again(hidden_BVD))
        return Scored(logits_UV, self._batch.places[1], self._batch.target_N, self._batch.item_N, self._batch.num_items)

    def _again(self, hidden_BVD: Tensor) -> Tensor:
        """Last hidden states where something is predicted, (U, D)."""
        cache = DynamicCache()
        for index, keys, values in self._kept:
            cache.update(keys, values, index)
        beside = {} if self._order_BC.shape[1] else self._beside
        with nullcontext() if self._last_whole else last_mlp_at(self._vlm, self._source_U):
            return self._run(hidden_BVD, self._mask, self._positions, cache, beside).flatten(0, 1)[self._source_U]

    def _run(
        self, hidden: Tensor, mask: Any, positions: Tensor, cache: DynamicCache, beside: Mapping[str, Any]
    ) -> Tensor:
        """The decoder with its lower layers idle; what it adds to the stream below the start has no effect."""
        idle: dict[nn.Module, Callable[..., Tensor]] = {module: _pass_on for module in self._layers[: self._start + 1]}
        if self._start >= 0:
            idle[self._layers[self._start]] = lambda *arguments, **named: hidden
        with replace(idle):
            output: Tensor = self._decoder(
                inputs_embeds=hidden, attention_mask=mask, position_ids=positions, past_key_values=cache,
                use_cache=True, **beside,
            ).last_hidden_state  # fmt: skip
        return output

    def _check(self, got: Tensor, wanted: Tensor) -> None:
        error = float((got - wanted).abs().max() / wanted.abs().max())
        if not error <= TOLERANCE[wanted.dtype]:
            raise ModelError(
                f"model {self._vlm.id}: its layers above {self._start} cannot be run alone (off by {error:.1e})"
            )

    def _order(self, changed_BT: Tensor | None, rows: int, width: int) -> None:
        """Tokens that stay, then those that run; as many stay in every row as in the row where the fewest do."""
        if changed_BT is None:
            runs_BT = torch.ones(rows, width, dtype=torch.bool, device=self._vlm.device)
        else:
            mask = self._batch.inputs["attention_mask"]
            masks = list(mask.values()) if isinstance(mask, dict) else [mask]
            seen_BTT = torch.stack([part[:, 0] for part in masks]).any(0)
            runs_BT = (seen_BTT & changed_BT[:, None]).any(-1)
            runs_BT.flatten()[self._batch.places[0]] = True
            pictures_BT = self._batch.inputs["input_ids"] == self._vlm.family.image_token
            if self._beside and (runs_BT & pictures_BT).any():  # what is put beside pictures is laid out for all tokens
                runs_BT[:] = True
        num_stay = int((~runs_BT).sum(1).min())
        order_BT = runs_BT.int().argsort(dim=1, stable=True)
        self._order_BC, self._order_BV = order_BT[:, :num_stay], order_BT[:, num_stay:].sort(1).values

    def _seen(self, mask_BHTT: Tensor) -> Tensor:
        rows = mask_BHTT.gather(2, self._order_BV[:, None, :, None].expand(-1, 1, -1, mask_BHTT.shape[3]))
        columns_BT = torch.cat([self._order_BC, self._order_BV], 1)
        return rows.gather(3, columns_BT[:, None, None].expand(-1, 1, rows.shape[2], -1))

    def _slots(self, place_U: Tensor, width: int) -> Tensor:
        rows, num_run = self._order_BV.shape
        slots_BV = torch.arange(rows * num_run, device=place_U.device).view(rows, num_run)
        slots_BT = torch.full((rows, width), -1, device=place_U.device).scatter(1, self._order_BV, slots_BV)
        return slots_BT.flatten()[place_U]


def _pass_on(hidden_states: Tensor, *arguments: Any, **named: Any) -> Tensor:
    return hidden_states


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value))


def _rows(states: Tensor, order_BC: Tensor) -> Tensor:
    """The keys or values (B, heads, T, width) of some tokens of each row."""
    return states.gather(2, order_BC[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3])).clone()


def _map(mask: Any, change: Any) -> Any:
    return {kind: change(part) for kind, part in mask.items()} if isinstance(mask, dict) else change(mask)
