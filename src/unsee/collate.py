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


@dataclass(frozen=True)
class Node:
    """A run of tokens under a parent node (-1: none); `item` is the number of the answer it is, -1 if it is none."""

    ids: list[int]
    parent: int
    item: int = -1


@dataclass(frozen=True)
class Tree:
    """Nodes in an order in which parents come first, and the image of the prefix (C, H, W) if there is one."""

    nodes: list[Node]
    pixels: Tensor | None = None

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
        inputs: keyword arguments of the model: input_ids (B, T), attention_mask (B, 1, T, T) bool, position_ids (B, T),
            pixel_values if any row has an image.
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
        moved = {name: value.to(device) for name, value in self.inputs.items()}
        return Batch(moved, self.source_N.to(device), self.target_N.to(device), self.item_N.to(device), self.num_items)


def shared_length(rows: Sequence[list[int]]) -> int:
    """Length of the longest common prefix that leaves every row at least one token."""
    first, last = min(rows), max(rows)
    limit = min(len(row) for row in rows) - 1
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), limit)
    return min(same, limit)


def build_tree(
    prompts: Sequence[list[int]], answers: Sequence[Sequence[list[int]]], pixels: Tensor | None = None
) -> Tree:
    """One tree over prompts that share a beginning; `answers[i]` are the alternatives scored after `prompts[i]`."""
    items = itertools.count()
    numbered = [[(next(items), ids) for ids in alternatives] for alternatives in answers]
    cut = shared_length(prompts)
    nodes = [Node(list(prompts[0][:cut]), -1)]
    _grow(nodes, 0, [(prompt[cut:], leaves) for prompt, leaves in zip(prompts, numbered, strict=True)])
    return Tree(nodes, pixels)


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


def collate(trees: Sequence[Tree], pad_token: int = 0) -> Batch:
    """One row per tree, padded to the longest."""
    width = max(tree.num_tokens for tree in trees)
    rows = len(trees)
    input_ids = torch.full((rows, width), pad_token)
    position_ids = torch.zeros((rows, width), dtype=torch.long)
    mask = torch.eye(width, dtype=torch.bool).repeat(rows, 1, 1)
    source: list[int] = []
    target: list[int] = []
    item: list[int] = []
    num_items = 0
    for row, tree in enumerate(trees):
        ids, positions, owner, starts = _lay_out(tree)
        length = len(ids)
        input_ids[row, :length] = torch.tensor(ids)
        position_ids[row, :length] = torch.tensor(positions)
        owner_T = torch.tensor(owner)
        mask[row, :length, :length] = _ancestry(tree)[owner_T][:, owner_T].tril()
        for index, node in enumerate(tree.nodes):
            if node.item >= 0:
                parent = tree.nodes[node.parent]
                last_of_parent = starts[node.parent] + len(parent.ids) - 1
                source += [row * width + last_of_parent]
                source += [row * width + starts[index] + k for k in range(len(node.ids) - 1)]
                target += node.ids
                item += [num_items + node.item] * len(node.ids)
        num_items += tree.num_items
    inputs: dict[str, Any] = {"input_ids": input_ids, "attention_mask": mask[:, None], "position_ids": position_ids}
    pixels = [tree.pixels for tree in trees if tree.pixels is not None]
    if pixels:
        inputs["pixel_values"] = torch.stack(pixels)
    return Batch(inputs, torch.tensor(source), torch.tensor(target), torch.tensor(item), num_items)


def _lay_out(tree: Tree) -> tuple[list[int], list[int], list[int], list[int]]:
    """Token ids, positions, owning node of each token, and where each node starts."""
    ids: list[int] = []
    positions: list[int] = []
    owner: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    for index, node in enumerate(tree.nodes):
        first = 0 if node.parent < 0 else ends[node.parent]
        starts.append(len(ids))
        ids += node.ids
        positions += range(first, first + len(node.ids))
        owner += [index] * len(node.ids)
        ends.append(first + len(node.ids))
    return ids, positions, owner, starts


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
