"""A cache of keys and values whose memory is reserved once."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


def reserved_cache(length: int) -> Cache:
    """Return an empty cache with room for so many tokens."""
    return Cache(layer_class_to_replicate=partial(_Reserved, length))  # type: ignore[arg-type]


class _Reserved(DynamicLayer):
    """Keys and values of a layer in memory reserved once, so that adding a token copies none of the earlier ones.

    Layers with a sliding window keep all tokens too; the mask implements the window.
    """

    def __init__(self, length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._length, self._used = length, 0

    def update(self, key_states: Tensor, value_states: Tensor, *arguments: Any, **named: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values, and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._room = [
                new.new_empty(*new.shape[:2], self._length, new.shape[3]) for new in (key_states, value_states)
            ]
        end = self._used + key_states.shape[2]
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, self._used : end] = new
        self._used = end
        self.keys, self.values = (room[:, :, :end] for room in self._room)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows."""
        self._room = [room[indices] for room in self._room]
        self.keys, self.values = (room[:, :, : self._used] for room in self._room)
