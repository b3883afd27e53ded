"""Compares a model's figures under the published protocol with those that others measured, one verdict per figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from unsee.config.protocols import EvaluationConfig
from unsee.config.recipe import build_dataclass, build_table
from unsee.core.errors import ConfigError, DataError
from unsee.core.progress import Progress, Silent
from unsee.core.reading import read_toml
from unsee.data.people.source import OWN_FORMAT, find_format, open_benchmark, open_dataset
from unsee.data.schema import Input
from unsee.exams.people import Exam
from unsee.exams.plan import CellKey
from unsee.methods.base import NonNegativeFloat, PositiveInt
from unsee.models.vlm import VLM
from unsee.scoring.cells import cells

EXPECTED = Path(__file__).with_name("conformance.toml")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One stored figure: a metric in a cell, its tolerance, and the source of the measurement."""

    set: Literal["forget", "test", "retain", "celebrity"]
    task: Literal["classification", "generation", "cloze"]
    input: Input
    metric: str
    value: float
    tolerance: NonNegativeFloat
    source: str

    @property
    def cell(self) -> CellKey:
        """Set, task and input."""
        return self.set, self.task, self.input


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The stored figures, the forget ratio and format of their data, and the settings of the evaluation."""

    forget_percent: PositiveInt
    format: str
    figures: tuple[Figure, ...]
    evaluation: EvaluationConfig


class CheckRow(NamedTuple):
    """The comparison of one figure as text; `verdict` is "pass" or "fail"."""

    set: str
    task: str
    input: str
    metric: str
    expected: str
    measured: str
    source: str
    verdict: str


def read_expected(path: Path) -> Expected:
    """Read stored figures from a TOML file.

    It has `forget_percent`, `format` (by default that of MLLMU-Bench), one table `[[figure]]` per figure, and
    `[evaluation]` with keys of a recipe.

    Raises:
        ConfigError: the file cannot be read, or a value in it cannot be used.
    """
    content = read_toml(path, ConfigError)
    figures = content.pop("figure", None)
    if not isinstance(figures, list) or not figures or not all(isinstance(each, Mapping) for each in figures):
        raise ConfigError(f"{path}: holds no figure; write at least one [[figure]]")
    evaluation = content.pop("evaluation", {})
    if not isinstance(evaluation, dict):
        raise ConfigError(f"{path}: evaluation: must be a table")
    head = build_dataclass(_Head, content, str(path))
    return Expected(
        forget_percent=head.forget_percent,
        format=head.format,
        figures=tuple(build_dataclass(Figure, each, f"{path}: figure {i}") for i, each in enumerate(figures, start=1)),
        evaluation=build_table(EvaluationConfig, {"protocol": "published"} | evaluation, f"{path}: evaluation"),
    )


def check_conformance(
    model: str, data: str, expected: Path = EXPECTED, progress: Progress | None = None, processor: str = ""
) -> list[CheckRow]:
    """Ask a model the questions that the stored figures cover, and compare.

    Of data in another format than that of the figures, the shape alone is compared: how many people each set has.

    Args:
        model: a shipped model's name, a folder or a hub id.
        data: as `data.source` of a recipe.
        expected: the file of stored figures.
        progress: where long work is shown.
        processor: the model whose processor to use, if this one has none.

    Raises:
        UnseeError: the file, the data or the model cannot be used.
    """
    stored = read_expected(expected)
    format = find_format(data)
    if format != stored.format:
        return _shape(data, format, progress or Silent())
    benchmark = open_benchmark(data, stored.forget_percent, format=format)
    vlm = VLM.load(model, processor=processor)
    exam = Exam(vlm, benchmark, (), stored.evaluation).only({figure.cell for figure in stored.figures})
    if not exam.prompt_groups:
        raise DataError(f"{data}: has no question of the kinds that {expected.name} is about")
    answers = exam.examine(vlm, name=model, progress=progress).assign(method=model, modality="", seed=0)
    measured = {(cell.set, cell.task, cell.input, cell.metric): cell.value for cell in cells(answers)}
    return [_row(figure, measured.get((*figure.cell, figure.metric))) for figure in stored.figures]


@dataclass(frozen=True, kw_only=True)
class _Head:
    forget_percent: PositiveInt
    format: str = OWN_FORMAT


def _shape(data: str, format: str, progress: Progress) -> list[CheckRow]:
    """Compare the number of people in each set, at each forget ratio that the data hold, with the published one."""
    dataset = open_dataset(data, format)
    rows = []
    for percent in dataset.percents:
        metric = f"people at {percent} %"
        try:
            benchmark = open_benchmark(data, percent, format=format)
        except DataError as error:
            progress.say(f"data, {percent} %: {error}")
            rows.append(CheckRow("-", "-", "-", metric, "readable", "not readable", dataset.hub, "fail"))
            continue
        for note in benchmark.notes:
            progress.say(f"data, {percent} %: {note}")
        for name, count in dataset.published_people(percent).items():
            found = len(getattr(benchmark, name))
            rows.append(
                CheckRow(
                    name, "-", "-", metric, str(count), str(found), dataset.hub,
                    "pass" if found == count else "fail",
                )
            )  # fmt: skip
    if not rows:
        raise DataError(f"{data}: nothing is known of the published shape of the format '{format}'")
    return rows


def _row(figure: Figure, measured: float | None) -> CheckRow:
    if measured is None:
        raise DataError(f"{figure.metric} of {', '.join(figure.cell)}: the data or the metric gives no such figure")
    passed = abs(measured - figure.value) <= figure.tolerance
    return CheckRow(
        *figure.cell, figure.metric, f"{figure.value:.4f} +- {figure.tolerance:.4f}", f"{measured:.4f}", figure.source,
        "pass" if passed else "fail",
    )  # fmt: skip
