"""Scores and answers from one forward pass over prompt trees, which compute shared tokens once.

A photo with two questions and three answers to score (the tree of `trees.py`), where both questions are also answered
in the model's own words:

    forward pass    photo | Q1 | A1 | A2 | Q2 | A3             scores A1, A2 and A3, and fills the cache
    step 1                                         | a1 | b1   the likeliest token after Q1, and the one after Q2
    step 2                                                   | a2 | b2

    a2 sees         photo   Q1                       a1        a2
    b2 sees         photo             Q2                  b1        b2

So every question of a row gets one slot in each step, and a row has as many slots as questions not yet at their end.
Trees of a group that begin alike (shots and their photos, a system text) share a cache of that beginning.

Shape letters: A axes of positions, B rows, Q questions being answered, S slots of a row in one step, T tokens of a row,
K all tokens so far, U distinct tokens that predict something, N scored tokens, D hidden width, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from unsee.forward.hooks import last_mlp_at
from unsee.forward.losses import Scored, pieces
from unsee.forward.reserved_cache import reserved_cache
from unsee.forward.trees import Node, Rows, Tree, lay_out, model_inputs, moved_to, shared_length, targets
from unsee.models.family import Picture
from unsee.models.vlm import VLM
from unsee.runtime.distributed import share, union

BATCH_TOKENS = 8192
Choose = Callable[[Tensor], Tensor]
"""Returns the next token of each question (Q), on the CPU, from the logits (Q, V)."""
ALIKE = 0.9  # a row shorter than this share of its batch's longest starts a new batch if that one is large enough


@dataclass(frozen=True)
class Group:
    """Questions that share a beginning, for callers that have prompts and no tree.

    Attributes:
        prefix: the tokens of the beginning.
        suffixes: the other tokens of each question.
        pictures: the pictures in the beginning.
    """

    prefix: list[int]
    suffixes: list[list[int]]
    pictures: tuple[Picture, ...] = ()

    @classmethod
    def of(cls, prompts: Sequence[list[int]], pictures: Sequence[Picture] = ()) -> Group:
        """Split whole prompts into their common beginning and the rest of each."""
        cut = shared_length(prompts)
        return cls(prompts[0][:cut], [prompt[cut:] for prompt in prompts], tuple(pictures))

    @property
    def tree(self) -> Tree:
        """The tree with all questions under the beginning, each to be answered in the model's own words."""
        nodes = [Node(ids, 0, prompt=number) for number, ids in enumerate(self.suffixes)]
        return Tree([Node(self.prefix, -1), *nodes], self.pictures, tuple(range(len(nodes))))


@dataclass(frozen=True)
class Sampling:
    """Draw each token of an answer instead of taking the likeliest one.

    Attributes:
        temperature: > 0.
        seed: the same seed and batches give the same answers on one machine.
    """

    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Reply:
    """A model's reply to one tree.

    Attributes:
        scores: log-probability in nats and number of tokens of each answer in the tree.
        written: the answer to each prompt of `tree.written`, as tokens without the end token.
    """

    scores: list[tuple[float, int]]
    written: list[list[int]]


def generate(vlm: VLM, groups: Sequence[Group], *, max_new_tokens: int, batch_size: int = 64) -> list[list[list[int]]]:
    """Return the greedy answer to every question, up to the end token or `max_new_tokens`.

    Several processes must all pass the same groups; each answers a share of the batches and gets all answers.

    Args:
        groups: in any order.
        batch_size: questions answered at once, at least one group.

    Returns:
        For each group, for each question, the answer's tokens without the end token.
    """
    trees = [group.tree for group in groups]
    return [reply.written for reply in all_replies(vlm, trees, max_new_tokens=max_new_tokens, batch_size=batch_size)]


def all_replies(vlm: VLM, trees: Sequence[Tree], *, max_new_tokens: int, batch_size: int = 64) -> list[Reply]:
    """Return the model's reply to each tree; every process gets all of them."""
    own: dict[int, Reply] = {}
    for batch in replies(vlm, [trees], max_new_tokens=max_new_tokens, batch_size=batch_size):
        own |= {number: reply for (_, number), reply in batch.items()}
    every = union(own)
    return [every[number] for number in range(len(trees))]


