"""How likely a model finds the training text of people, answer by answer: what memorisation is measured from.

Each question of the training text is scored with its true answer, with the answers of other people to the same
question, and in other words with the true answer. Nothing is generated. Shape letters as in `unsee.forward.losses`.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from unsee.config.protocols import Protocol
from unsee.core.journal import Journal
from unsee.core.progress import Progress, Silent
from unsee.core.source import source_hash
from unsee.data.people.questions import by_photo, training_text
from unsee.data.people.rewordings import about, rewordings
from unsee.data.schema import Input, Person, Question
from unsee.forward.prompts import lesson_answer_ids, render_lesson
from unsee.forward.trees import Tree, build_tree, collate, pack_by_length
from unsee.models.vlm import VLM
from unsee.runtime.cache import key_of

TRUE, REWORDED, OTHER = "true", "reworded", "other"
LEAST_SHARE = 0.2
"""The share of an answer's tokens, the least likely ones, that Min-K averages over (Shi et al. 2024)."""
_VARIANCE_FLOOR = 1e-6
_BATCH_TOKENS = 4096
_NAME = "\0"  # stands for a name in a question and its answer


@dataclass(frozen=True)
class _Scored:
    """One answer to be scored.

    Attributes:
        set: "forget", or "stranger" for people whom nobody was taught.
        unit: ID of the person.
        input: image or text.
        question: number of the question among those of this person and input.
        kind: `TRUE`, `REWORDED` (the true answer to the question in other words) or `OTHER` (another person's answer).
        answer: the answer.
    """

    set: str
    unit: str
    input: Input
    question: int
    kind: str
    answer: str


