"""Privacy pairs as packed rows: one row per picture, all its questions under it, and where their subject stands.

Shape letters: B rows (pictures), T tokens, I answers.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from unsee.core.errors import DataError, ModelError
from unsee.data.pairs import Occurrence, PrivacyPair, by_case
from unsee.forward.generate import Group, generate
from unsee.forward.losses import Scored
from unsee.forward.trees import Batch, Tree, build_tree, collate
from unsee.models.family import Picture
from unsee.models.vlm import VLM

Scope = Literal["subject_last", "subject", "text", "every"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PLAIN = ("{}",)
ANSWER_TOKENS = 48
"""Longest benign answer of the unedited model."""


@dataclass(frozen=True)
class Query:
    """One question with the answer it should get; `whole` answers are closed by the end token."""

    pair: PrivacyPair
    question: str
    answer: str
    sensitive: bool
    whole: bool = True


@dataclass(frozen=True)
class Sheet:
    """Several pictures with their questions.

    Attributes:
        batch: the packed rows.
        sensitive_I: whether the answer is a refusal.
        row_I: the row of each answer.
        last_I: index into the flattened (B * T) tokens of the subject's last token in each question.
        scopes: the tokens (B, T) of each scope.
    """

    batch: Batch
    sensitive_I: Tensor
    row_I: Tensor
    last_I: Tensor
    scopes: Mapping[Scope, Tensor]

    @property
    def num_rows(self) -> int:
        """Pictures in the sheet."""
        return len(self.scopes["every"])

    def loss_B(self, scored: Scored, benign_weight: float) -> Tensor:
        """Mean refusal loss plus `benign_weight` times mean benign loss of each picture, nats per token.

        Source: arXiv:2603.12598, Sec. 3.2.2: both terms are negative log-likelihoods divided by the answer's length.
        """
        loss_I = -scored.log_probability_I / scored.length_I
        refused_B = self._mean_B(loss_I, self.sensitive_I)
        return refused_B + benign_weight * self._mean_B(loss_I, ~self.sensitive_I)

    def _mean_B(self, loss_I: Tensor, chosen_I: Tensor) -> Tensor:
        zeros_B = loss_I.new_zeros(self.num_rows)
        count_B = zeros_B.index_add(0, self.row_I, chosen_I.to(loss_I.dtype))
        return zeros_B.index_add(0, self.row_I, loss_I * chosen_I) / count_B.clamp(min=1)


def queries(
    pairs: Sequence[PrivacyPair], *, contexts: Sequence[str] = PLAIN, benign_words: int | None = None
) -> list[Query]:
    """What is asked about one picture: every sensitive question in every context, every benign one as it stands.

    Args:
        contexts: texts in which `{}` stands for the question.
        benign_words: the benign answer is cut to so many words and left open; None for all of it, closed.

    Raises:
        DataError: a pair has no benign answer.
    """
    asked = []
    for pair in pairs:
        if pair.benign and not pair.benign_answer:
            raise DataError(f"case {pair.case}: has no benign answer; let the unedited model give it first")
        for context in contexts if pair.sensitive else ():
            asked.append(Query(pair, context.replace("{}", pair.sensitive), pair.refusal, True, whole=False))
        if pair.benign_answer:
            answer = " ".join(pair.benign_answer.split()[:benign_words])
            asked.append(Query(pair, pair.benign, answer, False, whole=benign_words is None))
    return asked


def make_sheet(vlm: VLM, pictures: Sequence[Sequence[Query]], *, occurrence: Occurrence = "last") -> Sheet:
    """One row per picture; the queries of a row are about the picture of the first.

    Args:
        occurrence: which mention of the subject counts, as in `PrivacyPair.subject_start`.

    Raises:
        DataError: an answer tokenizes to nothing.
        ModelError: the tokenizer cannot say where its tokens come from.
    """
    trees, places = [], []
    for asked in pictures:
        picture = _picture(vlm, asked[0].pair)
        prompts = vlm.prompt_ids([query.question for query in asked], picture=picture)
        answers = _answers_ids(vlm, asked)
        trees.append(build_tree(prompts, [[answer] for answer in answers], [picture] if picture else []))
        places.append(subject_tokens(vlm, asked, picture, occurrence))
    batch = collate(trees, vlm).to(vlm.device)
    every = torch.zeros(batch.inputs["input_ids"].shape, dtype=torch.bool)
    subject, last = every.clone(), every.clone()
    last_I: list[int] = []
    for row, (tree, tokens) in enumerate(zip(trees, places, strict=True)):
        every[row, : tree.num_tokens] = True
        for path, counted in zip(_paths(tree), tokens, strict=True):
            found = [path[-k] for k in counted]
            subject[row, found] = True
            last[row, found[-1]] = True
            last_I.append(row * every.shape[1] + found[-1])
    text = every & (batch.inputs["input_ids"].cpu() != vlm.family.image_token)
    scopes: dict[Scope, Tensor] = {"subject_last": last, "subject": subject, "text": text, "every": every}
    flat = [(row, query.sensitive) for row, asked in enumerate(pictures) for query in asked]
    rows, sensitive = (torch.tensor(column, device=vlm.device) for column in zip(*flat, strict=True))
    on_device = {scope: mask.to(vlm.device) for scope, mask in scopes.items()}
    return Sheet(batch, sensitive, rows, torch.tensor(last_I, device=vlm.device), on_device)


def shuffled(pairs: Sequence[PrivacyPair], pictures: int, seed: int) -> list[list[list[PrivacyPair]]]:
    """The pairs of each picture, at most `pictures` pictures together, thrown together the same for the same seed."""
    cases = by_case(pairs)
    random.Random(seed).shuffle(cases)
    return [cases[start : start + pictures] for start in range(0, len(cases), pictures)]


def make_sheets(
    vlm: VLM, pairs: Sequence[PrivacyPair], *, pictures: int, seed: int, occurrence: Occurrence = "last"
) -> list[Sheet]:
    """The shuffled pairs as sheets."""
    return [
        make_sheet(vlm, [queries(case) for case in group], occurrence=occurrence)
        for group in shuffled(pairs, pictures, seed)
    ]


def subject_tokens(
    vlm: VLM, asked: Sequence[Query], picture: Picture | None, occurrence: Occurrence = "last"
) -> list[list[int]]:
    """Where each subject stands in its prompt: its tokens counted from the prompt's end, the last token of all being 1.

    Counting from the end holds whatever the picture in front of the question is expanded to.

    Raises:
        DataError: a subject is not in its question.
        ModelError: the tokenizer cannot say where its tokens come from.
    """
    template, pictures = vlm.template(with_image=picture is not None), [picture] if picture else []
    firsts = [query.pair.subject_start(query.question, occurrence) for query in asked]
    prompts = [template.before + query.question + template.between for query in asked]
    written = [vlm.family.write_out(prompt, pictures) for prompt in prompts]
    if not vlm.processor.tokenizer.is_fast:
        raise ModelError(f"model {vlm.id}: its tokenizer cannot say where its tokens come from; a fast one can")
    tokens = vlm.processor.tokenizer(written, add_special_tokens=False, return_offsets_mapping=True)
    found = []
    for query, text, first, offsets in zip(asked, written, firsts, tokens["offset_mapping"], strict=True):
        start = len(text) - len(template.between) - len(query.question) + first
        end = start + len(query.pair.subject)
        found.append([len(offsets) - k for k, (a, b) in enumerate(offsets) if a < end and b > start])
    return found


def check_pairs(vlm: VLM, pairs: Sequence[PrivacyPair]) -> None:
    """Refuse pairs that the model's tokenizer cannot write.

    Raises:
        DataError: a refusal tokenizes to nothing.
    """
    refusals = list(dict.fromkeys(pair.refusal for pair in pairs))
    for refusal, ids in zip(refusals, vlm.answer_ids(refusals, end=False), strict=True):
        if not ids:
            raise DataError(f"refusal {refusal!r}: tokenizes to nothing in model {vlm.id}")


def answered(vlm: VLM, pairs: Sequence[PrivacyPair], *, max_new_tokens: int, batch_size: int = 64) -> list[PrivacyPair]:
    """The pairs with the model's own greedy answer to each benign question that has none yet."""
    waiting = [index for index, pair in enumerate(pairs) if pair.benign and not pair.benign_answer]
    texts = speak(vlm, [(pairs[i], pairs[i].benign) for i in waiting], max_new_tokens, batch_size)
    done = list(pairs)
    for index, text in zip(waiting, texts, strict=True):
        if not text:
            raise DataError(f"case {pairs[index].case}: the unedited model says nothing to '{pairs[index].benign}'")
        done[index] = replace(pairs[index], benign_answer=text)
    return done


