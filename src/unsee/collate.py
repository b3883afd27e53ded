"""From questions to tensors: prompt trees packed into rows, every answer scored as if it stood alone.

A `Tree` holds one shared prefix (image and everything before the question), under it the questions, under each question
its answers. The attention mask lets a token see its ancestors and its own node only and positions restart under each
node, so that one forward pass over the tree gives the numbers of as many separate passes as there are answers.
Image tokens, prefixes and questions are never targets.
Shape letters: B rows, T tokens, N scored tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unsee.models.family import Family, Picture
from unsee.models.vlm import VLM


@dataclass(frozen=True)
class Node:
    """A run of tokens under a parent node (-1: none); `item` is the number of the answer it is, -1 if it is none."""

    ids: list[int]
    parent: int
    item: int = -1


@dataclass(frozen=True)
class Tree:
    """Nodes in an order in which parents come first, and the pictures in the first of them."""

    nodes: list[Node]
    pictures: tuple[Picture, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Length of the packed row."""
        return sum(len(node.ids) for node in self.nodes)

    @property
    def num_items(self) -> int:
        """Answers in the tree."""
        return sum(node.item >= 0 for node in self.nodes)


@dataclass(frozen=True)
class Batch:
    """Packed rows and where their answers are.

    Attributes:
        inputs: keyword arguments of the model: input_ids (B, T), attention_mask, position_ids, and what the family
            needs of the pictures if any row has some.
        source_N: index into the flattened (B * T) tokens whose hidden state predicts the target.
        target_N: the token to predict.
        item_N: which answer the token belongs to, 0 to num_items - 1, in the order they were given.
    """

    inputs: dict[str, Any]
    source_N: Tensor
    target_N: Tensor
    item_N: Tensor
    num_items: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        source_N, target_N, item_N = (part.to(device) for part in (self.source_N, self.target_N, self.item_N))
        return Batch(_moved(self.inputs, device), source_N, target_N, item_N, self.num_items)


def _moved(value: Any, device: torch.device) -> Any:
    return {k: _moved(v, device) for k, v in value.items()} if isinstance(value, dict) else value.to(device)


def shared_length(rows: Sequence[list[int]]) -> int:
    """Length of the longest common prefix that leaves every row at least one token."""
    first, last = min(rows), max(rows)
    limit = min(len(row) for row in rows) - 1
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), limit)
    return min(same, limit)


def build_tree(
    prompts: Sequence[list[int]], answers: Sequence[Sequence[list[int]]], pictures: Sequence[Picture] = ()
) -> Tree:
    """One tree over prompts that share a beginning; `answers[i]` are the alternatives scored after `prompts[i]`."""
    items = itertools.count()
    numbered = [[(next(items), ids) for ids in alternatives] for alternatives in answers]
    cut = shared_length(prompts)
    nodes = [Node(list(prompts[0][:cut]), -1)]
    _grow(nodes, 0, [(prompt[cut:], leaves) for prompt, leaves in zip(prompts, numbered, strict=True)])
    return Tree(nodes, tuple(pictures))


def _grow(nodes: list[Node], parent: int, branches: Sequence[tuple[list[int], list[tuple[int, list[int]]]]]) -> None:
    """Hang prompts under a node, what several of them share only once, and their answers under them."""
    alike: dict[int, list[tuple[list[int], list[tuple[int, list[int]]]]]] = {}
    for ids, leaves in branches:
        alike.setdefault(ids[0], []).append((ids, leaves))
    for group in alike.values():
        cut = shared_length([ids for ids, _ in group]) if len(group) > 1 else 0
        if cut:
            nodes.append(Node(group[0][0][:cut], parent))
            _grow(nodes, len(nodes) - 1, [(ids[cut:], leaves) for ids, leaves in group])
            continue
        for ids, leaves in group:
            nodes.append(Node(ids, parent))
            question = len(nodes) - 1
            nodes.extend(Node(list(answer), question, item) for item, answer in leaves)


def collate(trees: Sequence[Tree], vlm: VLM) -> Batch:
    """One row per tree, padded to the longest, as the model takes it."""
    width = max(tree.num_tokens for tree in trees)
    rows = len(trees)
    input_ids = torch.full((rows, width), vlm.pad_token)
    positions: list[Tensor] = []
    seen = torch.eye(width, dtype=torch.bool).repeat(rows, 1, 1)
    source: list[int] = []
    target: list[int] = []
    item: list[int] = []
    num_items = 0
    for row, tree in enumerate(trees):
        ids, positions_AT, owner, starts = _lay_out(tree, vlm.family)
        length = len(ids)
        input_ids[row, :length] = torch.tensor(ids)
        positions.append(torch.nn.functional.pad(positions_AT, (0, width - length)))
        owner_T = torch.tensor(owner)
        seen[row, :length, :length] = _ancestry(tree)[owner_T][:, owner_T].tril()
        for index, node in enumerate(tree.nodes):
            if node.item >= 0:
                parent = tree.nodes[node.parent]
                last_of_parent = starts[node.parent] + len(parent.ids) - 1
                source += [row * width + last_of_parent]
                source += [row * width + starts[index] + k for k in range(len(node.ids) - 1)]
                target += node.ids
                item += [num_items + node.item] * len(node.ids)
        num_items += tree.num_items
    inputs = model_inputs(vlm.family, input_ids, torch.stack(positions, 1), seen)
    inputs |= vlm.family.image_inputs([tree.pictures for tree in trees])
    return Batch(inputs, torch.tensor(source), torch.tensor(target), torch.tensor(item), num_items)


def model_inputs(family: Family, ids_BK: Tensor, positions_ABK: Tensor, seen_BQK: Tensor) -> dict[str, Any]:
    """Keyword arguments of the model for the last Q of K tokens, those before them being in its cache."""
    num_queries = seen_BQK.shape[1]
    position_ids = positions_ABK[..., -num_queries:]
    return {
        "input_ids": ids_BK[:, -num_queries:],
        "attention_mask": family.mask(seen_BQK, ids_BK, positions_ABK[0]),
        "position_ids": position_ids[0] if len(position_ids) == 1 else position_ids,
    }


def _lay_out(tree: Tree, family: Family) -> tuple[list[int], Tensor, list[int], list[int]]:
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
