"""Writes a report about finished runs, a page, scores or a figure, and the page of an audit or a request again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from unsee.config.tables import Kind
from unsee.core.errors import ConfigError, RecordError
from unsee.core.files import write
from unsee.core.record import Record
from unsee.report.audit import write_audit_report
from unsee.report.deletion import write_request_report
from unsee.report.documents import DocumentsRun, document_runs
from unsee.report.page import render
from unsee.report.people import PeopleRun, people_runs
from unsee.report.tables import SCORE_ENDINGS, check_ending, write_scores
from unsee.scoring.comparison import check_different, kind_of_runs
from unsee.scoring.findings import Audit
from unsee.scoring.outcome import Outcome

FIGURE_ENDINGS = (".svg", ".pdf")
_X_AXES: Mapping[Kind, str] = {
    "people": "efficacy: forgotten, as the oracle",
    "documents": "EtA: refuses and answers where it should",
}


def write_report(run_dirs: list[Path], out: Path, redact: bool = False) -> Path:
    """Write one page, or one file of scores, about one or more finished runs.

    Args:
        run_dirs: run folders, all about people or all about documents.
        out: the file: a page as `.html` or `.md` (which holds no answers and no people), scores as `.csv`, `.tex` or
            `.json`, or the trade-off plot as `.svg` or `.pdf`.
        redact: leave out names, answers and pictures.

    Returns:
        `out`.

    Raises:
        RecordError: a folder is no finished run or given twice, runs about people and about documents are mixed, or the
            file cannot be written.
    """
    check_ending(out, (".html", ".md", *SCORE_ENDINGS, *FIGURE_ENDINGS), "a report")
    records = [Record.open(folder) for folder in run_dirs]
    kind = kind_of_runs(records)
    check_different(records)
    runs = runs_of(kind, records, redact)
    if out.suffix in SCORE_ENDINGS:
        names = [run.name for run in runs[: -len(records)]] + [record.folder.resolve().name for record in records]
        write_scores([(name, run.scores) for name, run in zip(names, runs, strict=True)], out)
        return out
    title = ", ".join(dict.fromkeys(run.name for run in runs))
    if out.suffix in FIGURE_ENDINGS:
        _write_figure(runs, len(records), out, _X_AXES[kind])
        return out
    template = "runs.html" if out.suffix == ".html" else f"{kind}.md"
    write(out, render(template, title=title, kind=kind, runs=runs, redact=redact))
    return out


def write_again(folder: Path, out: Path | None, *, redact: bool) -> Path | None:
    """Write the page of a finished audit or deletion request from its figures, as `write_filed` does.

    Returns:
        The page; None, and nothing is written, if the folder holds neither.
    """
    if (folder / "audit.json").is_file():
        return write_audit_report(Record.open(folder), Audit.load(folder, "audit.json"), out, redact=redact)
    if (folder / "request.json").is_file():
        return write_request_report(Record.open(folder), Outcome.load(folder, "request.json"), out, redact=redact)
    return None


def runs_of(kind: Kind, records: Sequence[Record], redact: bool) -> Sequence[PeopleRun | DocumentsRun]:
    """Return the runs as a page shows them; before them all as one, where they can be pooled."""
    return people_runs(records, redact) if kind == "people" else document_runs(records, redact)


def _write_figure(runs: Sequence[PeopleRun | DocumentsRun], folders: int, out: Path, x_axis: str) -> None:
    """Write the plot of one run, or of several that are shown as one."""
    if len(runs) == folders > 1:
        raise RecordError(f"{out}: a figure shows one run, or runs that differ only in their seeds; give fewer")
    plot = runs[0].plots["wide"]
    if not plot.marks:
        raise RecordError(f"{out}: nothing to plot: no cell has signal")
    try:
        from unsee.report.figure_files import write_figure
    except ModuleNotFoundError as error:
        raise ConfigError(f"{out}: figures need reportlab; run: pip install 'unsee[figures]'") from error
    write_figure(plot, out, x_axis, "utility: kept")
