"""The folder of a run; only this module reads and writes it.

config.toml       the resolved recipe; a folder belongs to the run whose config it holds
log.jsonl         one object per event: time, event and scalars, but no question or answer about a person
answers.parquet   one row per model and question: `ANSWER_COLUMNS`, one column per metric, and `pair` if there are pairs
signal.json  scores.json  models/  portraits/  report.html
attacks.parquet   the answers under attack, if there were attacks: the same columns, and attack, variant and budget
requests.parquet  the answers of models that forgot one group of people after another, if there were several requests
likelihoods.parquet   how likely models find text about the people to forget, if membership or depth was attacked
judged.parquet  judge.json  judge-journal.jsonl   after `unsee judge`
.lock             lock of the one process that writes here; released when the process ends

A run about documents has pictures/ in place of portraits/ and no signal.json; its answers also hold a column `leak` and
one column `refused_<judge>` per judge of refusal. A deletion request has request.json and model/ in place of
signal.json, scores.json and models/; an audit has audit.json, and attack, variant and budget in its answers.

Every file is written whole or not at all, and only its owner can read it (`unsee.core.files`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from filelock import BaseFileLock, FileLock, Timeout
from pandas.api.types import is_float_dtype, is_numeric_dtype

from unsee.core.errors import RecordError, first_line
from unsee.core.files import UNFINISHED, append_line, explained, make_private, replacing, sweep
from unsee.core.reading import numbered_lines, parse_json, parse_toml, read_json, read_text, read_toml

ANSWER_COLUMNS = (
    "method",  # target, oracle, oracle_2, do_nothing, random_weights or the name of a method's table
    "modality",  # image, text, both: the questions the method unlearned from; empty for controls
    "seed",
    "set",  # forget, test, retain, celebrity, general; about documents seen, unseen_images and so on
    "task",  # classification, generation, cloze; about documents private, benign
    "input",  # image, text
    "unit",  # resampled as a whole for intervals: ID of a person or picture; in the general set, of the item
    "item",  # the question's ID, equal across models
    "question",
    "truth",
    "answer",
    "options",  # option texts; empty unless classification, where truth and answer are one of them
    "valid",  # False if no answer could be read
    "chance",  # expected value of a blind guess; NaN if undefined
    "floor",  # rouge_l of other people's true answers; NaN if no other person is asked the same
)
PAIR = "pair"
"""A column where questions come in pairs: equal for the two of a unit that ask the same with the image and in text."""
_NUMBERS = ("seed", "accuracy")
_TEXTS = ("method", "modality", "set", "task", "input", "unit", "item", "question", "truth", "answer")
METRIC_COLUMNS = ("accuracy", "rouge_1", "rouge_2", "rouge_l", "bleu", "probability")
"""The metrics of unsee itself, in the order of reports; NaN if a metric is not defined for the task."""
OPTIONAL_METRICS = ("keyword_recall", "truth_ratio")
"""Those that only some benchmarks have what they need for; a column, and shown, where there are values."""
Better = Literal["higher", "lower"]
"""The direction in which the values of a metric come closer to the truth."""
LEAK, REFUSED, CLUSTER = "leak", "refused_", "cluster"
GENERAL_SET, STRANGER_SET = "general", "stranger"
"""The sets of questions unrelated to people and documents, and of questions about people whom nobody knows."""
MIN_UNITS = 5
"""The fewest people for an interval; two can both differ by chance, and then every resample shows a difference."""
ATTACKS_FILE = "attacks.parquet"
"""The answers under attack."""
REQUESTS_FILE = "requests.parquet"
"""The answers of models that forgot one group of people after another."""
LIKELIHOODS_FILE = "likelihoods.parquet"
"""How likely each model finds the training text of the people to forget, and the target with another model's states."""
PATCHED = "patched"
"""The kind of a likelihood that the target gives with another model's states."""
JUDGE_COLUMNS = ("judge", "score", "reason")
"""The columns that judged.parquet adds."""

_PRIVATE_FIELDS = frozenset({"question", "answer", "truth", "person", "unit", "options"})
_LOCK = ".lock"


def metric_columns(answers: pd.DataFrame) -> list[str]:
    """Return the metrics that a table of answers holds: those of every benchmark, then the others by name."""
    known = [name for name in METRIC_COLUMNS if name in answers.columns]
    return known + further_metrics(answers)


def further_metrics(answers: pd.DataFrame) -> list[str]:
    """Return the optional metrics and those of other distributions that a table of answers holds, sorted."""
    others = answers.columns.difference(METRIC_COLUMNS)
    return [str(name) for name in others if not is_reserved(name) and is_float_dtype(answers[name])]