@torch.no_grad()
def replies(
    vlm: VLM,
    groups: Sequence[Sequence[Tree]],
    *,
    max_new_tokens: int,
    batch_size: int = 64,
    done: Container[tuple[int, int]] = (),
    sampling: Sampling | None = None,
) -> Iterator[dict[tuple[int, int], Reply]]:
    """Yield the model's replies batch by batch, each under (number of the group, number of the tree in the group).

    Several processes must all pass the same groups; each answers its share of the batches.

    Args:
        groups: the trees of one group share their first pictures and tokens; their beginning is computed once.
        max_new_tokens: longest written answer.
        batch_size: questions answered at once, at least one tree.
        done: trees that were answered before. Batches whose trees are all done are skipped; every other batch is left
            unchanged, so its numbers stay bit-identical.
        sampling: draws the answers; by default they are greedy. A prompt that stands several times in `Tree.written`
            gets as many answers.
    """
    begun: tuple[int, _Beginning] | None = None
    batches = [
        (number, taken)
        for number, taken in _batches(groups, batch_size)
        if not all((number, index) in done for index in taken)
    ]
    for number, taken in share(batches):
        if begun is None or begun[0] != number:
            begun = number, _Beginning(vlm, groups[number])
        choose = _choice(sampling, number, taken[0])
        answered = _reply(vlm, [groups[number][index] for index in taken], begun[1], max_new_tokens, choose)
        yield {(number, index): reply for index, reply in zip(taken, answered, strict=True)}


def _batches(groups: Sequence[Sequence[Tree]], batch_size: int) -> Iterator[tuple[int, list[int]]]:
    """Yield batches as the number of a group and the numbers of some of its trees.

    A batch has little padding, at most `batch_size` questions and at most `BATCH_TOKENS` tokens, but at least one tree.
    """
    for number, trees in enumerate(groups):
        taken: list[int] = []
        for index in sorted(range(len(trees)), key=lambda i: -trees[i].num_tokens):
            longest = trees[taken[0]].num_tokens if taken else 0
            questions = sum(len(trees[i].written) for i in (*taken, index))
            ragged = trees[index].num_tokens < ALIKE * longest and longest * len(taken) > BATCH_TOKENS // 4
            if taken and (ragged or questions > batch_size or longest * (len(taken) + 1) > BATCH_TOKENS):
                yield number, taken
                taken = []
            taken.append(index)
        if taken:
            yield number, taken


class _Beginning:
    """The common beginning of the trees of a group, computed once. It holds whole pictures only.

    Attributes:
        length: number of its tokens; 0 if it is not worth a pass, as with a single tree.
        num_pictures: number of its pictures.
    """

    def __init__(self, vlm: VLM, trees: Sequence[Tree]) -> None:
        first = trees[0]
        alike = zip(*(tree.pictures for tree in trees), strict=False)
        self.num_pictures = sum(1 for _ in itertools.takewhile(lambda same: len(set(same)) == 1, alike))
        pictures = first.pictures[: self.num_pictures]
        ids = first.nodes[0].ids[: shared_length([[*tree.nodes[0].ids, -1] for tree in trees])]
        places = [place for place, token in enumerate(ids) if token == vlm.family.image_token]
        ends = list(itertools.accumulate((sum(picture.runs) for picture in pictures), initial=0))
        whole = max(end for end in ends if end <= len(places))
        self.num_pictures = ends.index(whole)
        self.length = places[whole] if whole < len(places) else len(ids)
        self._kept: list[tuple[Tensor, Tensor]] = []
        if self.length and len(trees) > 1:
            self._read(vlm, Tree([Node(ids[: self.length], -1)], pictures[: self.num_pictures]))
        else:
            self.length = self.num_pictures = 0

    def _read(self, vlm: VLM, tree: Tree) -> None:
        cache = reserved_cache(self.length)
        nothing = torch.tensor([], dtype=torch.long)
        _hidden(vlm, lay_out([tree], vlm), [tree.pictures], cache, 0, nothing)
        self._kept = [(layer.keys, layer.values) for layer in cache.layers]  # type: ignore[union-attr, misc]

    def fork(self, num_rows: int, length: int) -> Cache:
        """Return a cache that holds the beginning in each of `num_rows` rows, with room for `length` tokens in all."""
        cache = reserved_cache(length)
        for index, (keys, values) in enumerate(self._kept):
            cache.update(keys.expand(num_rows, -1, -1, -1), values.expand(num_rows, -1, -1, -1), index)
        return cache


