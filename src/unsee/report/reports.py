"""Writes a report about one or more finished runs: a page, a file of scores, or a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unsee.core.errors import ConfigError, RecordError
from unsee.core.files import write
from unsee.core.record import Record
from unsee.report.attacks import PANEL
from unsee.report.documents import SETS as DOCUMENT_SETS
from unsee.report.documents import DocumentsRun, document_runs
from unsee.report.page import kind_of_runs, render
from unsee.report.people import SETS, PeopleRun, runs_of
from unsee.report.tables import SCORE_ENDINGS, check_ending, write_scores
from unsee.scoring.documents import JUDGE

FIGURE_ENDINGS = (".svg", ".pdf")
FORGOTTEN, EDITED = "efficacy: forgotten, as the oracle", "EtA: refuses and answers where it should"


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
        RecordError: a folder is no finished run, runs about people and about documents are mixed, or the file cannot be
            written.
    """
    check_ending(out, (".html", ".md", *SCORE_ENDINGS, *FIGURE_ENDINGS), "a report")
    records = [Record.open(folder) for folder in run_dirs]
    about_documents = kind_of_runs(records) == "documents"
    runs = _views(records, redact, about_documents=about_documents)
    if out.suffix in SCORE_ENDINGS:
        names = [run.name for run in runs[: -len(records)]] + [record.folder.resolve().name for record in records]
        write_scores([(name, run.scores) for name, run in zip(names, runs, strict=True)], out)
        return out
    title = ", ".join(dict.fromkeys(run.name for run in runs))
    if out.suffix in FIGURE_ENDINGS:
        _write_figure(runs, len(records), out, EDITED if about_documents else FORGOTTEN)
        return out
    sets = DOCUMENT_SETS if about_documents else SETS
    page = render(
        f"{'documents' if about_documents else 'people'}{out.suffix}",
        title=title,
        runs=runs,
        redact=redact,
        sets=sets,
        judge=JUDGE,
        size=PANEL,
    )
    write(out, page)
    return out


def _views(records: Sequence[Record], redact: bool, *, about_documents: bool) -> Sequence[PeopleRun | DocumentsRun]:
    """Return the runs as a page shows them; before them all as one, where they can be pooled."""
    if about_documents:
        return document_runs(records, redact)
    return runs_of(records, redact)


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
