"""Packs prompts that share a beginning into one row, so that one forward pass scores all their answers.

A photo with two questions; two answers to the first question and one to the second are scored:

    tree    photo --+-- Q1 --+-- A1      one node for each run of tokens; the root holds the photo and
                    |        +-- A2      everything before the questions
                    +-- Q2 ----- A3

    row         photo   Q1     A1     A2     Q2     A3
    node        0       1      2      3      4      5
    tokens      10      5      2      3      4      1       25 tokens; three separate prompts would have 50
    positions   0-9     10-14  15-16  15-17  10-13  14      a node continues from the end of its parent
    computed    10      5      1      2      4      0       the last token of an answer predicts nothing

    sees        photo   Q1     A1     A2     Q2     A3      a token sees its ancestors, and its own node up to itself
      Q1        x       x
      A1        x       x      x
      A2        x       x             x
      Q2        x                            x
      A3        x                            x      x

With this mask and these positions every answer gets the same log-probability as in a prompt of its own. The training
targets are the answers, or the whole text; a token that several answers share counts once for each of them. Answers to
one question that begin alike share the nodes of their beginning.

Shape letters: A axes of positions, B rows, T tokens of a row, Q the last tokens (queries), K all tokens (keys),
N scored tokens, U distinct tokens that predict them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unsee.config.protocols import Labels
from unsee.forward.chunks import cut
from unsee.models.family import Family, Picture
from unsee.models.vlm import VLM


@dataclass(frozen=True)
class Node:
    """A run of tokens under a parent node (-1: none).

    Attributes:
        ids: the tokens.
        parent: the index of the parent node.
        item: the number of the answer, if the node is one; else -1.
        prompt: the number of the prompt that ends with this node, if one does; else -1.
        padding: True if no token sees these, themselves included; they see all before them.
        end: the last token of the answer if it is only predicted and not computed; else -1.
    """

    ids: list[int]
    parent: int
    item: int = -1
    prompt: int = -1
    padding: bool = False
    end: int = -1


@dataclass(frozen=True)
class Tree:
    """Prompts and answers that share a beginning.

    Attributes:
        nodes: every parent before its children; the first is the root.
        pictures: the pictures in the root.
        written: the numbers of the prompts that a model answers in its own words.
    """

    nodes: list[Node]
    pictures: tuple[Picture, ...] = ()
    written: tuple[int, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Number of tokens, which is the length of the packed row."""
        return sum(len(node.ids) for node in self.nodes)

    @property
    def num_items(self) -> int:
        """Number of answers to score."""
        return sum(node.item >= 0 for node in self.nodes)

    def unscored(self) -> Tree:
        """Return a tree with the same tokens and pictures but no answers to score."""
        return Tree([Node(node.ids, node.parent) for node in self.nodes], self.pictures)

    def without_ends(self) -> Tree:
        """Return the tree without the last token of every answer, which nothing follows: it is only predicted."""
        nodes = [
            replace(node, ids=node.ids[:-1], end=node.ids[-1]) if node.item >= 0 and node.ids else node
            for node in self.nodes
        ]
        return Tree(nodes, self.pictures, self.written)

    def path(self, index: int) -> list[int]:
        """Return the indices of the nodes from the root to a node."""
        path = [index]
        while (parent := self.nodes[path[0]].parent) >= 0:
            path.insert(0, parent)
        return path

    @property
    def longest_text(self) -> int:
        """Number of tokens of the longest answer together with its prompt."""
        return max(map(self._text_length, self._leaves), default=0)

    def padded(self, length: int, pad_token: int) -> Tree:
        """Return the tree with every answer followed by padding, so that each text has the same length."""
        padding = [Node([pad_token] * (length - self._text_length(leaf)), leaf, padding=True) for leaf in self._leaves]
        return Tree([*self.nodes, *padding], self.pictures, self.written)

    @property
    def _leaves(self) -> list[int]:
        return [index for index, node in enumerate(self.nodes) if node.item >= 0]

    def _text_length(self, leaf: int) -> int:
        return sum(len(self.nodes[index].ids) for index in self.path(leaf))