def in_order(answers: pd.DataFrame) -> pd.DataFrame:
    """Return a table of answers with its columns in order: the fixed ones, the metrics, then any other."""
    first = [*ANSWER_COLUMNS, *metric_columns(answers)]
    return answers[[*first, *(column for column in answers.columns if column not in first)]]


def is_reserved(column: str) -> bool:
    """Return True if a column has a fixed meaning, so that no metric may have its name."""
    return column in (*ANSWER_COLUMNS, PAIR, *JUDGE_COLUMNS, LEAK, CLUSTER) or column.startswith(REFUSED)


class Record:
    """A run folder. Use `Record.create` to start or resume a run and `Record.open` to read one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: BaseFileLock | None = None

    @classmethod
    def check(cls, folder: Path, config: str) -> None:
        """Check that `create` would succeed, before expensive work; write nothing.

        Args:
            folder: the run folder.
            config: the resolved config as TOML.

        Raises:
            RecordError: the folder holds another run or other files, or cannot be written.
        """
        check_writable(folder)
        if "config.toml" in (record := cls(folder)):
            if _deciding(record.read_toml("config.toml")) != _deciding(parse_toml(config)):
                raise RecordError(f"{folder}: holds a run with another config; choose another --out or delete it")
        elif folder.is_dir() and any(path.name != _LOCK and path.suffix != UNFINISHED for path in folder.iterdir()):
            raise RecordError(f"{folder}: not empty and not a run (no config.toml); choose another --out")

    @classmethod
    def create(cls, folder: Path, config: str) -> Record:
        """Start a run in an empty or new folder, or resume the same run.

        Args:
            folder: the run folder.
            config: the resolved config as TOML.

        Raises:
            RecordError: as `check`, or another process is writing there.
        """
        cls.check(folder, config)
        record = cls(folder)
        with explained(folder, "created"):
            make_private(folder)
            record._lock = _locked(folder)
        sweep(folder, *(path for path in folder.iterdir() if path.is_dir()))
        if "config.toml" not in record:
            record.write_text("config.toml", config)
        return record

    @classmethod
    def open(cls, folder: Path) -> Record:
        """Return an existing run.

        Raises:
            RecordError: the folder is missing or holds no config.toml.
        """
        if not (folder / "config.toml").is_file():
            raise RecordError(f"{folder}: not a run folder (no config.toml)")
        return cls(folder)

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).exists()

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Yield a path for a file or folder, which is moved to `name` when the block ends, or deleted if it fails.

        Raises:
            RecordError: it cannot be written, or the run's folder has vanished.
        """
        self._check_present()
        with replacing(self.folder / name) as path:
            yield path

    def write_text(self, name: str, text: str) -> None:
        """Write one UTF-8 file."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write one file."""
        with self.replacing(name) as path:
            path.write_bytes(content)

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file; refuse NaN and infinity, which are not JSON."""
        self.write_text(name, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write one parquet file."""
        with self.replacing(name) as path:
            table.to_parquet(path, index=False, write_page_checksum=True)

    def read_text(self, name: str) -> str:
        """Return the text of one file.

        Raises:
            RecordError: it is missing or not UTF-8.
        """
        self.check_there(name)
        return read_text(self.folder / name, RecordError)

    def read_json(self, name: str) -> Any:
        """Return the value of one JSON file.

        Raises:
            RecordError: it is missing or not JSON.
        """
        self.check_there(name)
        return read_json(self.folder / name, RecordError)

    def read_toml(self, name: str) -> dict[str, Any]:
        """Return the table of one TOML file.

        Raises:
            RecordError: it is missing or not TOML.
        """
        self.check_there(name)
        return read_toml(self.folder / name, RecordError)

    def read_table(self, name: str) -> pd.DataFrame:
        """Return the table of one parquet file.

        Raises:
            RecordError: it is missing, damaged or not parquet.
        """
        self.check_there(name)
        path = self.folder / name
        try:
            return pd.read_parquet(path, page_checksum_verification=True)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise RecordError(f"{path}: not a parquet table, or damaged: {first_line(error)}") from error

    def read_answers(self) -> pd.DataFrame:
        """Return the answers of the run, which are at least one row with every column that all runs write.

        Raises:
            RecordError: they are missing, empty, lack a column, or hold something else in one.
        """
        answers, fault = self.read_table("answers.parquet"), ""
        if missing := [column for column in (*ANSWER_COLUMNS, *_NUMBERS) if column not in answers.columns]:
            fault = f"no column {', '.join(missing)}"
        elif answers.empty:
            fault = "holds no answer"
        elif foreign := [column for column in _TEXTS if not _holds_texts(answers[column])]:
            fault = f"{foreign[0]} must hold texts only"
        elif not answers["options"].map(lambda options: np.iterable(options) and all(map(_is_text, options))).all():
            fault = "options must hold lists of texts"
        elif foreign := [one for one in (*_NUMBERS, *metric_columns(answers)) if not is_numeric_dtype(answers[one])]:
            fault = f"{foreign[0]} must hold numbers"
        if fault:
            raise RecordError(f"{self.folder / 'answers.parquet'}: {fault}; the same command makes the run again")
        return answers

    def check_there(self, name: str) -> None:
        """Refuse a run without a file; the message names the command that finishes it."""
        if not (self.folder / name).is_file():
            again = f"; finish it: {self.command}" if self.command else ""
            raise RecordError(f"{self.folder / name}: missing; the run has not come that far{again}")

    @property
    def command(self) -> str:
        """The command that finishes a run; "" for a deletion request or an audit, whose settings are no recipe."""
        config = self.folder / "config.toml"
        is_run = config.is_file() and "forget" not in self.read_toml("config.toml")
        return f"unsee run {shlex.quote(str(config))} --out {shlex.quote(str(self.folder))}" if is_run else ""

    def log(self, event: str, **fields: str | float | bool | None) -> None:
        """Append one event to log.jsonl.

        Raises:
            ValueError: a field could hold a question or answer about a person.
            RecordError: it cannot be written.
        """
        if private := _PRIVATE_FIELDS & fields.keys():
            raise ValueError(f"log.jsonl holds no {', '.join(sorted(private))}; that belongs in answers.parquet")
        line = json.dumps({"time": round(time.time(), 3), "event": event, **fields})
        self._check_present()
        append_line(self.folder / "log.jsonl", line.encode())

    def _check_present(self) -> None:
        """Refuse to write into a run's folder that somebody deleted meanwhile, because it would not be a whole one."""
        if self._lock and not self.folder.is_dir():
            raise RecordError(f"{self.folder}: cannot be written: it has vanished; run the same command again")

    def is_locked(self) -> bool:
        """Return True while a process is writing to the folder."""
        if _LOCK not in self:
            return False
        try:
            with FileLock(self.folder / _LOCK, mode=0o600, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a folder that one may only read
            return False

    def events(self) -> list[dict[str, Any]]:
        """Return the events of log.jsonl in order, without an incomplete line of a killed run and lines of others."""
        if "log.jsonl" not in self:
            return []
        events = []
        for _, line in numbered_lines(self.read_text("log.jsonl")):
            with contextlib.suppress(ValueError):
                event = parse_json(line)
                if isinstance(event, dict) and isinstance(event.get("event"), str):
                    events.append(event)
        return events


def refuse_request(record: Record) -> None:
    """Refuse the folder of a deletion request or an audit where a run is wanted.

    Raises:
        RecordError: it is one; the message names its page.
    """
    for name, what in (("request.json", "a deletion request"), ("audit.json", "an audit")):
        if name in record:
            raise RecordError(f"{record.folder}: {what}; its page is {record.folder / 'report.html'}")


def check_writable(folder: Path, advice: str = "choose another --out") -> None:
    """Check that a folder can be written, before long work; write nothing.

    Args:
        folder: the folder, which need not exist.
        advice: what to do if it cannot be written.

    Raises:
        RecordError: it is a file, or cannot be written.
    """
    with explained(folder, "created"):
        if folder.exists() and not folder.is_dir():
            raise RecordError(f"{folder}: not a folder; {advice}")
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise RecordError(f"{folder}: cannot be created: {existing} is no folder one can write to; {advice}")


def check_free(folder: Path) -> None:
    """Check that a folder is missing or empty, and can be written.

    Raises:
        RecordError: it is not.
    """
    check_writable(folder, "choose another folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise RecordError(f"{folder}: already exists and is not empty; choose another folder or delete it")


def _locked(folder: Path) -> BaseFileLock:
    """Lock a run's folder until nothing in this process refers to the lock, or the process ends."""
    lock = FileLock(folder / _LOCK, mode=0o600, timeout=0, thread_local=False, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise RecordError(f"{folder}: another run is writing there; wait for it, or choose another --out") from None
    return lock


class NullRecord(Record):
    """A stand-in for `Record` in processes other than the main one.

    Every file counts as present, so that nothing is computed in order to write it. Writes are discarded.
    """

    def __contains__(self, name: str) -> bool:
        return True

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Yield a path whose content is discarded."""
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / Path(name).name

    def log(self, event: str, **fields: str | float | bool | None) -> None:
        """Discard the event, because the main process logs it."""


def _deciding(config: Mapping[str, object]) -> dict[str, object]:
    """Return the tables of a config that decide figures."""
    return {name: value for name, value in config.items() if name != "resources"}


def _holds_texts(column: pd.Series) -> bool:
    typed = isinstance(column.dtype, pd.StringDtype) and not column.hasnans
    return typed or bool(column.map(_is_text).all())


def _is_text(value: object) -> bool:
    return isinstance(value, str)
