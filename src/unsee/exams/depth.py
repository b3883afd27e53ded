"""How deep forgetting goes: a model's hidden states put into the target where it is about to say a value.

Shape letters: L decoder layers, D hidden width, B rows, T tokens, U tokens that predict a token of a value, N tokens of
values.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from unsee.core.record import PATCHED
from unsee.edits.partial_forward import decoder_layers
from unsee.exams.people import Exam
from unsee.exams.plan import Item
from unsee.forward.hooks import capture, rewrite_output
from unsee.forward.trees import Batch, Tree, build_tree, collate, pack_by_length
from unsee.models.vlm import VLM

_BATCH_TOKENS = 8192


class DepthExam:
    """Scores the values of the people to forget in the target, with a layer's states taken from another model.

    The values are the true answers to the blanks of an exam: names, places, jobs, and nothing of the sentence around
    them. A layer's output is replaced at the tokens that predict a token of the value, and nowhere else.

    Args:
        vlm: tokenises the prompts.
        exam: the exam of a run.
    """

    def __init__(self, vlm: VLM, exam: Exam) -> None:
        trees: list[Tree] = []
        items: list[list[Item]] = []
        for group in exam.prompt_groups:
            blanks = [item for item in group.items if (item.set, item.question.task) == ("forget", "cloze")]
            if not blanks:
                continue
            values = vlm.answer_ids([item.question.answer for item in blanks])
            alike: dict[tuple[int, ...], list[tuple[Item, list[int]]]] = {}
            for item, prompt, ids in zip(blanks, exam.prompts(vlm, group, blanks), values, strict=True):
                alike.setdefault(tuple(prompt), []).append((item, ids[:-1] or ids))  # without the end token
            answers = [[ids for _, ids in each] for each in alike.values()]
            trees.append(build_tree(list(map(list, alike)), answers, group.pictures))
            items.append([item for each in alike.values() for item, _ in each])
        batches = pack_by_length(trees, _BATCH_TOKENS)
        self._batches = [collate([trees[index] for index in batch], vlm) for batch in batches]
        self._items = [[item for index in batch for item in items[index]] for batch in batches]

    @torch.no_grad()
    def states(self, vlm: VLM) -> list[list[Tensor]]:
        """Return the output of each layer at the tokens that predict values (U, D), for each batch."""
        layers, found = decoder_layers(vlm), []
        for batch in self._batches:
            own = batch.to(vlm.device)
            with capture(layers) as seen:
                vlm.hidden(own.inputs)
            found.append([one.output.flatten(0, 1)[own.places[0]].cpu() for one in seen])
        return found

    @torch.no_grad()
    def patched(self, target: VLM, states: Sequence[Sequence[Tensor]]) -> pd.DataFrame:
        """Return the mean loss of each value in the target, by the layer whose states are replaced.

        Args:
            target: the model that reads the states.
            states: what `states` returned for another model, or for the target itself.
        """
        layers, rows = decoder_layers(target), []
        for batch, items, of_layers in zip(self._batches, self._items, states, strict=True):
            own = batch.to(target.device)
            for number, (layer, state_UD) in enumerate(zip(layers, of_layers, strict=True)):

                def put(output_BTD: Tensor, batch: Batch = own, state_UD: Tensor = state_UD) -> Tensor:
                    patched = output_BTD.flatten(0, 1).index_copy(0, batch.places[0], state_UD.to(output_BTD.device))
                    return patched.view_as(output_BTD)

                with rewrite_output({layer: put}):
                    losses = _losses(target, own)
                rows += [
                    {"set": item.set, "unit": item.unit, "input": item.question.input, "question": item.id,
                     "kind": PATCHED, "layer": number, "loss": loss}
                    for item, loss in zip(items, losses, strict=True)
                ]  # fmt: skip
        return pd.DataFrame(rows)


def _losses(vlm: VLM, batch: Batch) -> list[float]:
    """Return the mean loss of each answer over its tokens, nats."""
    places_U, source_N = batch.places
    log_UV = vlm.head()(vlm.hidden(batch.inputs).flatten(0, 1)[places_U]).float().log_softmax(-1)
    loss_N = -log_UV[source_N, batch.target_N]
    total = loss_N.new_zeros(batch.num_items).index_add(0, batch.item_N, loss_N)
    return [float(one) for one in total / torch.bincount(batch.item_N, minlength=batch.num_items)]
