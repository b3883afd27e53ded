"""From questions to tensors: prompt trees packed into rows, every answer scored as if it stood alone.

A `Tree` holds one shared prefix (image and everything before the question), under it the questions, under each question
its answers. The attention mask lets a token see its ancestors and its own node only and positions restart under each
node, so that one forward pass over the tree gives the numbers of as many separate passes as there are answers.
Targets are the answers, or the whole text, in which what several answers share counts once for each of them.
Shape letters: B rows, T tokens, N scored tokens, U distinct places that predict them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unsee.config.protocols import Labels
from unsee.models.family import Family, Picture
from unsee.models.vlm import VLM


@dataclass(frozen=True)
class Node:
    """A run of tokens under a parent node (-1: none).

    Attributes:
        ids: the tokens.
        parent: the index of the node before it.
        item: the number of the answer it is, -1 if it is none.
        prompt: the number of the prompt that ends with it, -1 if none does.
    """

    ids: list[int]
    parent: int
    item: int = -1
    prompt: int = -1


@dataclass(frozen=True)
class Tree:
    """Nodes in an order in which parents come first, and the pictures in the first of them.

    `written` are the numbers of the prompts that a model is to answer in its own words.
    """

    nodes: list[Node]
    pictures: tuple[Picture, ...] = ()
    written: tuple[int, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Length of the packed row."""
        return sum(len(node.ids) for node in self.nodes)

    @property
    def num_items(self) -> int:
        """Answers in the tree."""
        return sum(node.item >= 0 for node in self.nodes)

    def unscored(self) -> Tree:
        """The same tokens and pictures, none of them an answer."""
        return Tree([Node(node.ids, node.parent) for node in self.nodes], self.pictures)


@dataclass(frozen=True)
class Batch:
    """Packed rows and where their answers are.

    Attributes:
        inputs: keyword arguments of the model: input_ids (B, T), attention_mask, position_ids, and what the family
            needs of the pictures if any row has some.
        source_N: index into the flattened (B * T) tokens whose hidden state predicts the target; an index occurs once
            for each answer that it leads to.
        target_N: the token to predict.
        item_N: which answer the token belongs to or leads to, 0 to num_items - 1, in the order they were given.
    """

    inputs: dict[str, Any]
    source_N: Tensor
    target_N: Tensor
    item_N: Tensor
    num_items: int

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Return the distinct values of `source_N`, ascending (U), and the index of each source among them (N)."""
        places_U, index_N = self.source_N.unique(return_inverse=True)
        return places_U, index_N

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        source_N, target_N, item_N = (part.to(device) for part in (self.source_N, self.target_N, self.item_N))
        return Batch(moved_to(device, self.inputs), source_N, target_N, item_N, self.num_items)


def moved_to(device: torch.device, value: Any) -> Any:
    """A tensor, or tensors by name, on another device."""
    return {k: moved_to(device, v) for k, v in value.items()} if isinstance(value, dict) else value.to(device)


def shared_length(rows: Sequence[list[int]]) -> int:
    """Length of the longest common prefix that leaves every row at least one token."""
    first, last = min(rows), max(rows)
    limit = min(len(row) for row in rows) - 1
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), limit)
    return min(same, limit)


@dataclass(frozen=True)
class _Branch:
    """What is left of one prompt, its number, and its numbered answers."""

    ids: list[int]
    prompt: int
    leaves: list[tuple[int, list[int]]]

    def after(self, cut: int) -> _Branch:
        return _Branch(self.ids[cut:], self.prompt, self.leaves)


def build_tree(
    prompts: Sequence[list[int]],
    answers: Sequence[Sequence[list[int]]],
    pictures: Sequence[Picture] = (),
    *,
    written: Sequence[int] = (),
) -> Tree:
    """One tree over prompts that share a beginning; `answers[i]` are the alternatives scored after `prompts[i]`."""
    items = itertools.count()
    branches = [
        _Branch(list(prompt), number, [(next(items), ids) for ids in alternatives])
        for number, (prompt, alternatives) in enumerate(zip(prompts, answers, strict=True))
    ]
    cut = shared_length(prompts)
    nodes = [Node(list(prompts[0][:cut]), -1)]
    _grow(nodes, 0, [branch.after(cut) for branch in branches])
    return Tree(nodes, tuple(pictures), tuple(written))


def _grow(nodes: list[Node], parent: int, branches: Sequence[_Branch]) -> None:
    """Hang prompts under a node, what several of them share only once, and their answers under them."""
    alike: dict[int, list[_Branch]] = {}
    for branch in branches:
        alike.setdefault(branch.ids[0], []).append(branch)
    for group in alike.values():
        cut = shared_length([branch.ids for branch in group]) if len(group) > 1 else 0
        if cut:
            nodes.append(Node(group[0].ids[:cut], parent))
            _grow(nodes, len(nodes) - 1, [branch.after(cut) for branch in group])
            continue
        for branch in group:
            nodes.append(Node(branch.ids, parent, prompt=branch.prompt))
            question = len(nodes) - 1
            nodes.extend(Node(list(answer), question, item) for item, answer in branch.leaves)


def collate(trees: Sequence[Tree], vlm: VLM, labels: Labels = "answer") -> Batch:
    """One row per tree, padded to the longest, as the model takes it.

    Args:
        trees: the rows.
        vlm: whose tokens, positions and pictures they are.
        labels: whether answers are scored, or all of the text ("full"), or the image placeholders in it as well.
    """
    rows = lay_out(trees, vlm)
    inputs = model_inputs(vlm.family, rows.ids_BT, rows.positions_ABT, rows.seen_BTT)
    inputs |= vlm.family.image_inputs([tree.pictures for tree in trees])
    return Batch(inputs, *targets(trees, rows, vlm, labels), sum(tree.num_items for tree in trees))


@dataclass(frozen=True)
class Rows:
    """Trees side by side, padded to the longest.

    Attributes:
        ids_BT: the tokens.
        positions_ABT: their positions on each axis.
        seen_BTT: what each token sees: its ancestors and its own node up to itself; padding sees itself.
        starts: for each row, where its nodes begin.
    """

    ids_BT: Tensor
    positions_ABT: Tensor
    seen_BTT: Tensor
    starts: list[list[int]]


def lay_out(trees: Sequence[Tree], vlm: VLM) -> Rows:
    """The nodes of each tree one after another in a row."""
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
        seen_BTT[row, :length, :length] = _ancestry(tree)[owner_T][:, owner_T].tril()
        starts.append(begins)
    return Rows(ids_BT, torch.stack(positions, 1), seen_BTT, starts)


def targets(trees: Sequence[Tree], rows: Rows, vlm: VLM, labels: Labels = "answer") -> tuple[Tensor, Tensor, Tensor]:
    """Of every scored token: the place in the flattened rows that predicts it, the token, and its answer's number."""
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


