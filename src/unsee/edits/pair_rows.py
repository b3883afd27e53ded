"""Privacy pairs as packed rows: one row holds a picture, all questions about it and their answers.

Shape letters: B rows (pictures), T tokens, I answers.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

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
"""Sets of tokens of a row: each subject's last token, all tokens of the subjects, all but the picture's, all."""
PLAIN = ("{}",)
"""The question without any context."""
ANSWER_TOKENS = 48
"""Longest benign answer of the unedited model."""


@dataclass(frozen=True)
class Query:
    """One question with its wanted answer.

    Attributes:
        pair: the pair it comes from.
        question: the text of the question.
        answer: the text of the wanted answer.
        sensitive: whether the answer is a refusal.
        whole: whether the answer ends with the end token; otherwise it is only the beginning of one.
    """

    pair: PrivacyPair
    question: str
    answer: str
    sensitive: bool
    whole: bool = True


@dataclass(frozen=True)
class PairRows:
    """Several pictures with their questions and wanted answers.

    Attributes:
        batch: the packed rows.
        sensitive_I: whether the answer is a refusal.
        row_I: the row of each answer.
        last_I: the subject's last token in the question of each answer, as an index into the flattened (B * T) tokens.
        scopes: a mask of tokens (B, T) for each scope.
        own_refusals: whether the refusals are the pairs' own; False if they were swapped between pairs.
    """

    batch: Batch
    sensitive_I: Tensor
    row_I: Tensor
    last_I: Tensor
    scopes: Mapping[Scope, Tensor]
    own_refusals: bool = True

    @property
    def num_rows(self) -> int:
        """The number of pictures."""
        return len(self.scopes["every"])

    def loss_B(self, scored: Scored, benign_weight: float) -> Tensor:
        """Compute each picture's mean refusal loss plus `benign_weight` times its mean benign loss, nats per token.

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
    """Return the queries about one picture: sensitive questions in every context, benign ones without any.

    Args:
        contexts: texts in which `{}` is replaced by the question.
        benign_words: cut benign answers to so many words, without the end token; None keeps them whole.

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


def make_pair_rows(vlm: VLM, pictures: Sequence[Sequence[Query]], *, occurrence: Occurrence = "last") -> PairRows:
    """Pack the queries about each picture into one row.

    Args:
        pictures: the queries of each row; the picture is that of the first one.
        occurrence: the mention of the subject that counts, as in `PrivacyPair.subject_start`.

    Raises:
        DataError: an answer tokenizes to nothing.
        ModelError: the tokenizer does not report the offsets of its tokens.
    """
    trees, places = [], []
    for asked in pictures:
        picture = _picture(vlm, asked[0].pair)
        prompts = vlm.prompt_ids([query.question for query in asked], picture=picture)
        answers = _answers_ids(vlm, asked)
        trees.append(build_tree(prompts, [[answer] for answer in answers], [picture] if picture else []))
        places.append(subject_tokens(vlm, asked, picture, occurrence))
    batch = collate(trees, vlm, ends=True).to(vlm.device)
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
    return PairRows(batch, sensitive, rows, torch.tensor(last_I, device=vlm.device), on_device)


def group_pictures(pairs: Sequence[PrivacyPair], pictures: int, seed: int) -> list[list[list[PrivacyPair]]]:
    """Shuffle the pictures by the seed and group them, at most `pictures` in a group; each is the list of its pairs."""
    cases = by_case(pairs)
    random.Random(seed).shuffle(cases)
    return [cases[start : start + pictures] for start in range(0, len(cases), pictures)]


def shuffled_pair_rows(
    vlm: VLM, pairs: Sequence[PrivacyPair], *, pictures: int, seed: int, occurrence: Occurrence = "last"
) -> list[PairRows]:
    """Pack the groups of `group_pictures`, one row for each picture."""
    return [
        make_pair_rows(vlm, [queries(case) for case in group], occurrence=occurrence)
        for group in group_pictures(pairs, pictures, seed)
    ]


def subject_tokens(
    vlm: VLM, asked: Sequence[Query], picture: Picture | None, occurrence: Occurrence = "last"
) -> list[list[int]]:
    """Find the tokens of each subject in its prompt, counted from the prompt's end (the last token is 1).

    Counted from the end they do not depend on the number of picture tokens before the question.

    Raises:
        DataError: a subject is not in its question.
        ModelError: the tokenizer does not report the offsets of its tokens.
    """
    template, pictures = vlm.template(with_image=picture is not None), [picture] if picture else []
    firsts = [query.pair.subject_start(query.question, occurrence) for query in asked]
    prompts = [template.before + query.question + template.between for query in asked]
    written = [vlm.family.write_out(prompt, pictures) for prompt in prompts]
    if not vlm.processor.tokenizer.is_fast:
        raise ModelError(f"model {vlm.id}: its tokenizer does not report the offsets of its tokens; a fast one does")
    tokens = vlm.processor.tokenizer(written, add_special_tokens=False, return_offsets_mapping=True)
    found = []
    for query, text, first, offsets in zip(asked, written, firsts, tokens["offset_mapping"], strict=True):
        start = len(text) - len(template.between) - len(query.question) + first
        end = start + len(query.pair.subject)
        found.append([len(offsets) - k for k, (a, b) in enumerate(offsets) if a < end and b > start])
    return found


def check_pairs(vlm: VLM, pairs: Sequence[PrivacyPair]) -> None:
    """Check that every refusal has at least one token.

    Raises:
        DataError: a refusal tokenizes to nothing.
    """
    refusals = list(dict.fromkeys(pair.refusal for pair in pairs))
    for refusal, ids in zip(refusals, vlm.answer_ids(refusals, end=False), strict=True):
        if not ids:
            raise DataError(f"refusal {refusal!r}: tokenizes to nothing in model {vlm.id}")


def answered(vlm: VLM, pairs: Sequence[PrivacyPair], *, max_new_tokens: int, batch_size: int = 64) -> list[PrivacyPair]:
    """Return the pairs with the model's own greedy answer to each benign question that has no answer yet.

    Raises:
        DataError: the model's answer is empty.
    """
    waiting = [index for index, pair in enumerate(pairs) if pair.benign and not pair.benign_answer]
    texts = greedy_answers(vlm, [(pairs[i], pairs[i].benign) for i in waiting], max_new_tokens, batch_size)
    done = list(pairs)
    for index, text in zip(waiting, texts, strict=True):
        if not text:
            raise DataError(f"case {pairs[index].case}: the unedited model says nothing to '{pairs[index].benign}'")
        done[index] = replace(pairs[index], benign_answer=text)
    return done


def greedy_answers(
    vlm: VLM, asked: Sequence[tuple[PrivacyPair, str]], max_new_tokens: int, batch_size: int = 64
) -> list[str]:
    """Generate the model's greedy answers to questions about the pictures of pairs."""
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
    """Return the places of each prompt's tokens in the packed row, in the order of the answers."""
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
