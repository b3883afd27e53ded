"""Tables as files for other programs: CSV, LaTeX, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from unsee.core import text
from unsee.core.errors import RecordError
from unsee.core.record import MIN_UNITS, Record
from unsee.scoring.names import heading
from unsee.scoring.schema import Cell, Scores
from unsee.scoring.table import OPTIONAL, cell_rows, numbers, rows

CELL_ENDINGS = (".csv", ".md", ".json")
SCORE_ENDINGS = (".csv", ".tex", ".json")


def check_ending(out: Path, endings: Sequence[str], what: str) -> None:
    """Check before any work that a file has an ending that can be written.

    Args:
        out: the file.
        endings: the endings, such as ".csv".
        what: the content of the file, to begin the message with.

    Raises:
        RecordError: it has another ending, or is a folder.
    """
    if out.suffix not in endings:
        raise RecordError(f"{out}: {what} ends in {', '.join(endings[:-1])} or {endings[-1]}; choose one of these")
    if out.is_dir():
        raise RecordError(f"{out}: a folder; name a file")


def write_cells(cells: Sequence[Cell], out: Path, **about: str | int) -> None:
    """Write the cells of one model: every metric as CSV or JSON, the headline metrics as Markdown.

    Args:
        cells: the cells; those of fewer than `MIN_UNITS` people are written without an interval.
        out: the file; its ending is one of `CELL_ENDINGS`.
        about: what the file says about all cells, such as the model; columns of the CSV file.

    Raises:
        RecordError: the file cannot be written.
    """
    table = pd.DataFrame([cell.model_dump(exclude={"method", "modality", "seed", "judge"}) for cell in cells])
    table.loc[table["n_units"] < MIN_UNITS, ["low", "high"]] = float("nan")
    record = Record(out.parent)
    if out.suffix == ".json":
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        record.write_json(out.name, about | {"cells": rows})
    elif out.suffix == ".csv":
        record.write_text(out.name, pd.DataFrame([about] * len(table)).join(table).to_csv(index=False))
    else:
        heading = "".join(f"{name}: {value}  \n" for name, value in about.items())
        record.write_text(out.name, f"{heading}\n{markdown(cell_rows(cells))}")


def write_scores(runs: Sequence[tuple[str, Scores]], out: Path) -> None:
    """Write the scores of runs: all of them as JSON, or the table of methods as CSV or for LaTeX (booktabs).

    JSON and CSV have the registered names of methods, and numbers as numbers; LaTeX has readable names and texts.

    Args:
        runs: the name and the scores of each run, all of one kind.
        out: the file; its ending is one of `SCORE_ENDINGS`.

    Raises:
        RecordError: the file cannot be written.
    """
    record = Record(out.parent)
    if out.suffix == ".json":
        record.write_json(
            out.name, [{"run": name, "scores": scores.model_dump(by_alias=True)} for name, scores in runs]
        )
    elif out.suffix == ".csv":
        tables = [numbers(scores).assign(run=name) for name, scores in runs]
        table = pd.concat(tables, ignore_index=True)
        record.write_text(out.name, table[["run", *table.columns.drop("run")]].to_csv(index=False))
    else:
        texts = [pd.DataFrame(rows(scores)).assign(run=name) for name, scores in runs]
        table = pd.concat(texts, ignore_index=True)
        table = table[["run", *table.columns.drop("run")] if len(runs) > 1 else table.columns.drop("run")]
        table = table.drop(columns=[name for name in OPTIONAL if name in table and (table[name] == "-").all()])
        latex = table.rename(columns=heading).to_latex(index=False, escape=True)
        record.write_text(out.name, f"% needs \\usepackage{{booktabs}}\n{latex}")


def markdown(rows: Sequence[NamedTuple]) -> str:
    """Return rows of text as a Markdown table, with the names of their fields as headings."""
    lines = [rows[0]._fields, ["---"] * len(rows[0]), *([text.markdown(str(cell)) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
