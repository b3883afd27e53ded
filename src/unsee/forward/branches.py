"""Attention that leaves out most of what no token of a packed row sees.

torch's kernel computes the whole square of a row: a photo and forty questions of 25 tokens are 1,075 x 1,075 products,
although each question sees only the photo and itself. Here a row is cut into chunks of whole branches (the subtrees
below the root), and each chunk attends to the root and to itself:

    row     root | Q1 A1 | Q2 A2 | Q3 A3 | Q4 A4      two branches to a chunk
    chunk 0 root                                      sees root
    chunk 1        Q1 A1   Q2 A2                      sees root, and its own tokens as the mask says
    chunk 2                        Q3 A3   Q4 A4      the same

The chunks are the rows of one call of the same kernel, so the result is the same up to rounding. The mask carries its
chunks to the attention function, which replaces `sdpa` of transformers; any mask without chunks is computed as before.
On a GPU no mask has chunks, since torch drops them when it copies a mask there.
Shape letters: B rows, T tokens to compute of a row, K all tokens of a row, G chunks, L tokens of a chunk, S tokens that
a chunk may see, H heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

SMALLEST = 96
"""A chunk takes branches up to this number of tokens, or up to the longest branch: smaller ones cost more calls."""
WORTH = 0.5
"""Rows are cut if the chunks are less than this share of the squares."""
_CHUNKS = "unsee_chunks"


@dataclass(frozen=True)
class Branches:
    """Where the branches of a row are.

    Attributes:
        root: number of tokens of the root.
        lengths: number of tokens of each branch, in order.
    """

    root: int
    lengths: Sequence[int]

    def chunks(self, begin: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield the first token and the end of each chunk, from the token `begin` of the root on."""
        for first in range(begin, self.root, size):
            yield first, min(first + size, self.root)
        first = end = self.root
        for length in self.lengths:
            if end + length - first > size and end > first:
                yield first, end
                first = end
            end += length
        if end > first:
            yield first, end


class Chunks:
    """The chunks of a batch of rows, as indices into its flattened tokens.

    Args:
        mask_B1TK: what each token sees.
        spans: for each chunk its row, its first token, its end, and the number of tokens of the row's root.
        begin: the first token of each row that is computed; the keys and values of those before come from a cache.

    Attributes:
        shape: of the mask.
        mask_G1LS: what each token of a chunk sees of the root and of its chunk.
    """

    def __init__(self, mask_B1TK: Tensor, spans: Sequence[tuple[int, int, int, int]], begin: int) -> None:
        self.shape = mask_B1TK.shape
        num_tokens, num_keys = self.shape[2:]
        row_G, first_G, end_G, root_G = torch.tensor(spans).T
        step_L, step_R = torch.arange(int((end_G - first_G).max())), torch.arange(int(root_G.max()))
        own_GL = first_G[:, None] + step_L
        real_GL = own_GL < end_G[:, None]
        own_GL = torch.where(real_GL, own_GL, first_G[:, None])
        within_GS = torch.cat([step_R.expand(len(spans), -1), own_GL], 1)
        is_key_GS = torch.cat([step_R < root_G[:, None], real_GL & (own_GL >= root_G[:, None])], 1)
        within_GS = torch.where(is_key_GS, within_GS, 0)
        query_GL = own_GL - begin
        self._num_chunks, _ = own_GL.shape
        self._query = (row_G[:, None] * num_tokens + query_GL).flatten()
        self._key = (row_G[:, None] * num_keys + within_GS).flatten()
        place_BT = torch.zeros(self.shape[0] * num_tokens, dtype=torch.long)  # padding gets the first token's output
        place_BT[self._query[real_GL.flatten()]] = torch.arange(own_GL.numel())[real_GL.flatten()]
        self._place = place_BT
        sees_GLS = mask_B1TK[row_G[:, None, None], 0, query_GL[:, :, None], within_GS[:, None]]
        self.mask_G1LS = (sees_GLS & is_key_GS[:, None])[:, None]

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, **named: Any) -> tuple[Tensor, None]:
        """Return the output of attention (B, T, H, D), from queries, keys and values (B, H, T or K, D)."""
        batch, heads, tokens, _ = query.shape
        query, key, value = self._taken(query, self._query), self._taken(key, self._key), self._taken(value, self._key)
        output_GLHD, _ = sdpa_attention_forward(module, query, key, value, self.mask_G1LS, **named)
        output = output_GLHD.flatten(0, 1).flatten(1).index_select(0, self._place)
        return output.view(batch, tokens, heads, -1), None

    def _taken(self, value_BHTD: Tensor, index: Tensor) -> Tensor:
        _, heads, _, width = value_BHTD.shape
        flat = value_BHTD.transpose(1, 2).flatten(2).flatten(0, 1)  # index_select has a faster gradient than indexing
        return flat.index_select(0, index).view(self._num_chunks, -1, heads, width).transpose(1, 2)


def cut(mask: Any, rows: Sequence[Branches], begin: int = 0) -> None:
    """Let a mask (B, 1, T, K) carry the chunks of its rows, if that saves work; also each of several masks by name.

    Args:
        mask: as `Family.mask` returns it.
        rows: the branches of each row.
        begin: the first token of each row that is computed.
    """
    if isinstance(mask, dict):
        for one in mask.values():
            cut(one, rows, begin)
        return
    size = max([SMALLEST, *(length for row in rows for length in row.lengths)])
    spans = [(i, first, end, row.root) for i, row in enumerate(rows) for first, end in row.chunks(begin, size)]
    if mask.dtype != torch.bool or not spans:
        return
    length, root = max(end - first for _, first, end, _ in spans), max(row.root for row in rows)
    if len(spans) * length * (root + length) < WORTH * mask.numel():
        _replace_attention()
        setattr(mask, _CHUNKS, Chunks(mask, spans, begin))


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **named: Any
) -> tuple[Tensor, None]:
    chunks: Chunks | None = getattr(attention_mask, _CHUNKS, None)
    if chunks is not None and (len(query), query.shape[2], key.shape[2]) == (chunks.shape[0], *chunks.shape[2:]):
        return chunks.attend(module, query, key, value, **named)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **named)


@cache
def _replace_attention() -> None:
    AttentionInterface.register("sdpa", _attention)
