"""Asks one model all questions of a data folder."""

from __future__ import annotations

from unsee.config.recipe import EvaluationConfig
from unsee.core.progress import Progress, Silent
from unsee.data.people.source import FOUND, open_benchmark
from unsee.exams.people import Exam
from unsee.exams.plan import general_questions
from unsee.models.vlm import VLM
from unsee.scoring.cells import cells
from unsee.scoring.schema import Cell


def evaluate_model(
    model: str,
    data: str,
    forget_percent: int,
    progress: Progress | None = None,
    config: EvaluationConfig | None = None,
    processor: str = "",
    format: str = FOUND,
) -> list[Cell]:
    """Ask one model all questions of a data folder, and return every metric of every cell.

    Args:
        model: a shipped model's name, a folder or a hub id.
        data: as `data.source` of a recipe.
        forget_percent: the forget ratio, which selects the forget set.
        progress: where long work is shown.
        config: how the model is asked; by default the clean protocol.
        processor: the model whose processor to use, if this one has none.
        format: as `data.format` of a recipe.

    Raises:
        UnseeError: the model or the data cannot be used.
    """
    benchmark = open_benchmark(data, forget_percent, format=format)
    progress = progress or Silent()
    for note in benchmark.notes:
        progress.say(f"data: {note}")
    vlm = VLM.load(model, processor=processor)
    config = config or EvaluationConfig()
    exam = Exam(vlm, benchmark, general_questions(config, 0), config)
    answers = exam.examine(vlm, name=model, progress=progress).assign(method=model, modality="", seed=0)
    return cells(answers)
