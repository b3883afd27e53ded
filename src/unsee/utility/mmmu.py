"""MMMU: college exams in thirty subjects, with up to seven images in one question."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from unsee.core.errors import DataError
from unsee.scoring.intervals import Bootstrap, Draws
from unsee.utility import UTILITY
from unsee.utility.base import Mark, UtilityBenchmark, UtilityItem, by_group, letter, lettered, mean
from unsee.utility.published_files import encoded, read_rows

CHOICE = "{}\n\n{}\n\nAnswer with the option's letter from the given choices directly."
OPEN = "{}\n\nAnswer the question using a single word or phrase."
DISCIPLINES = {
    "Art and Design": "Art Art_Theory Design Music",
    "Business": "Accounting Economics Finance Manage Marketing",
    "Science": "Biology Chemistry Geography Math Physics",
    "Health and Medicine": (
        "Basic_Medical_Science Clinical_Medicine Diagnostics_and_Laboratory_Medicine Pharmacy Public_Health"
    ),
    "Humanities and Social Science": "History Literature Sociology Psychology",
    "Tech and Engineering": (
        "Agriculture Architecture_and_Engineering Computer_Science Electronics Energy_and_Power Materials "
        "Mechanical_Engineering"
    ),
}
_FIELDS = {"id": str, "question": str, "options": str, "answer": str, "question_type": str}
_NO_LITERAL = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
_IMAGE = re.compile(r"<image (\d)>")
_SENTENCE_END = re.compile(r"\n|\. (?=[A-Z])")
_LEADS = re.compile(r"could be |so |is |thus |therefore |final |answer |result ")
_NUMBER = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@UTILITY.register("mmmu", paper="arXiv:2311.16502")
@dataclass(frozen=True, kw_only=True)
class MMMU(UtilityBenchmark):
    """Choices and open questions of the validation split; accuracy overall and by discipline.

    The data are a folder with one folder of parquet files per subject, as on the hub. The images of a question are
    shown before it.
    Deviation from the authors' code: an answer that names no option is wrong; theirs draws an option at random.
    """

    hub: ClassVar[str] = "MMMU/MMMU"
    files: ClassVar[tuple[str, ...]] = ("*/validation-*.parquet",)
    max_new_tokens: ClassVar[int] = 128

    def items(self, folder: Path) -> Iterator[UtilityItem]:
        """Return every question of every subject in the folder."""
        tables = sorted(folder.glob("**/validation-*.parquet"))
        if not tables:
            raise DataError(f"{folder}: holds no validation-*.parquet, in no folder of a subject")
        for row in read_rows(tables, _FIELDS):
            yield _item(row)

    def mark(self, item: UtilityItem, answer: str) -> Mark:
        """Read a letter for a choice; for an open question, every phrase or number that may be the answer."""
        if item.options:
            read = _chosen(answer, item.options)
            return Mark(read, float(read == item.truth), bool(read))
        said = _said(answer)
        right = any(_matches(truth, said) for truth in _alternatives(item.truth))
        return Mark(said[0] if said else "", float(right), bool(said))

    def metrics(self, bootstrap: Bootstrap) -> dict[str, Draws]:
        """Return the accuracy overall, by discipline and by subject."""
        rows = bootstrap.answers
        numbers = {"accuracy": mean(bootstrap, rows)}
        for discipline, names in DISCIPLINES.items():
            if len(part := rows[rows["group"].isin(names.split())]):
                numbers[discipline] = mean(bootstrap, part)
        return numbers | by_group(bootstrap, rows)


def _item(row: Mapping[str, Any]) -> UtilityItem:
    where = f"MMMU {row['id']}"
    try:
        options = tuple(map(str, ast.literal_eval(row["options"])))
    except _NO_LITERAL as error:
        raise DataError(f"{where}: options are no list: {row['options'][:60]!r}; fetch it again") from error
    is_choice = row["question_type"] == "multiple-choice"
    listed = lettered(options, "({}) {}")
    numbers = sorted(set(_IMAGE.findall(f"{row['question']} {listed}")))
    if is_choice and row["answer"] not in map(letter, range(len(options))):
        raise DataError(f"{where}: answer '{row['answer']}' of {len(options)} options; fetch it again")
    return UtilityItem(
        id=row["id"],
        unit=row["id"],
        group=re.sub(r"^[a-z]+_|_\d+$", "", row["id"]),
        text=CHOICE.format(row["question"], listed) if is_choice else OPEN.format(row["question"]),
        images=tuple(encoded(row.get(f"image_{number}"), where) for number in numbers),
        truth=str(row["answer"]),
        options=options if is_choice else (),
    )


def _chosen(answer: str, options: tuple[str, ...]) -> str:
    """Return the option named.

    That is the last one as "(B)", else the one that begins the answer as in "B. a dog", else the last one as a separate
    letter, else as "B.", else (in longer answers) by its text.
    """
    text = f" {answer.strip().strip(',.!?;:' + chr(39))} "
    letters = [letter(index) for index in range(len(options))]
    for form in (r"\(([A-Z])\)", r"^ ([A-Z])[.:)](?= )", r" ([A-Z])(?= )", r" ([A-Z])[.:)](?= )"):
        if named := [name for name in re.findall(form, text) if name in letters]:
            return str(named[-1])
    if len(text.split()) <= 5:
        return ""
    lowered = text.lower()
    places = {lowered.rfind(option.lower()): name for name, option in zip(letters, options, strict=True)}
    return places[max(places)] if max(places) >= 0 else ""


def _said(answer: str) -> list[str]:
    """Return the ends of concluding sentences (else the whole answer), and the numbers in them."""
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(answer.strip().strip("."))]
    ends = []
    for index, sentence in enumerate(sentences):
        pieces = _LEADS.split(sentence.lower())
        if index == len(sentences) - 1:
            pieces += pieces.pop().split("=")
        if len(pieces) > 1 and (end := pieces[-1].strip()) not in {"", *":,.!?;'"}:
            ends.append(end)
    said = ends or [answer.strip().strip(".").lower()]
    numbers = [number for text in said for number in _NUMBER.findall(text)]
    return [text for text in (*said, *numbers) if text]


def _alternatives(truth: str) -> list[str]:
    """Return the correct answers to an open question, which the data hold as one text or as a Python list."""
    try:
        texts = ast.literal_eval(truth) if truth.startswith("[") else [truth]
    except _NO_LITERAL:
        texts = [truth]  # such as an interval
    return [str(text) for text in texts]


def _matches(truth: str, said: list[str]) -> bool:
    """Return True if the answer holds the truth: a number to two places, a letter as a word, else a text anywhere."""
    if (number := _as_number(truth)) is not None:
        return number in {_as_number(text) for text in said}
    wanted = truth.strip().lower()
    if len(wanted) == 1:
        return any(wanted in text.split() for text in said)
    return any(wanted in text for text in said if _as_number(text) is None)


def _as_number(text: str) -> float | None:
    try:
        return round(float(text.replace(",", "")), 2)
    except ValueError:
        return None