def speak(vlm: VLM, asked: Sequence[tuple[PrivacyPair, str]], max_new_tokens: int, batch_size: int = 64) -> list[str]:
    """What the model says to questions about the pictures of pairs, greedily."""
    by_image: dict[bytes | None, list[int]] = {}
    for index, (pair, _) in enumerate(asked):
        by_image.setdefault(pair.image, []).append(index)
    groups = []
    for members in by_image.values():
        picture = _picture(vlm, asked[members[0]][0])
        prompts = vlm.prompt_ids([asked[i][1] for i in members], picture=picture)
        groups.append(Group.of(prompts, [picture] if picture else []))
    rows = generate(vlm, groups, max_new_tokens=max_new_tokens, batch_size=batch_size)
    said = {
        i: row
        for members, own in zip(by_image.values(), rows, strict=True)
        for i, row in zip(members, own, strict=True)
    }
    return [vlm.decode([said[i]])[0] for i in range(len(asked))]


def _picture(vlm: VLM, pair: PrivacyPair) -> Picture | None:
    image = pair.picture()
    return None if image is None else vlm.picture(image)


def _answers_ids(vlm: VLM, asked: Sequence[Query]) -> list[list[int]]:
    answers = [query.answer for query in asked]
    ended, left_open = vlm.answer_ids(answers), vlm.answer_ids(answers, end=False)
    rows = [ended[i] if query.whole else left_open[i] for i, query in enumerate(asked)]
    for query, ids in zip(asked, rows, strict=True):
        if not ids:
            kind = "refusal" if query.sensitive else "benign answer"
            raise DataError(f"case {query.pair.case}: the {kind} {query.answer!r} tokenizes to nothing")
    return rows


def _paths(tree: Tree) -> list[list[int]]:
    """For each answer in order, the places in the packed row of the tokens of its prompt."""
    starts = list(itertools.accumulate((len(node.ids) for node in tree.nodes), initial=0))
    paths: dict[int, list[int]] = {}
    for node in tree.nodes:
        if node.item >= 0:
            path: list[int] = []
            index = node.parent
            while index >= 0:
                path[:0] = range(starts[index], starts[index] + len(tree.nodes[index].ids))
                index = tree.nodes[index].parent
            paths[node.item] = path
    return [paths[item] for item in range(len(paths))]
