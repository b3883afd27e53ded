"""Partial forward passes: the decoder layers above one layer, at the tokens that a change of its output can reach.

Everything below is computed once; the keys and values of tokens that a change cannot reach are cached. The results
equal those of the whole model, which is checked with the first batch of each model.
Shape letters: B rows, T tokens of the packed row, V recomputed tokens, C cached tokens (T = C + V), D hidden width,
U tokens that predict an answer token.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from unsee.core.errors import ModelError
from unsee.forward.hooks import capture, last_mlp_at, replace_forward
from unsee.forward.losses import Scored
from unsee.forward.trees import Batch
from unsee.models import layers
from unsee.models.vlm import VLM

AUTO: Final = "auto"
OUR_ARGUMENTS = {
    "inputs_embeds", "input_ids", "attention_mask", "position_ids", "past_key_values", "use_cache", "cache_position",
}  # fmt: skip
"""Decoder arguments that we set ourselves. Any other tensor argument comes from the family and covers all tokens."""
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
_CHECKED: WeakKeyDictionary[nn.Module, set[tuple[int, bool, bool]]] = WeakKeyDictionary()
"""The kinds of partial pass that equal the whole model: (layer, some tokens are cached, the family adds arguments)."""


def decoder_layers(vlm: VLM) -> list[nn.Module]:
    """Return the decoder's layers, from the embeddings upwards."""
    return list(vlm.model.get_submodule(vlm.layout.decoder_layers).children())


def down_name(vlm: VLM, layer: int) -> str:
    """Return the name of the down projection of a layer's MLP."""
    return f"{vlm.layout.decoder_layers}.{layer}.{vlm.layout.mlp}.down_proj"


def layer_of(vlm: VLM, name: str) -> int:
    """Return the index of the decoder layer that contains a module."""
    return int(name.removeprefix(f"{vlm.layout.decoder_layers}.").partition(".")[0])


def parse_layers(vlm: VLM, text: str) -> list[int]:
    """Parse layers as `unsee.models.layers.parse_layers` does; "auto" is the layer at a third of the depth.

    Raises:
        ConfigError: the text has another form, or a layer is out of range.
    """
    count = len(decoder_layers(vlm))
    if text == AUTO:
        return [max(0, min(round(count / 3), count - 2))]  # no later token reads the last layer's output
    return layers.parse_layers(text, count, "layers")