def _choice(sampling: Sampling | None, group: int, tree: int) -> Choose:
    """Return what chooses the next tokens (Q) from logits (Q, V) in one batch."""
    if sampling is None:
        return lambda logits_QV: logits_QV.argmax(-1).cpu()
    generator = torch.Generator().manual_seed((sampling.seed * 1_000_003 + group) * 1_000_003 + tree)

    def draw(logits_QV: Tensor) -> Tensor:
        shares_QV = (logits_QV.float() / sampling.temperature).softmax(-1).cpu()
        return torch.multinomial(shares_QV, 1, generator=generator)[:, 0]

    return draw


def _reply(vlm: VLM, trees: Sequence[Tree], beginning: _Beginning, max_new_tokens: int, choose: Choose) -> list[Reply]:
    trees = [tree.without_ends() for tree in trees]
    rows = lay_out(trees, vlm)
    width, start = rows.ids_BT.shape[1], beginning.length
    slots = max(len(tree.written) for tree in trees)
    place_N, target_N, item_N = targets(trees, rows, vlm)
    row_Q, end_Q = _ends(trees, rows)
    place_U, index = torch.cat([place_N, row_Q * width + end_Q]).unique(return_inverse=True)
    cache = beginning.fork(len(trees), width + slots * max_new_tokens)
    pictures = [tree.pictures[beginning.num_pictures :] for tree in trees]
    hidden_UD = _hidden(vlm, rows, pictures, cache, start, place_U)
    source_N, source_Q = index.to(vlm.device).split([len(place_N), len(row_Q)])
    num_items = sum(tree.num_items for tree in trees)
    scores = iter(_scores(vlm, hidden_UD, source_N, target_N, item_N, num_items))
    written = iter(_Writing(vlm, rows, row_Q, end_Q, hidden_UD[source_Q], cache, choose).run(max_new_tokens))
    return [
        Reply([next(scores) for _ in range(tree.num_items)], [next(written) for _ in tree.written]) for tree in trees
    ]


