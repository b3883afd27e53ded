"""The page of many runs of one kind: one table over models, data and methods, with filters, and every run below it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from unsee.config.recipe import GENERATED, DocumentsConfig, RunConfig, load_recipe
from unsee.config.tables import Kind
from unsee.core.errors import RecordError, several
from unsee.core.files import write
from unsee.core.record import Record, refuse_request
from unsee.report.documents import DocumentsRun
from unsee.report.figures import Plot, colours
from unsee.report.page import GIBIBYTE, ModelView, render, trade_off
from unsee.report.people import PeopleRun
from unsee.report.reports import runs_of
from unsee.scoring.comparison import check_different, kind_of_runs
from unsee.scoring.intervals import Estimate
from unsee.scoring.schema import BASE

log = logging.getLogger(__name__)

_LEFT_OUT = ("target", "oracle", BASE)
"""Models that rows are read against."""
NUMBERS: Mapping[Kind, Mapping[str, str]] = {
    "people": {"efficacy": "efficacy", "generality": "generality", "utility": "utility", "score": "score"},
    "documents": {"EtA": "eta", "leaked": "leaked", "over-refusal": "over_refused", "utility": "utility"},
}
"""The columns of numbers by the kind of the runs, and where each stands in the scores of a method."""
MAIN: Mapping[Kind, str] = {"people": "score", "documents": "EtA"}
"""The column by which rows are sorted, and which is drawn against utility."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the board: a method of a run, or of several runs that differ only in their seeds.

    Attributes:
        kind: "people" or "documents".
        model: the method with its numbers; its colour is that of the method on the whole page.
        setting: what it can be filtered by, such as the model and the data.
        runs: number of runs behind the numbers.
        section: the part of the page that has the run.
    """

    kind: Kind
    model: ModelView
    setting: dict[str, str]
    runs: int
    section: str

    @property
    def numbers(self) -> dict[str, Estimate | None]:
        """The numbers of the row, by column."""
        return {name: getattr(self.model.score, where) for name, where in NUMBERS[self.kind].items()}

    @property
    def main(self) -> Estimate | None:
        """The number by which rows are sorted."""
        return self.numbers[MAIN[self.kind]]

    @property
    def height(self) -> float:
        """The same for sorting; -1 without one."""
        return self.main.value if self.main else -1.0

    @property
    def gibibytes(self) -> float | None:
        """The largest memory of the training."""
        return self.model.score.peak_bytes / GIBIBYTE if self.model.score.peak_bytes else None


@dataclass(frozen=True, kw_only=True)
class Board:
    """The table of all runs, with its plot and filters."""

    entries: list[Entry]
    plots: dict[str, Plot]

    @property
    def filters(self) -> dict[str, list[str]]:
        """The values of each filter, in order of appearance; a filter with one value is left out."""
        names = self.entries[0].setting if self.entries else {}
        found = {name: list(dict.fromkeys(entry.setting[name] for entry in self.entries)) for name in names}
        return {name: values for name, values in found.items() if len(values) > 1}

    @property
    def measured(self) -> list[str]:
        """The columns of numbers that some row has."""
        columns = {
            "robustness": any(entry.model.score.robustness for entry in self.entries),
            "seconds": any(entry.model.score.seconds is not None for entry in self.entries),
            "passes": any(entry.model.score.forward_passes is not None for entry in self.entries),
            "GiB": any(entry.gibibytes for entry in self.entries),
        }
        return [name for name, found in columns.items() if found]

    @property
    def settings(self) -> list[str]:
        """What tells runs apart, as columns of the table."""
        return [name for name in self.filters if name not in ("method", "unlearned from")]


def write_leaderboard(folders: Sequence[Path], out: Path, redact: bool = False) -> Path:
    """Write one page about many runs. Runs that differ only in their seeds share rows.

    A folder that holds no finished run is left out, and a warning says how to finish it.

    Args:
        folders: of finished runs, all about people or all about documents.
        out: the page, an .html file.
        redact: leave out names, answers and pictures.

    Raises:
        RecordError: a folder is missing, none is a finished run, one is given twice, both kinds are mixed, or the file
            cannot be written.
    """
    if out.suffix != ".html":
        raise RecordError(f"{out}: a leaderboard is an .html file; choose this ending")
    records = _finished(folders)
    kind = kind_of_runs(records)
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_alike(record), []).append(record)
    runs: list[PeopleRun | DocumentsRun] = []
    entries: list[Entry] = []
    for group in groups.values():
        views = runs_of(kind, group, redact)
        pooled = len(views) > len(group)
        for number, one in enumerate(views[:1] if pooled else views):
            entries += _entries(kind, one, group if pooled else [group[number]], number + len(runs) + 1)
        runs += views
    check_different(records)
    names = [entry.model.score.method for entry in entries]
    palette = colours(kind, names)
    entries = [replace(one, model=replace(one.model, colour=palette[one.model.score.method])) for one in entries]
    page = render(
        "leaderboard.html",
        num_runs=len(records),
        title="leaderboard",
        kind=kind,
        main=MAIN[kind],
        numbers=list(NUMBERS[kind]),
        board=Board(entries=entries, plots=_plots(kind, entries)),
        runs=runs,
        redact=redact,
    )
    write(out, page)
    return out


def _finished(folders: Sequence[Path]) -> list[Record]:
    """Return the finished runs among some folders; a warning names each of the others."""
    records, faults = [], []
    for folder in folders:
        try:
            record = Record.open(folder)
            refuse_request(record)
            record.check_there("scores.json")
        except RecordError as error:
            if not folder.is_dir():
                raise
            faults.append(str(error))
        else:
            records.append(record)
    if not records:
        raise RecordError(several(faults))
    for fault in faults:
        log.warning("%s; it is left out", fault)
    return records


def _alike(record: Record) -> str:
    """Return what runs that share rows have in common: the recipe without seeds."""
    config = load_recipe(record.folder / "config.toml")
    settings = config.model_dump()
    del settings["seed"], settings["data" if isinstance(config, RunConfig) else "privacy"]["seed"]
    return json.dumps(settings, sort_keys=True)


def _entries(kind: Kind, run: PeopleRun | DocumentsRun, records: Sequence[Record], number: int) -> Iterator[Entry]:
    """Yield the rows of one run, or of several that are shown as one."""
    config = load_recipe(records[0].folder / "config.toml")
    setting = {
        "run": ", ".join(record.folder.resolve().name for record in records),
        "recipe": config.name,
        "model": f"{Path(config.model.id).name}{', LoRA' if config.model.trainable == 'lora' else ''}",
        "data": _data(config),
    }
    for model in run.models:
        if model.score.method not in _LEFT_OUT:
            own = {"method": model.name}
            if kind == "people":
                own["unlearned from"] = model.score.modality or "neither"
            yield Entry(kind=kind, model=model, setting=setting | own, runs=len(records), section=f"run-{number}")


def _data(config: RunConfig | DocumentsConfig) -> str:
    """Return the data of a run in a few words."""
    if isinstance(config, RunConfig):
        data = config.data
        source = f"{data.people} invented" if data.source == GENERATED else _name(data.source)
        return f"{source}, {data.forget_percent} %"
    if config.privacy.source == GENERATED:
        return f"invented, {config.privacy.images} pictures each"
    return _name(config.privacy.source)


def _name(source: str) -> str:
    return Path(source.partition("@")[0]).name


def _plots(kind: Kind, entries: Sequence[Entry]) -> dict[str, Plot]:
    """Return the plots of the main number against utility; each mark has the number of its row."""
    where = [", ".join(entry.setting[name] for name in ("run", "recipe", "model", "data")) for entry in entries]
    number = attrgetter(NUMBERS[kind][MAIN[kind]])
    return trade_off([entry.model for entry in entries], number, MAIN[kind], where=where)