class UpperLayers:
    """The decoder layers above one layer, ready to run again and again on one batch.

    Args:
        vlm: the model; its current weights are used for everything that is computed once.
        batch: the packed rows, on the model's device.
        layer: the layer whose output is the input here; -1 for the embedded tokens.
        changed_BT: the tokens at which that output will be changed; all of them by default.
        edited: the layers in which a module will be replaced. If the last layer is one of them, its MLP is computed for
            all tokens, otherwise only for those that predict an answer token.

    Attributes:
        hidden_BVD: the unchanged output of the layer at the recomputed tokens.

    Raises:
        ModelError: the upper layers depend on more than the layer's output.
    """

    def __init__(
        self, vlm: VLM, batch: Batch, layer: int, changed_BT: Tensor | None = None, *, edited: Collection[int] = ()
    ) -> None:
        self._vlm, self._batch = vlm, batch
        self._layers = decoder_layers(vlm)
        self._decoder = vlm.model.get_submodule(vlm.layout.decoder_layers.rpartition(".")[0])
        self._start = layer
        self._whole_last_mlp = len(self._layers) - 1 in edited
        checked = _CHECKED.setdefault(vlm.model, set())
        kind = (layer, changed_BT is not None, bool(batch.inputs.keys() - OUR_ARGUMENTS))
        idle = self._layers[layer + 1 :] if kind in checked else []
        watched = [self._layers[max(layer, 0)], self._decoder]
        with torch.no_grad(), capture(watched) as (seen, called), replace_forward(dict.fromkeys(idle, _identity)):
            final_BTD = vlm.hidden(batch.inputs)
        self._family_arguments = {
            name: value for name, value in called.named.items() if name not in OUR_ARGUMENTS and _holds_tensors(value)
        }
        hidden_BTD = seen.input if layer < 0 else seen.output
        self._choose_tokens(changed_BT, *hidden_BTD.shape[:2])
        mask, positions = batch.inputs["attention_mask"], batch.inputs["position_ids"]
        cache = DynamicCache()
        if self._cached_BC.shape[1]:
            with torch.no_grad():
                whole_BTD = self._run(hidden_BTD, mask, positions, cache, self._family_arguments)
            if kind not in checked:
                self._check(whole_BTD, final_BTD)
        kept: Any = list(enumerate(cache.layers))
        self._keys_values = [
            (index, _cached_states(part.keys, self._cached_BC), _cached_states(part.values, self._cached_BC))
            for index, part in kept
            if index > layer
        ]
        self._mask = _map_masks(mask, self._reduce_mask)
        self._positions = positions.gather(-1, self._run_BV.expand(*positions.shape[:-1], -1))
        self.hidden_BVD = self.pick(hidden_BTD)
        self._predicting_U = self._run_slots(batch.places[0], hidden_BTD.shape[1])
        if kind not in checked:
            with torch.no_grad():
                self._check(self._last_hidden_UD(self.hidden_BVD), final_BTD.flatten(0, 1)[batch.places[0]])
            checked.add(kind)

    def pick(self, values: Tensor) -> Tensor:
        """Return values (B, T) or (B, T, D) at the recomputed tokens, (B, V) or (B, V, D)."""
        order = self._run_BV if values.dim() == 2 else self._run_BV[..., None].expand(-1, -1, values.shape[2])
        return values.gather(1, order)

    def __call__(self, hidden_BVD: Tensor) -> Scored:
        """Score the batch's answers, given the layer's output at the recomputed tokens."""
        logits_UV = self._vlm.head()(self._last_hidden_UD(hidden_BVD))
        return Scored(logits_UV, self._batch.places[1], self._batch.target_N, self._batch.item_N, self._batch.num_items)

    def _last_hidden_UD(self, hidden_BVD: Tensor) -> Tensor:
        """Return the last hidden states at the predicting tokens."""
        cache = DynamicCache()
        for index, keys, values in self._keys_values:
            cache.update(keys, values, index)
        family_arguments = {} if self._cached_BC.shape[1] else self._family_arguments
        with nullcontext() if self._whole_last_mlp else last_mlp_at(self._vlm, self._predicting_U):
            return self._run(hidden_BVD, self._mask, self._positions, cache, family_arguments).flatten(0, 1)[
                self._predicting_U
            ]

    def _run(
        self, hidden: Tensor, mask: Any, positions: Tensor, cache: DynamicCache, family_arguments: Mapping[str, Any]
    ) -> Tensor:
        """Run the decoder with its lower layers skipped; the start layer returns `hidden` whatever comes before it."""
        idle: dict[nn.Module, Callable[..., Tensor]] = {module: _identity for module in self._layers[: self._start + 1]}
        if self._start >= 0:
            idle[self._layers[self._start]] = lambda *arguments, **named: hidden
        with replace_forward(idle):
            output: Tensor = self._decoder(
                inputs_embeds=hidden, attention_mask=mask, position_ids=positions, past_key_values=cache,
                use_cache=True, **family_arguments,
            ).last_hidden_state  # fmt: skip
        return output

    def _check(self, got: Tensor, wanted: Tensor) -> None:
        error = float((got - wanted).abs().max() / wanted.abs().max())
        if not error <= TOLERANCE[wanted.dtype]:
            raise ModelError(
                f"model {self._vlm.id}: its layers above {self._start} cannot be run alone (off by {error:.1e})"
            )

    def _choose_tokens(self, changed_BT: Tensor | None, rows: int, width: int) -> None:
        """Choose the cached and the recomputed tokens; all rows cache equally many, the minimum over rows."""
        if changed_BT is None:
            runs_BT = torch.ones(rows, width, dtype=torch.bool, device=self._vlm.device)
        else:
            mask = self._batch.inputs["attention_mask"]
            masks = list(mask.values()) if isinstance(mask, dict) else [mask]
            seen_BTT = torch.stack([part[:, 0] for part in masks]).any(0)
            runs_BT = (seen_BTT & changed_BT[:, None]).any(-1)
            runs_BT.flatten()[self._batch.places[0]] = True
            pictures_BT = self._batch.inputs["input_ids"] == self._vlm.family.image_token
            if self._family_arguments and (runs_BT & pictures_BT).any():  # the arguments cover all tokens
                runs_BT[:] = True
        num_cached = int((~runs_BT).sum(1).min())
        order_BT = runs_BT.int().argsort(dim=1, stable=True)
        self._cached_BC, self._run_BV = order_BT[:, :num_cached], order_BT[:, num_cached:].sort(1).values

    def _reduce_mask(self, mask_BHTT: Tensor) -> Tensor:
        """Return the attention mask of the recomputed tokens over cached and recomputed ones, (B, H, V, C + V)."""
        rows = mask_BHTT.gather(2, self._run_BV[:, None, :, None].expand(-1, 1, -1, mask_BHTT.shape[3]))
        columns_BT = torch.cat([self._cached_BC, self._run_BV], 1)
        return rows.gather(3, columns_BT[:, None, None].expand(-1, 1, rows.shape[2], -1))

    def _run_slots(self, place_U: Tensor, width: int) -> Tensor:
        """Turn places in the flattened (B * T) tokens into places in the flattened (B * V) recomputed ones."""
        rows, num_run = self._run_BV.shape
        slots_BV = torch.arange(rows * num_run, device=place_U.device).view(rows, num_run)
        slots_BT = torch.full((rows, width), -1, device=place_U.device).scatter(1, self._run_BV, slots_BV)
        return slots_BT.flatten()[place_U]


def _identity(hidden_states: Tensor, *arguments: Any, **named: Any) -> Tensor:
    return hidden_states


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value))


def _cached_states(states: Tensor, order_BC: Tensor) -> Tensor:
    """Return keys or values (B, heads, T, width) at the cached tokens."""
    return states.gather(2, order_BC[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3])).clone()


def _map_masks(mask: Any, change: Any) -> Any:
    return {kind: change(part) for kind, part in mask.items()} if isinstance(mask, dict) else change(mask)
