"""MME: perception and cognition, in pairs of a yes and a no question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from unsee.core.errors import DataError
from unsee.core.reading import numbered_lines, read_text
from unsee.scoring.intervals import Bootstrap, Draws
from unsee.utility import UTILITY
from unsee.utility.base import Mark, UtilityBenchmark, UtilityItem, by_group
from unsee.utility.published_files import encoded, read_image, read_rows

PERCEPTION = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR",
)  # fmt: skip
_ROW = {"question_id": str, "category": str, "question": str, "answer": str, "image": dict | None}
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")


@UTILITY.register("mme", paper="arXiv:2306.13394")
@dataclass(frozen=True, kw_only=True)
class MME(UtilityBenchmark):
    """Two questions about each image, one to be answered yes and one no, in fourteen subtasks.

    The data are a folder per subtask with a text file for each image, next to it or in `questions_answers_YN` with the
    images in `images`; or the parquet files of the hub. The questions are asked unchanged, as they ask for yes or no.
    """

    hub: ClassVar[str] = "lmms-lab/MME"
    files: ClassVar[tuple[str, ...]] = ("data/*.parquet",)
    max_new_tokens: ClassVar[int] = 16

    def items(self, folder: Path) -> Iterator[UtilityItem]:
        """Return both questions of every image of every subtask."""
        texts = [path for task in (*PERCEPTION, *COGNITION) for path in sorted((folder / task).glob("**/*.txt"))]
        tables = sorted(folder.glob("**/*.parquet"))
        if not texts and not tables:
            raise DataError(f"{folder}: holds neither a folder of a subtask ({PERCEPTION[0]}, ...) nor a parquet file")
        for path in texts:
            task = path.relative_to(folder).parts[0]
            image = read_image((path.parent, folder / task / "images"), path.stem)
            lines = [line for _, line in numbered_lines(read_text(path))]
            if len(lines) != 2:
                raise DataError(f"{path}: {len(lines)} questions; must be two, one yes and one no")
            for number, line in enumerate(lines):
                question, _, answer = line.partition("\t")
                yield _item(task, path.stem, number, question, answer, image, str(path))
        for number, row in enumerate(read_rows(() if texts else tables, _ROW)):
            name, where = row["question_id"].partition("/")[2] or row["question_id"], f"MME {row['question_id']}"
            image = encoded(row["image"], where)
            yield _item(row["category"], Path(name).stem, number, row["question"], row["answer"], image, where)

    def mark(self, item: UtilityItem, answer: str) -> Mark:
        """Read yes or no at the beginning of the answer (its first four characters, as published)."""
        said = answer.strip().lower().replace(".", "")
        read = {"y": "yes", "n": "no"}.get(said) or next((word for word in ("yes", "no") if word in said[:4]), "")
        return Mark(read, float(read == item.truth), bool(read))

    def metrics(self, bootstrap: Bootstrap) -> dict[str, Draws]:
        """Return perception and cognition, then the subtasks.

        A subtask counts its accuracy plus its accuracy over pairs, each up to 100; perception and cognition are sums
        over subtasks.
        """
        pairs = bootstrap.answers.groupby(["group", "unit"])["value"].transform("min")
        rows = bootstrap.answers.assign(pair=pairs)
        single, whole = by_group(bootstrap, rows), by_group(bootstrap, rows, "pair")
        totals = {task: 100 * (single[task] + whole[task]) for task in single}
        numbers = {}
        for name, tasks in (("perception", PERCEPTION), ("cognition", COGNITION)):
            if present := [totals[task] for task in tasks if task in totals]:
                numbers[name] = sum(present[1:], start=present[0])
        for task, total in totals.items():
            numbers |= {task: total, f"{task}: accuracy": 100 * single[task], f"{task}: accuracy+": 100 * whole[task]}
        return numbers


def _item(task: str, image: str, number: int, question: str, answer: str, content: bytes, where: str) -> UtilityItem:
    truth = answer.strip().lower().rstrip(".")
    if truth not in ("yes", "no"):
        raise DataError(f"{where}: answer '{answer.strip()}'; must be Yes or No, behind the question and a tab")
    return UtilityItem(
        id=f"{task}/{image}/{number}",
        unit=f"{task}/{image}",
        group=task,
        text=question.strip(),
        images=(content,),
        truth=truth,
    )
