"""Writes the pages of audits and deletion requests, which are filed: they hold figures, no name, question or answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unsee.core.errors import RecordError
from unsee.core.files import write
from unsee.core.record import MIN_UNITS, Record
from unsee.report.page import capitalised, render
from unsee.scoring.record_file import Filing


def write_filed(
    record: Record, template: str, what: str, filing: Filing | None, sentences: Sequence[str], out: Path | None, *,
    redact: bool, **values: object,
) -> Path:  # fmt: skip
    """Write the page of an audit or a deletion request.

    Args:
        record: the folder.
        template: of the page.
        what: the page is of, with its article.
        filing: what identifies it.
        sentences: the verdict in plain words, the first sentence before the others.
        out: the file; by default report.html in the folder, or report-redacted.html.
        redact: leave out local paths and the settings, which hold some.
        values: what else the template needs.

    Returns:
        The file.

    Raises:
        RecordError: the file is no .html page, or cannot be written.
    """
    path = out or record.folder / ("report-redacted.html" if redact else "report.html")
    if path.suffix != ".html":
        raise RecordError(f"{path}: the page of {what} is an .html file; choose this ending")
    _, _, name = what.partition(" ")
    verdict, *more = sentences
    page = render(
        template,
        what=name,
        title=f"{capitalised(name)} {filing.reference if filing else ''}".rstrip(),
        filing=filing,
        verdict=verdict,
        sentences=more,
        min_units=MIN_UNITS,
        config="" if redact else record.read_text("config.toml"),
        **values,
    )
    if path.parent == record.folder:
        record.write_text(path.name, page)
    else:
        write(path, page)
    return path
