"""The same works done by unsee."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.published.evaluation import Said
from benchmarks.published.unlearning import ALPHA, BETA, RANK, RATE
from unsee.collate import collate, pack_by_length
from unsee.config import EvaluationConfig
from unsee.data.schema import Benchmark, Person
from unsee.evaluate import Exam
from unsee.journal import Journal
from unsee.methods.base import LossMethod, Order, Side
from unsee.methods.gradient_ascent import GradientAscent
from unsee.methods.gradient_difference import GradientDifference
from unsee.methods.kl_minimisation import KLMinimisation
from unsee.methods.npo import NPO
from unsee.models.vlm import VLM
from unsee.steps import Course, Stream
from unsee.teach import Lessons
from unsee.train import Scorer, train

TURNS, BATCH_TOKENS = 64, 1500
EPOCH = {"learning_rate": RATE, "steps": 0, "epochs": 1}
METHODS: Mapping[str, LossMethod] = {
    "gradient_ascent": GradientAscent(**EPOCH),  # type: ignore[arg-type]
    "gradient_difference": GradientDifference(**EPOCH, schedule="alternating"),  # type: ignore[arg-type]
    "kl_minimisation": KLMinimisation(
        **EPOCH, schedule="alternating", reduction="batchmean", cross_entropy_weight=1.0  # type: ignore[arg-type]
    ),
    "npo": NPO(**EPOCH, beta=BETA, retain_weight=0.0, reduction="batch"),  # type: ignore[arg-type]
}  # fmt: skip
LOOKED_AT: Mapping[str, tuple[Side, ...]] = {"gradient_ascent": ("forget",), "npo": ("forget",)}


def evaluate(vlm: VLM, benchmark: Benchmark, config: EvaluationConfig) -> dict[str, Said]:
    """What the model says to every question, all metrics computed and every answer noted in a journal."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal")
        exam = Exam(vlm, benchmark, (), config)
        exam.sit(vlm, journal=journal)
        said = {item.id: journal[item.id] for sheet in exam.sheets for item in sheet.items}
    return {id: (text, [score for score, _ in scores]) for id, (text, scores) in said.items()}


def epoch(vlm: VLM, name: str, people: Mapping[str, Sequence[Person]]) -> None:
    """The same passes over the same examples, all questions about one photo in one row."""
    method = METHODS[name]
    trainable = vlm.add_lora(RANK, ALPHA, "all_linear")
    streams = {
        side: Stream(
            make_trees=_lessons(vlm, people[side]).trees, vlm=vlm, seed=side, batch_tokens=BATCH_TOKENS, labels="full"
        )
        for side in LOOKED_AT.get(name, method.sides)
    }
    order: Order = getattr(method, "schedule", "joint")
    course = Course(streams, RATE, 0, 1, "published", order)
    train(vlm, method, course.pairs, course.schedule, trainable, name=name)


@torch.no_grad()
def losses(vlm: VLM, people: Sequence[Person]) -> list[float]:
    """Mean loss per token of every example before the first step, in order of size."""
    trees = _lessons(vlm, people).trees(random.Random(0))
    found: list[float] = []
    for rows in pack_by_length(trees, BATCH_TOKENS):
        scored = Scorer(vlm)(collate([trees[row] for row in rows], vlm, "full").to(vlm.device))
        found += (-scored.log_probability_I / scored.length_I).tolist()
    return sorted(found)


def _lessons(vlm: VLM, people: Sequence[Person]) -> Lessons:
    return Lessons(vlm, people, ("image",), TURNS, "published")