def _hidden(
    vlm: VLM, rows: Rows, pictures: Sequence[Sequence[Picture]], cache: Cache, start: int, place_U: Tensor
) -> Tensor:
    """Run the tokens from `start` on, add them to the cache, and return the last hidden states at `place_U`.

    The places are indices into the flattened (B * T) tokens.
    """
    inputs = model_inputs(vlm.family, rows.ids_BT, rows.positions_ABT, rows.seen_BTT[:, start:])
    behind_U = (place_U - start * (1 + place_U // rows.ids_BT.shape[1])).to(vlm.device)
    with last_mlp_at(vlm, behind_U):
        return _run(vlm, inputs | vlm.family.image_inputs(pictures), cache).flatten(0, 1)[behind_U]


def _scores(
    vlm: VLM, hidden_UD: Tensor, source_N: Tensor, target_N: Tensor, item_N: Tensor, num_items: int
) -> list[tuple[float, int]]:
    if not num_items:
        return []
    kept_U, index_N = source_N.unique(return_inverse=True)
    target_N, item_N = target_N.to(vlm.device), item_N.to(vlm.device)
    log_I, length_I = torch.zeros(num_items, device=vlm.device), torch.bincount(item_N, minlength=num_items)
    head: Any = vlm.head()
    first = 0
    for part_PD in pieces(hidden_UD[kept_U], len(head.weight)):
        within_N = (index_N >= first) & (index_N < first + len(part_PD))
        own_N = index_N[within_N] - first
        scored = Scored(head(part_PD), own_N, target_N[within_N], item_N[within_N], num_items)
        log_I, first = log_I + scored.log_probability_I, first + len(part_PD)
    return list(zip(log_I.tolist(), length_I.tolist(), strict=True))


def _ends(trees: Sequence[Tree], rows: Rows) -> tuple[Tensor, Tensor]:
    """Return the row and the last token of each prompt that the model answers in its own words (Q)."""
    ends = [
        (row, starts[index] + len(node.ids) - 1)
        for row, (tree, starts) in enumerate(zip(trees, rows.starts, strict=True))
        for number in tree.written
        for index, node in enumerate(tree.nodes)
        if node.prompt == number
    ]
    row_Q, end_Q = torch.tensor(ends, dtype=torch.long).view(-1, 2).T
    return row_Q, end_Q


class _Writing:
    """The answers to the questions of a batch, one token per question and step.

    In each step a row gets one slot for each of its questions that are not at their end. Keys and values of a token are
    never moved; the mask says which question sees them.
    """

    def __init__(
        self, vlm: VLM, rows: Rows, row_Q: Tensor, end_Q: Tensor, hidden_QD: Tensor, cache: Cache, choose: Choose
    ) -> None:
        self._vlm, self._cache, self._choose = vlm, cache, choose
        self._row_Q, self._hidden_QD = row_Q, hidden_QD
        self._ids_BK, self._positions_ABK = rows.ids_BT, rows.positions_ABT
        self._seen_QK = rows.seen_BTT[row_Q, end_Q]
        self._position_Q = rows.positions_ABT[0, row_Q, end_Q] + 1

    def run(self, max_new_tokens: int) -> list[list[int]]:
        """Return the tokens of each answer, without the end token."""
        written: list[list[int]] = [[] for _ in self._row_Q]
        alive_Q = torch.arange(len(written))
        ends = torch.tensor(self._vlm.end_tokens)
        for step in range(max_new_tokens):
            token_Q = self._choose(self._vlm.head()(self._hidden_QD)) if len(alive_Q) else alive_Q
            going_Q = ~torch.isin(token_Q, ends)
            alive_Q, token_Q = alive_Q[going_Q], token_Q[going_Q]
            for question, token in zip(alive_Q.tolist(), token_Q.tolist(), strict=True):
                written[question].append(token)
            if not len(alive_Q) or step + 1 == max_new_tokens:
                break
            self._keep(going_Q)
            self._step(token_Q)
        return written

    def _keep(self, going_Q: Tensor) -> None:
        """Drop the questions that are answered, and the rows without open questions once they are half of all rows."""
        self._row_Q, self._position_Q = self._row_Q[going_Q], self._position_Q[going_Q]
        self._seen_QK = self._seen_QK[going_Q]
        kept_B, self_row_Q = self._row_Q.unique(return_inverse=True)
        if 2 * len(kept_B) <= len(self._ids_BK):
            self._cache.batch_select_indices(kept_B.to(self._vlm.device))
            self._ids_BK, self._positions_ABK = self._ids_BK[kept_B], self._positions_ABK[:, kept_B]
            self._row_Q = self_row_Q

    def _step(self, token_Q: Tensor) -> None:
        """Run the new token of each question in a slot of its row."""
        slot_Q = _count_up(self._row_Q)
        shape_BS = len(self._ids_BK), int(slot_Q.max()) + 1
        num_slots = shape_BS[1]
        own_SS = torch.eye(num_slots, dtype=torch.bool)
        at_BS = self._row_Q, slot_Q
        ids_BS = torch.full(shape_BS, self._vlm.pad_token).index_put(at_BS, token_Q)
        positions_BS = torch.zeros(shape_BS, dtype=torch.long).index_put(at_BS, self._position_Q)
        self._ids_BK = torch.cat([self._ids_BK, ids_BS], 1)
        positions_ABS = positions_BS.expand(len(self._positions_ABK), -1, -1)
        self._positions_ABK = torch.cat([self._positions_ABK, positions_ABS], 2)
        self._seen_QK = torch.cat([self._seen_QK, own_SS[slot_Q]], 1)
        seen_BSK = torch.zeros(*shape_BS, self._ids_BK.shape[1], dtype=torch.bool)
        seen_BSK[..., -num_slots:] = own_SS  # an empty slot sees itself: attention to nothing gives NaN
        seen_BSK[at_BS] = self._seen_QK
        inputs = model_inputs(self._vlm.family, self._ids_BK, self._positions_ABK, seen_BSK)
        hidden_BSD = _run(self._vlm, inputs, self._cache)
        self._hidden_QD = hidden_BSD[self._row_Q.to(hidden_BSD.device), slot_Q.to(hidden_BSD.device)]
        self._position_Q = self._position_Q + 1


def _count_up(row_Q: Tensor) -> Tensor:
    """Return for each entry the number of earlier entries of the same row; rows must come in order."""
    firsts = torch.searchsorted(row_Q, row_Q)
    return torch.arange(len(row_Q)) - firsts


def _run(vlm: VLM, inputs: dict[str, Any], cache: Cache) -> Tensor:
    moved = {name: moved_to(vlm.device, value) for name, value in inputs.items()}
    hidden: Tensor = vlm.model.model(**moved, past_key_values=cache, use_cache=True).last_hidden_state
    return hidden
