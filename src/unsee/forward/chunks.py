"""Attention that leaves out most of what no token of a packed row sees.

torch's kernel computes the whole square of a row: a photo and forty questions of 25 tokens make 1,075² products,
although each question sees only the photo and itself. Here the tokens of a row are cut into chunks of `LENGTH`, and
each chunk attends only to the tokens that one of its own sees:

    row           photo           | Q1 A1 Q2 A2        | Q3 A3 Q4 A4 ...
    attends to    photo           | photo Q1 A1 Q2 A2  | photo Q3 A3 Q4 A4

The chunks are the rows of one call of the same kernel, so the result is the same up to rounding. A mask carries its
chunks to the attention function, which takes the place of transformers' "sdpa"; a mask without chunks is computed as
before. Masks of a model on a GPU get none: a copy to another device would not carry them.
Shape letters: B rows, T tokens to compute of a row, K all tokens of a row, C chunks of a row, G chunks of all rows,
L tokens of a chunk, S tokens that a chunk sees, H heads, D width of a head.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

LENGTH = 96
"""Most tokens of a chunk. Longer ones see more than they need; shorter ones make the kernel's calls small."""
WORTH = 0.6
"""A mask gets chunks if they take less than this share of the products of its square."""
_CHUNKS = "unsee_chunks"


class Chunks:
    """The chunks of a batch of rows, and which tokens each of them attends to.

    Args:
        mask_B1TK: True where a token sees another; each token sees at least one.

    Attributes:
        shape: of the mask.
        share: the products that the chunks take, as a share of the whole square's.
    """

    def __init__(self, mask_B1TK: Tensor) -> None:
        self.shape = num_rows, _, num_tokens, num_keys = mask_B1TK.shape
        self._num_chunks = -(-num_tokens // LENGTH)
        self._length = -(-num_tokens // self._num_chunks)
        token_CL = torch.arange(self._num_chunks * self._length).clamp(max=num_tokens - 1)  # the last one is repeated
        mask_GLK = mask_B1TK[:, 0, token_CL].view(num_rows * self._num_chunks, self._length, num_keys)
        seen_GK = mask_GLK.any(1)
        num_seen = int(seen_GK.sum(1).max())
        self.share = len(token_CL) * num_seen / (num_tokens * num_keys)
        if self.share < WORTH:
            key_GS = seen_GK.byte().argsort(dim=1, descending=True, stable=True)[:, :num_seen]
            self._mask_G1LS = mask_GLK.gather(2, key_GS[:, None].expand(-1, self._length, -1))[:, None]
            row_B = torch.arange(num_rows)
            self._query = (row_B[:, None] * num_tokens + token_CL).flatten()
            self._key = (row_B.repeat_interleave(self._num_chunks)[:, None] * num_keys + key_GS).flatten()

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, **named: Any) -> tuple[Tensor, None]:
        """Return the output of attention (B, T, H, D), from queries (B, H, T, D), keys and values (B, H, K, D)."""
        num_rows, num_heads, num_tokens, _ = query.shape
        parts = (self._part(query, self._query), self._part(key, self._key), self._part(value, self._key))
        output_GLHD, _ = sdpa_attention_forward(module, *parts, attention_mask=self._mask_G1LS, **named)
        return output_GLHD.reshape(num_rows, -1, num_heads, value.shape[3])[:, :num_tokens], None

    def _part(self, value_BHTD: Tensor, index: Tensor) -> Tensor:
        _, num_heads, _, width = value_BHTD.shape
        flat = value_BHTD.transpose(1, 2).flatten(2).flatten(0, 1)
        part = flat.index_select(0, index)  # its gradient is many times faster than that of `flat[index]`
        return part.view(len(self._mask_G1LS), -1, num_heads, width).transpose(1, 2)


def cut(mask: Tensor | dict[str, Tensor]) -> None:
    """Let an attention mask, bool (B, 1, T, K), carry its chunks if they save work; also each of several masks."""
    for one in mask.values() if isinstance(mask, dict) else [mask]:
        if one.dtype == torch.bool and one.shape[2] > LENGTH and (chunks := Chunks(one)).share < WORTH:
            _replace_attention()
            setattr(one, _CHUNKS, chunks)


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **named: Any
) -> tuple[Tensor, None]:
    chunks: Chunks | None = getattr(attention_mask, _CHUNKS, None)
    same_shape = chunks and (len(query), query.shape[2], key.shape[2]) == (chunks.shape[0], *chunks.shape[2:])
    if chunks and same_shape and named.get("position_bias") is None:
        return chunks.attend(module, query, key, value, **named)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **named)


@cache
def _replace_attention() -> None:
    AttentionInterface.register("sdpa", _attention)
