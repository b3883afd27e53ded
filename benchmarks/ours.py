"""unsee's side of the works."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch.nn import Parameter

from benchmarks.published.evaluation import Reply
from benchmarks.published.unlearning import BETA, RATE
from unsee.config.recipe import EvaluationConfig
from unsee.core.journal import Journal
from unsee.data.schema import Benchmark, Person
from unsee.exams.people import Exam
from unsee.methods.base import Loss, LossMethod, Side
from unsee.methods.gradient_ascent import GradientAscent
from unsee.methods.gradient_difference import GradientDifference
from unsee.methods.kl_minimisation import KLMinimisation
from unsee.methods.npo import NPO
from unsee.models.vlm import VLM
from unsee.training.batches import Plan, Stream
from unsee.training.lessons import Lessons
from unsee.training.train import train

EPOCH = {"learning_rate": RATE, "steps": 0, "epochs": 1}
METHODS: Mapping[str, LossMethod] = {
    "gradient_ascent": GradientAscent(**EPOCH),  # type: ignore[arg-type]
    "gradient_difference": GradientDifference(**EPOCH, schedule="alternating"),  # type: ignore[arg-type]
    "kl_minimisation": KLMinimisation(
        **EPOCH, schedule="alternating", reduction="batchmean", positions="all", cross_entropy_weight=1.0  # type: ignore[arg-type]
    ),
    "npo": NPO(**EPOCH, beta=BETA, retain_weight=0.0, reduction="batch"),  # type: ignore[arg-type]
}  # fmt: skip


def evaluate(vlm: VLM, benchmark: Benchmark, config: EvaluationConfig) -> dict[str, Reply]:
    """Return the model's answer to every question. All metrics are computed and a journal is written."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal")
        exam = Exam(vlm, benchmark, (), config)
        exam.examine(vlm, journal=journal)
        replies = {item.id: journal[item.id] for group in exam.prompt_groups for item in group.items}
    return {
        id: (said[0] if said else None, [score / length for score, length in scores])
        for id, (said, scores) in replies.items()
    }


def epoch(
    vlm: VLM, trainable: Sequence[Parameter], name: str, people: Mapping[Side, Sequence[Person]], questions: int
) -> list[float]:
    """Train for one epoch with the examples of each step in one row under their photo.

    Returns:
        The cross-entropy of every step for which the method reports it.
    """
    method = METHODS[name]
    streams = [
        Stream(
            make_rows=Lessons(vlm, people[side], ("image",), questions, "published").rows, sides=(side,), vlm=vlm,
            seed=side, batch_examples=1, labels="full",
            whole_sides=tuple(one for one in method.whole_sides if one == side),
        )
        for side in method.sides
    ]  # fmt: skip
    plan = Plan(streams, replace(method, learning_rate=RATE, steps=0, epochs=1), "published", "transformers")
    seen: list[float] = []

    def note(step: int, loss: Loss, rate: float) -> None:
        seen.extend(loss.parts[side] for side in method.sides if side in loss.parts)

    train(vlm, method, plan.steps, plan.schedule, trainable, name=name, on_step=note)
    return seen
