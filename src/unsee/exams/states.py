"""What can be read from hidden states: the states at the end of choices about people, and their options as vectors.

Shape letters: L decoder layers, Q questions, O options, D hidden width, V vocabulary, B rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from unsee.attacks.base import StateAttack, States
from unsee.edits.partial_forward import decoder_layers
from unsee.exams.people import Exam
from unsee.exams.plan import Item, PromptGroup
from unsee.forward.hooks import capture
from unsee.forward.trees import Tree, build_tree, lay_out, model_inputs, pack_by_length
from unsee.models.vlm import VLM

_BATCH_TOKENS = 8192


@dataclass(frozen=True)
class _Asked:
    """The choices of one set.

    Attributes:
        items: the choices.
        trees: a tree of different prompts for each group of them.
        places: for each item the number of its prompt among those of all trees.
    """

    items: list[Item]
    trees: list[Tree]
    places: list[int]


class StatesExam:
    """Reads the choices about people to keep and to forget from hidden states, without an answer of the model.

    Args:
        vlm: tokenises the prompts.
        exam: the exam of a run, whose choices are read.
        seed: of the wrong answers of the control.
    """

    def __init__(self, vlm: VLM, exam: Exam, seed: int) -> None:
        self._exam, self._seed = exam, seed
        self._known, self._asked = (
            _asked(vlm, exam, [group for group in exam.prompt_groups if group.items[0].set == name])
            for name in ("retain", "forget")
        )

    def examine(self, vlm: VLM, attack: StateAttack) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the options that an attack reads, by variant; nothing if there are no choices."""
        if not self._known.items or not self._asked.items:
            return
        known, asked = (_states(vlm, one) for one in (self._known, self._asked))
        for variant, chosen in attack.read(known, asked, self._seed).items():
            answers = [
                item.question.options[int(option)] for item, option in zip(self._asked.items, chosen, strict=True)
            ]
            rows = [self._exam.answered(item, answer) for item, answer in zip(self._asked.items, answers, strict=True)]
            yield variant, pd.DataFrame(rows).assign(inside=True, control=attack.is_control(variant))


def _asked(vlm: VLM, exam: Exam, groups: Sequence[PromptGroup]) -> _Asked:
    items: list[Item] = []
    trees: list[Tree] = []
    places: list[int] = []
    count = 0
    for group in groups:
        chosen = [item for item in group.items if item.question.task == "classification"]
        if chosen:
            prompts = [tuple(ids) for ids in exam.prompts(vlm, group, chosen)]
            numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
            trees.append(build_tree(list(map(list, numbers)), [[] for _ in numbers], group.pictures))
            items += chosen
            places += [count + numbers[prompt] for prompt in prompts]
            count += len(numbers)
    return _Asked(items, trees, places)


@torch.no_grad()
def _states(vlm: VLM, asked: _Asked) -> States:
    """Return the states of every decoder layer at the last token of each prompt, and the options."""
    layers = decoder_layers(vlm)
    of_tree: dict[int, Tensor] = {}
    for batch in pack_by_length(asked.trees, _BATCH_TOKENS):
        trees = [asked.trees[index] for index in batch]
        rows = lay_out(trees, vlm)
        inputs: dict[str, Any] = model_inputs(vlm.family, rows.ids_BT, rows.positions_ABT, rows.seen_BTT)
        inputs |= vlm.family.image_inputs([tree.pictures for tree in trees])
        with capture(layers) as seen:
            vlm.hidden({name: value.to(vlm.device) for name, value in inputs.items()})
        for row, (index, tree, starts) in enumerate(zip(batch, trees, rows.starts, strict=True)):
            ends = {
                node.prompt: start + len(node.ids) - 1
                for node, start in zip(tree.nodes, starts, strict=True)
                if node.prompt >= 0
            }
            at = [ends[number] for number in range(len(ends))]
            of_tree[index] = torch.stack([one.output[row, at] for one in seen]).float().cpu()
    state_LQD = torch.cat([of_tree[index] for index in range(len(asked.trees))], 1)[:, asked.places]
    texts = [item.question.options for item in asked.items]
    tokens = {text: ids[:-1] or ids for text, ids in _ids(vlm, sorted({text for own in texts for text in own})).items()}
    options = [[tokens[text] for text in own] for own in texts]
    truth = [own.index(item.question.answer) for own, item in zip(texts, asked.items, strict=True)]
    head: Any = vlm.head()
    weight: Tensor = head.weight.detach().float().cpu()
    return States(
        state_LQD=state_LQD, options=options, truth_Q=torch.tensor(truth), head_VD=weight,
        log_readable=_log_readable(vlm, state_LQD, weight),
    )  # fmt: skip


def _ids(vlm: VLM, texts: Sequence[str]) -> Mapping[str, list[int]]:
    return dict(zip(texts, vlm.answer_ids(texts), strict=True))


def _log_readable(vlm: VLM, state_LQD: Tensor, weight_VD: Tensor) -> list[Tensor]:
    """Return for each layer the log-probabilities that the head reads from its states (Q, V); the logit lens.

    Empty for a model whose last normalisation is not beside its decoder layers.
    """
    parent, _, _ = vlm.layout.decoder_layers.rpartition(".")
    try:
        norm: nn.Module = vlm.model.get_submodule(f"{parent}.norm")
    except AttributeError:
        return []
    kind = next(iter(norm.parameters()))
    return [
        (norm(state_QD.to(kind.device, kind.dtype)).float().cpu() @ weight_VD.T).log_softmax(-1)
        for state_QD in state_LQD
    ]