def model_inputs(family: Family, ids_BK: Tensor, positions_ABK: Tensor, seen_BQK: Tensor) -> dict[str, Any]:
    """Keyword arguments of the model for the last Q of K tokens, those before them being in its cache."""
    num_queries = seen_BQK.shape[1]
    position_ids = positions_ABK[..., -num_queries:]
    return {
        "input_ids": ids_BK[:, -num_queries:],
        "attention_mask": family.mask(seen_BQK, ids_BK, positions_ABK[0]),
        "position_ids": position_ids[0] if len(position_ids) == 1 else position_ids,
    }


def _scored(tree: Tree, leaf: int, starts: list[int], labels: Labels, image_token: int) -> list[tuple[int, int]]:
    """The tokens that are scored of one answer, each with the place of the token before it in the packed row."""
    path = [leaf]
    while (parent := tree.nodes[path[0]].parent) >= 0:
        path.insert(0, parent)
    if labels == "answer":
        path = path[-2:]
    first = len(tree.nodes[path[0]].ids) if labels == "answer" else 1
    tokens = [(starts[index] + k, token) for index in path for k, token in enumerate(tree.nodes[index].ids)]
    return [
        (place, token)
        for (place, _), (_, token) in zip(tokens[first - 1 :], tokens[first:], strict=False)
        if token != image_token or labels == "full_with_image"
    ]


def _in_a_row(tree: Tree, family: Family) -> tuple[list[int], Tensor, list[int], list[int]]:
    """Token ids, positions (A, T), owning node of each token, and where each node starts."""
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
    """(nodes, nodes) bool: whether the column is the row itself or one of its ancestors."""
    seen = torch.eye(len(tree.nodes), dtype=torch.bool)
    for index, node in enumerate(tree.nodes):
        if node.parent >= 0:
            seen[index] |= seen[node.parent]
    return seen


def pack_by_length(trees: Sequence[Tree], batch_tokens: int) -> list[list[int]]:
    """Indices of trees in batches of about equal length whose padded size stays within `batch_tokens`."""
    batches: list[list[int]] = []
    for index in sorted(range(len(trees)), key=lambda i: -trees[i].num_tokens):
        longest = trees[batches[-1][0]].num_tokens if batches else 0
        if not batches or longest * (len(batches[-1]) + 1) > batch_tokens:
            batches.append([])
        batches[-1].append(index)
    return batches
