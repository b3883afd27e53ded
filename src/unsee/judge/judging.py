"""Judges one run: collects its sentences, writes verdicts and mean scores, and updates the report."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from unsee.config.recipe import kind_of
from unsee.core.errors import RecordError
from unsee.core.progress import Progress, Silent
from unsee.core.record import ANSWER_COLUMNS, JUDGE_COLUMNS, Record, refuse_request
from unsee.judge.base import Case, Docket, Judge
from unsee.report.people import read_finished
from unsee.report.reports import write_report
from unsee.scoring.factuality import FACTUALITY_FILE, Factuality, factuality_cells
from unsee.scoring.names import readable
from unsee.scoring.table import written

JUDGED_FILE = "judged.parquet"
JUDGED_COLUMNS = (*ANSWER_COLUMNS[: ANSWER_COLUMNS.index("options")], *JUDGE_COLUMNS)

_CASE = ["question", "truth", "answer"]


SCALE = "factuality: from 1 (nothing in the sentence is true) to 10 (all of it), with 95% intervals over people"


class FactualityRow(NamedTuple):
    """The factuality of one model and input in each set, as text."""

    method: str
    modality: str
    input: str
    forget: str
    test: str
    retain: str
    celebrity: str


def open_docket(folder: Path) -> Docket:
    """Collect the sentences to judge in a run.

    Raises:
        RecordError: the folder is no run, or its answers hold no sentences.
    """
    record = Record.open(folder)
    refuse_request(record)
    answers = record.read_answers()
    cases = answers.loc[answers["task"] == "generation", _CASE].drop_duplicates()
    if cases.empty:
        raise RecordError(f"{folder / 'answers.parquet'}: holds no generated sentence, so there is nothing to judge")
    if kind_of(record.read_toml("config.toml")) == "people":
        read_finished(record)
    return Docket(record, answers, tuple(Case(*texts) for texts in cases.itertuples(index=False, name=None)))


def judge_run(docket: Docket, judge: Judge, progress: Progress | None = None) -> Factuality:
    """Judge every sentence, write the verdicts next to the answers, and write the report again.

    Args:
        docket: the sentences to judge.
        judge: the judge.
        progress: where long work is shown.

    Raises:
        UnseeError: the judge fails, or the folder cannot be read or written.
    """
    record = docket.record
    verdicts = judge.judge(docket, progress or Silent())
    scored = pd.DataFrame(
        [(*astuple(case), verdict.score, verdict.reason) for case, verdict in zip(docket.cases, verdicts, strict=True)],
        columns=[*_CASE, "score", "reason"],
    ).astype({"score": float})
    sentences = docket.answers[docket.answers["task"] == "generation"]
    judged = sentences.merge(scored, on=_CASE, how="left", validate="many_to_one").assign(judge=judge.label)
    record.write_table(JUDGED_FILE, judged[list(JUDGED_COLUMNS)])
    resamples = record.read_toml("config.toml").get("evaluation", {}).get("bootstrap", 1000)
    invalid = int(scored["score"].isna().sum())
    result = Factuality(
        judge=judge.label, cases=len(scored), invalid=invalid, cells=factuality_cells(judged, resamples)
    )
    result.save(record, FACTUALITY_FILE)
    record.log("judged", judge=judge.label, cases=len(scored), invalid=invalid)
    write_report([record.folder], record.folder / "report.html")
    return result


def rows(factuality: Factuality) -> list[FactualityRow]:
    """Return one row per model and input, in the order of the run; a dash if no answer got a score."""
    cells = {(c.method, c.modality, c.input, c.set): written(c) for c in factuality.cells}
    asked = dict.fromkeys(key[:3] for key in cells)
    sets = FactualityRow._fields[3:]
    return [
        FactualityRow(readable(key[0]), *key[1:], *(cells.get((*key, name), "-") for name in sets)) for key in asked
    ]