class LikelihoodExam:
    """Scores the training text of people to forget and of strangers.

    Args:
        vlm: its tokenizer and processor prepare texts and photos.
        forget: the people to forget.
        others: people whose answers to the same questions are taken as perturbed ones.
        strangers: people whom nobody was taught, with training text.
        protocol: the wording.
        count: number of perturbed answers.
        seed: draws them.
    """

    def __init__(
        self, vlm: VLM, forget: Sequence[Person], others: Sequence[Person], strangers: Sequence[Person],
        protocol: Protocol, count: int, seed: int,
    ) -> None:  # fmt: skip
        self._protocol, self._count, self._seed = protocol, count, seed
        self._known = _answers_by_question(others)
        self._trees: list[Tree] = []
        self._rows: list[list[_Scored]] = []
        for name, people in (("forget", forget), ("stranger", strangers)):
            for person in people:
                taught = training_text(person)
                for kind in ("image", "text"):
                    start = 0
                    for asked in by_photo([question for question in taught if question.input == kind]):
                        self._add(vlm, name, person, asked, start)
                        start += len(asked)
        self.key = key_of(
            "likelihoods", protocol, count, seed, [[vars(one) for one in rows] for rows in self._rows],
            source_hash(__name__),
        )  # fmt: skip

    def examine(
        self, vlm: VLM, *, system: str | None = None, name: str = "model", progress: Progress | None = None,
        journal: Journal | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Return a row for each answer: what `_Scored` says, and the numbers of `_statistics`."""
        batches = pack_by_length(self._trees, _BATCH_TOKENS)
        found: list[dict[str, object]] = []
        with (progress or Silent()).task(name, len(batches)) as advance:
            for batch in batches:
                numbers = _statistics(vlm, [self._trees[index] for index in batch])
                rows = [row for index in batch for row in self._rows[index]]
                found += [vars(row) | own for row, own in zip(rows, numbers, strict=True)]
                advance(1)
        table = pd.DataFrame(found)
        table["zlib"] = [len(zlib.compress(answer.encode())) for answer in table["answer"]]
        return table.drop(columns="answer").sort_values(["set", "unit", "input", "question"], kind="stable")

    def _add(self, vlm: VLM, set_name: str, person: Person, asked: Sequence[Question], start: int) -> None:
        """Add one person's questions with one photo, or by name, as a tree; the first is number `start`."""
        pictures = [vlm.picture(person.image(asked[0].photo or 0))] if asked[0].input == "image" else []
        prompts: list[str] = []
        rows: list[list[_Scored]] = []
        for number, question in enumerate(asked, start):
            told = [(TRUE, question.answer)]
            forms = [(question.question, told)]
            if set_name == "forget":
                told += [(OTHER, answer) for answer in self._perturbed(person, question)]
                if question.paraphrase:
                    told.append((REWORDED, question.paraphrase))
                else:
                    reworded = rewordings(question.question, person.name, 1)
                    forms += [(text, [(REWORDED, question.answer)]) for text in reworded]
            for text, answers in forms:
                prompts.append(render_lesson(vlm, replace(question, question=text), self._protocol))
                rows.append([_Scored(set_name, person.id, question.input, number, *one) for one in answers])
        flat = [row for each in rows for row in each]
        ids = iter(lesson_answer_ids(vlm, [row.answer for row in flat], self._protocol))
        answers_ids = [[next(ids) for _ in each] for each in rows]
        self._trees.append(build_tree([vlm.text_ids(prompt, pictures) for prompt in prompts], answers_ids, pictures))
        self._rows.append(flat)

    def _perturbed(self, person: Person, question: Question) -> list[str]:
        """Return false answers: those of the benchmark, else other people's answers to the same question."""
        if question.perturbed:
            return list(question.perturbed)
        asked = question.question.replace(person.name, _NAME)
        known = self._known.get((question.input, asked), {})
        told = dict.fromkeys(
            answer.replace(_NAME, person.name) for other, answer in known.items() if other != person.id
        )
        told.pop(question.answer, None)
        rng = random.Random(f"{self._seed}-perturbed-{person.id}-{question.input}-{question.question}")
        return rng.sample(list(told), min(self._count, len(told)))


def _answers_by_question(people: Sequence[Person]) -> dict[tuple[Input, str], dict[str, str]]:
    """Return the answers to each question of the training text by person; a name in them is replaced by a mark."""
    found: dict[tuple[Input, str], dict[str, str]] = {}
    for person in people:
        for question in training_text(person):
            asked, answer = (about(text, person.name, _NAME) or text for text in (question.question, question.answer))
            found.setdefault((question.input, asked), {})[person.id] = answer
    return found


@torch.no_grad()
def _statistics(vlm: VLM, trees: Sequence[Tree]) -> list[dict[str, object]]:
    """Return the numbers of each answer over its tokens.

    tokens: their number.
    loss: mean negative log-probability, nats.
    least: mean log-probability of the `LEAST_SHARE` least likely tokens (Min-K).
    least_normal: the same of log-probabilities that are normalised over the vocabulary (Min-K++, Zhang et al. 2024).
    memorised: share of tokens that the model finds likeliest.
    extracted: share of the answer, from its end, that the model writes if the rest is given (Carlini et al. 2021).
    """
    batch = collate(trees, vlm).to(vlm.device)
    last_UD = vlm.hidden(batch.inputs).flatten(0, 1)[batch.places[0]]
    logits_UV = vlm.head()(last_UD).float()
    log_UV = logits_UV.log_softmax(-1)
    share_UV = log_UV.exp()
    mean_U = (share_UV * log_UV).sum(-1)
    spread_U = (share_UV * (log_UV - mean_U[:, None]).square()).sum(-1).clamp(min=_VARIANCE_FLOOR).sqrt()
    source_N = batch.places[1]
    log_N = log_UV[source_N, batch.target_N]
    normal_N = (log_N - mean_U[source_N]) / spread_U[source_N]
    right_N = logits_UV.argmax(-1)[source_N] == batch.target_N
    item_N = batch.item_N.cpu()
    columns = [value_N.cpu() for value_N in (log_N, normal_N, right_N)]
    order_N = torch.argsort(item_N, stable=True)
    lengths = torch.bincount(item_N, minlength=batch.num_items).tolist()
    parts = zip(*(value_N[order_N].split(lengths) for value_N in columns), strict=True)
    return [_of_answer(*part) for part in parts]


def _of_answer(log_T: Tensor, normal_T: Tensor, right_T: Tensor) -> dict[str, object]:
    count = len(log_T)
    least = max(1, int(LEAST_SHARE * count))
    wrong = (~right_T).nonzero().flatten()
    return {
        "tokens": count,
        "loss": -float(log_T.mean()),
        "least": float(log_T.sort().values[:least].mean()),
        "least_normal": float(normal_T.sort().values[:least].mean()),
        "memorised": float(right_T.float().mean()),
        "extracted": 1 - (int(wrong[-1]) + 1) / count if len(wrong) else 1.0,
    }
