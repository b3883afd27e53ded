"""The page of many runs about people: one table over models, data and methods, with filters, and every run below it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unsee.config.recipe import GENERATED, RunConfig, load_recipe
from unsee.core.errors import RecordError
from unsee.core.files import sha256_of, write
from unsee.core.record import Record, refuse_request
from unsee.report.attacks import PANEL
from unsee.report.figures import Dot, Plot, colours, plot
from unsee.report.page import render
from unsee.report.people import SETS, PeopleModel, PeopleRun, runs_of
from unsee.scoring.documents import JUDGE
from unsee.scoring.schema import BASE, is_control
from unsee.scoring.table import spoken

_GIBIBYTE = 2**30
_LEFT_OUT = ("target", "oracle", BASE)
"""Models that rows are read against."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the board: a method of a run, or of several runs that differ only in their seeds.

    Attributes:
        model: the method with its numbers; its colour is that of the method on the whole page.
        setting: what it can be filtered by, such as the model and the data.
        runs: number of runs behind the numbers.
        section: the part of the page that has the run.
    """

    model: PeopleModel
    setting: dict[str, str]
    runs: int
    section: str

    @property
    def height(self) -> float:
        """The score by which rows are sorted; -1 without one."""
        return self.model.score.score.value if self.model.score.score else -1.0

    @property
    def gibibytes(self) -> float | None:
        """The largest memory of the training."""
        return self.model.score.peak_bytes / _GIBIBYTE if self.model.score.peak_bytes else None


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

    Args:
        folders: of finished runs about people.
        out: the page, an .html file.
        redact: leave out names, answers and portraits.

    Raises:
        RecordError: a folder is no finished run about people, is given twice, or the file cannot be written.
    """
    if out.suffix != ".html":
        raise RecordError(f"{out}: a leaderboard is an .html file; choose this ending")
    records = [Record.open(folder) for folder in folders]
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_alike(record), []).append(record)
    runs: list[PeopleRun] = []
    entries: list[Entry] = []
    for group in groups.values():
        views = runs_of(group, redact)
        pooled = len(views) > len(group)
        for one in views[:1] if pooled else views:
            behind = group if pooled else [group[views.index(one)]]
            entries += _entries(one, behind, views.index(one) + len(runs) + 1)
        runs += views
    _check_different(records)
    names = [entry.model.score.method for entry in entries]
    palette = colours(names, [name for name in names if is_control("people", name)])
    entries = [replace(one, model=replace(one.model, colour=palette[one.model.score.method])) for one in entries]
    board = Board(entries=entries, plots=_plots(entries))
    page = render(
        "leaderboard.html",
        num_runs=len(records),
        title="leaderboard",
        board=board,
        runs=runs,
        redact=redact,
        sets=SETS,
        judge=JUDGE,
        size=PANEL,
    )
    write(out, page)
    return out


def _check_different(records: Sequence[Record]) -> None:
    """Refuse a run that is given twice, also as a copy."""
    seen: dict[str, Path] = {}
    for record in records:
        content = record.read_text("config.toml") + sha256_of(record.folder / "answers.parquet")
        if content in seen:
            raise RecordError(f"{record.folder}: holds the same run as {seen[content]}; name each run once")
        seen[content] = record.folder


def _recipe(record: Record) -> RunConfig:
    """Return the recipe of a finished run about people."""
    refuse_request(record)
    config = load_recipe(record.folder / "config.toml")
    if not isinstance(config, RunConfig):
        raise RecordError(f"{record.folder}: a run about documents; a leaderboard is about people")
    return config


def _alike(record: Record) -> str:
    """Return what runs that share rows have in common: the recipe without seeds."""
    settings = _recipe(record).model_dump()
    del settings["seed"], settings["data"]["seed"]
    return json.dumps(settings, sort_keys=True)


def _entries(run: PeopleRun, records: Sequence[Record], number: int) -> Iterator[Entry]:
    """Yield the rows of one run, or of several that are shown as one."""
    config = _recipe(records[0])
    data = config.data
    source = f"{data.people} invented" if data.source == GENERATED else Path(data.source.partition("@")[0]).name
    setting = {
        "run": ", ".join(record.folder.resolve().name for record in records),
        "recipe": config.name,
        "model": f"{Path(config.model.id).name}{', LoRA' if config.model.trainable == 'lora' else ''}",
        "data": f"{source}, {data.forget_percent} %",
    }
    for model in run.models:
        if model.score.method not in _LEFT_OUT:
            own = {"method": model.name, "unlearned from": model.score.modality or "neither"}
            yield Entry(model=model, setting=setting | own, runs=len(records), section=f"run-{number}")


def _plots(entries: Sequence[Entry]) -> dict[str, Plot]:
    """Return the plots of score against utility; each mark has the number of its row."""
    dots = []
    for row, entry in enumerate(entries):
        x, y = entry.model.score.score, entry.model.score.utility
        if x is not None and y is not None:
            where = ", ".join(entry.setting[name] for name in ("run", "recipe", "model", "data"))
            title = (
                f"{entry.model.label} ({where}): score {spoken(x)}, utility {spoken(y)}, {entry.model.score.verdict}"
            )
            broke = entry.model.score.verdict == "collapsed"
            dots.append(
                Dot(
                    label=entry.model.label,
                    title=title,
                    shape=entry.model.shape,
                    colour=entry.model.colour,
                    faint=broke,
                    x=x,
                    y=y,
                    row=row,
                )
            )
    return {"wide": plot(dots, 860, 500), "narrow": plot(dots, 360, 400)}