@dataclass(frozen=True)
class Batch:
    """Packed rows as model inputs, and the tokens to score.

    Attributes:
        inputs: keyword arguments of the model: input_ids (B, T), attention_mask, position_ids, and the family's inputs
            for pictures if any row has some.
        source_N: index into the flattened (B * T) tokens: the token that predicts the target. An index occurs once for
            each answer that it leads to.
        target_N: the token to predict.
        item_N: the number of the answer that the target belongs or leads to, 0 to num_items - 1, in order of the trees.
        num_items: number of answers.
        whole_M: every token of each answer's text and of its padding, whatever it predicts; None if not wanted. A token
            occurs once for each answer that it leads to.
    """

    inputs: dict[str, Any]
    source_N: Tensor
    target_N: Tensor
    item_N: Tensor
    num_items: int
    whole_M: Tensor | None = None

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Return the distinct tokens to score, ascending (U), and the index of each source among them (N)."""
        places_U, index = self._distinct
        return places_U, index[: len(self.source_N)]

    @property
    def whole_places_M(self) -> Tensor | None:
        """The index of each of `whole_M` among the distinct tokens to score."""
        return None if self.whole_M is None else self._distinct[1][len(self.source_N) :]

    @cached_property
    def _distinct(self) -> tuple[Tensor, Tensor]:
        wanted = self.source_N if self.whole_M is None else torch.cat([self.source_N, self.whole_M])
        places_U, index = wanted.unique(return_inverse=True)
        return places_U, index

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        source_N, target_N, item_N = (part.to(device) for part in (self.source_N, self.target_N, self.item_N))
        whole_M = None if self.whole_M is None else self.whole_M.to(device)
        return Batch(moved_to(device, self.inputs), source_N, target_N, item_N, self.num_items, whole_M)


def moved_to(device: torch.device, value: Any) -> Any:
    """Return a tensor, or tensors by name, on another device."""
    return {k: moved_to(device, v) for k, v in value.items()} if isinstance(value, dict) else value.to(device)


def shared_length(rows: Sequence[list[int]]) -> int:
    """Return the length of the longest common prefix that leaves at least one token of every row."""
    first, last = min(rows), max(rows)
    limit = min(len(row) for row in rows) - 1
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), limit)
    return min(same, limit)


@dataclass(frozen=True)
class _Branch:
    """What is still to grow below a node: the rest of a prompt, with its answers, or the rest of an answer."""

    ids: list[int]
    prompt: int = -1
    item: int = -1
    answers: Sequence[_Branch] = ()


def build_tree(
    prompts: Sequence[list[int]],
    answers: Sequence[Sequence[list[int]]],
    pictures: Sequence[Picture] = (),
    *,
    written: Sequence[int] = (),
) -> Tree:
    """Build the tree of prompts that share a beginning; `answers[i]` are the alternatives scored after `prompts[i]`."""
    items = itertools.count()
    branches = [
        _Branch(list(prompt), number, answers=[_Branch(list(ids), item=next(items)) for ids in alternatives])
        for number, (prompt, alternatives) in enumerate(zip(prompts, answers, strict=True))
    ]
    cut = shared_length(prompts)
    nodes = [Node(list(prompts[0][:cut]), -1)]
    _grow(nodes, 0, branches, cut)
    return Tree(nodes, tuple(pictures), tuple(written))


def _grow(nodes: list[Node], parent: int, branches: Sequence[_Branch], skipped: int = 0) -> None:
    """Add branches below a node, without their first tokens; tokens that several of them begin with get one node."""
    alike: dict[int, list[_Branch]] = {}
    for branch in branches:
        rest = replace(branch, ids=branch.ids[skipped:])
        alike.setdefault(rest.ids[0] if rest.ids else -1, []).append(rest)
    for group in alike.values():
        cut = shared_length([branch.ids for branch in group]) if len(group) > 1 else 0
        if cut > 0:
            nodes.append(Node(group[0].ids[:cut], parent))
            _grow(nodes, len(nodes) - 1, group, cut)
            continue
        for branch in group:
            nodes.append(Node(branch.ids, parent, branch.item, branch.prompt))
            _grow(nodes, len(nodes) - 1, branch.answers)


def collate(
    trees: Sequence[Tree], vlm: VLM, labels: Labels = "answer", *, padded_to: int | None = None, ends: bool = False
) -> Batch:
    """Return a batch with one row per tree, padded to the longest.

    Args:
        trees: the rows.
        vlm: the model that tokenised them.
        labels: the tokens to score: the answers, all of the text ("full"), or the image placeholders in it as well.
        padded_to: pad every text to this length, and add all of its tokens to the batch as `whole_M`.
        ends: compute the last token of every answer too, which predicts nothing; always so if texts are padded.
    """
    if padded_to is not None:
        trees = [tree.padded(padded_to, vlm.pad_token) for tree in trees]
    elif not ends:
        trees = [tree.without_ends() for tree in trees]
    rows = lay_out(trees, vlm)
    inputs = model_inputs(vlm.family, rows.ids_BT, rows.positions_ABT, rows.seen_BTT)
    inputs |= vlm.family.image_inputs([tree.pictures for tree in trees])
    whole_M = None if padded_to is None else _whole(trees, rows)
    return Batch(inputs, *targets(trees, rows, vlm, labels), sum(tree.num_items for tree in trees), whole_M)


@dataclass(frozen=True)
class Rows:
    """Trees packed into rows, padded to the longest.

    Attributes:
        ids_BT: the tokens.
        positions_ABT: their positions on each axis.
        seen_BTT: True where the token of the second axis sees that of the third; padding sees itself.
        starts: for each row, the index of the first token of each node.
    """

    ids_BT: Tensor
    positions_ABT: Tensor
    seen_BTT: Tensor
    starts: list[list[int]]


def lay_out(trees: Sequence[Tree], vlm: VLM) -> Rows:
    """Pack trees into rows: the nodes of a tree one after another."""
    width = max(tree.num_tokens for tree in trees)
    ids_BT = torch.full((len(trees), width), vlm.pad_token)
    seen_BTT = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1)
    positions: list[Tensor] = []
    starts: list[list[int]] = []
    for row, tree in enumerate(trees):
        ids, positions_AT, owner, begins = _in_a_row(tree, vlm.family)
        length = len(ids)
        ids_BT[row, :length] = torch.tensor(ids)
        positions.append(torch.nn.functional.pad(positions_AT, (0, width - length)))
        owner_T = torch.tensor(owner)
        seen_TT = _ancestry(tree)[owner_T][:, owner_T].tril()
        seen_TT[:, torch.tensor([tree.nodes[index].padding for index in owner], dtype=torch.bool)] = False
        seen_BTT[row, :length, :length] = seen_TT
        starts.append(begins)
    return Rows(ids_BT, torch.stack(positions, 1), seen_BTT, starts)


def targets(trees: Sequence[Tree], rows: Rows, vlm: VLM, labels: Labels = "answer") -> tuple[Tensor, Tensor, Tensor]:
    """Return `source_N`, `target_N` and `item_N` of a `Batch`."""
    width = rows.ids_BT.shape[1]
    source: list[int] = []
    target: list[int] = []
    item: list[int] = []
    num_items = 0
    for row, (tree, starts) in enumerate(zip(trees, rows.starts, strict=True)):
        for index, node in enumerate(tree.nodes):
            if node.item >= 0:
                scored = _scored(tree, index, starts, labels, vlm.family.image_token)
                source += [row * width + place for place, _ in scored]
                target += [token for _, token in scored]
                item += [num_items + node.item] * len(scored)
        num_items += tree.num_items
    source_N, target_N, item_N = (torch.tensor(values, dtype=torch.long) for values in (source, target, item))
    return source_N, target_N, item_N


def _whole(trees: Sequence[Tree], rows: Rows) -> Tensor:
    """Return the index into the flattened tokens of each token of each padded text."""
    width = rows.ids_BT.shape[1]
    return torch.tensor(
        [
            row * width + starts[index] + place
            for row, (tree, starts) in enumerate(zip(trees, rows.starts, strict=True))
            for end, node in enumerate(tree.nodes)
            if node.padding
            for index in tree.path(end)
            for place in range(len(tree.nodes[index].ids))
        ],
        dtype=torch.long,
    )


def model_inputs(family: Family, ids_BK: Tensor, positions_ABK: Tensor, seen_BQK: Tensor) -> dict[str, Any]:
    """Return the keyword arguments of the model for the last Q of K tokens; the others are in its cache."""
    num_queries = seen_BQK.shape[1]
    position_ids = positions_ABK[..., -num_queries:]
    mask = family.mask(seen_BQK, ids_BK, positions_ABK[0])
    if family.model.device.type == "cpu":
        cut(mask)
    return {
        "input_ids": ids_BK[:, -num_queries:],
        "attention_mask": mask,
        "position_ids": position_ids[0] if len(position_ids) == 1 else position_ids,
    }


def _scored(tree: Tree, leaf: int, starts: list[int], labels: Labels, image_token: int) -> list[tuple[int, int]]:
    """Return the scored tokens of one answer, each with the place in the row of the token that predicts it."""
    path, first = tree.path(leaf), 1
    if labels == "answer":
        question = max((k for k, index in enumerate(path) if tree.nodes[index].prompt >= 0), default=len(path) - 2)
        path, first = path[question:], len(tree.nodes[path[question]].ids)
    tokens = [(starts[index] + k, token) for index in path for k, token in enumerate(tree.nodes[index].ids)]
    if (end := tree.nodes[leaf].end) >= 0:
        tokens.append((-1, end))  # no token is predicted from it
    return [
        (place, token)
        for (place, _), (_, token) in zip(tokens[first - 1 :], tokens[first:], strict=False)
        if token != image_token or labels == "full_with_image"
    ]


def _in_a_row(tree: Tree, family: Family) -> tuple[list[int], Tensor, list[int], list[int]]:
    """Return token ids, positions (A, T), the node of each token, and the first token of each node."""
    root = tree.nodes[0]
    root_AT = family.positions(root.ids, tree.pictures)
    ids, owner, starts = list(root.ids), [0] * len(root.ids), [0]
    ends = [int(root_AT.max()) + 1 if root.ids else 0]
    positions: list[int] = []
    for index, node in enumerate(tree.nodes[1:], start=1):
        first = ends[node.parent]
        starts.append(len(ids))
        ids += node.ids
        positions += range(first, first + len(node.ids))
        owner += [index] * len(node.ids)
        ends.append(first + len(node.ids))
    rest_AT = torch.tensor(positions, dtype=torch.long).expand(len(root_AT), -1)
    return ids, torch.cat([root_AT, rest_AT], 1), owner, starts


def _ancestry(tree: Tree) -> Tensor:
    """Return a (nodes, nodes) mask: True if the second node is the first one or one of its ancestors."""
    seen = torch.eye(len(tree.nodes), dtype=torch.bool)
    for index, node in enumerate(tree.nodes):
        if node.parent >= 0:
            seen[index] |= seen[node.parent]
    return seen


def pack_by_length(trees: Sequence[Tree], batch_tokens: int) -> list[list[int]]:
    """Return the indices of trees in batches of similar length, each at most `batch_tokens` when padded."""
    batches: list[list[int]] = []
    for index in sorted(range(len(trees)), key=lambda i: -trees[i].num_tokens):
        longest = trees[batches[-1][0]].num_tokens if batches else 0
        if not batches or longest * (len(batches[-1]) + 1) > batch_tokens:
            batches.append([])
        batches[-1].append(index)
    return batches
