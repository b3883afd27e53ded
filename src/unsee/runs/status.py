"""Where a run is, from its log: what is done, what runs, how many stages are left, since when."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from unsee.core.record import Record
from unsee.scoring.names import readable_model

State = Literal["running", "finished", "stopped"]


class StageRow(NamedTuple):
    """One stage as text."""

    stage: str
    name: str
    time: str


@dataclass(frozen=True)
class Status:
    """The state of a run about people or documents, or of a deletion request.

    Attributes:
        folder: its folder.
        state: "running" while a process writes to the folder; "stopped" if none does and it is not finished.
        planned: number of its stages; None if its log holds no plan.
        done: number of finished stages.
        started: when its last command began, or the log if there is no plan, seconds since the epoch; None without log.
        changed: when it finished, or the time of the last line of its log.
        rows: one row per stage that has begun.
        report: the page, if there is one.
    """

    folder: Path
    state: State
    planned: int | None
    done: int
    started: float | None
    changed: float | None
    rows: list[StageRow]
    report: Path | None

    @property
    def sentences(self) -> list[str]:
        """The state in plain words."""
        if self.started is None or self.changed is None:
            loading = "; it is still loading" if self.state == "running" else ""
            return [f"{self.folder}: {self.state}, no stage has begun{loading}"]
        until = time.time() if self.state == "running" else self.changed
        of = f"{self.done} of {self.planned} stages done" if self.planned else "its log holds no plan of its stages"
        left = f", {self.planned - self.done} left" if self.planned and self.state != "finished" else ""
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.started))
        lines = [f"{self.folder}: {self.state}; {of}{left}; since {since}, {spoken_time(until - self.started)}"]
        if self.state == "finished" and self.planned and self.done < self.planned:
            lines.append("It ended early: without signal, no method is applied.")
        if self.state == "stopped":
            lines.append("No process is working on it; the same command continues where it stopped.")
        return lines + ([str(self.report)] if self.state == "finished" and self.report else [])


def status(folder: Path) -> Status:
    """Read the state of a run from its folder, while or after another process works on it.

    Raises:
        RecordError: the folder holds no run.
    """
    record = Record.open(folder)
    methods = record.read_toml("config.toml").get("method", {})
    locked = (
        record.is_locked()
    )  # before the log is read, so that a run that ends in between is not said to have stopped
    events = record.events()
    start = max((number for number, event in enumerate(events) if event["event"] == "plan"), default=None)
    last = events[start:] if start is not None else events
    ends = [event["time"] for event in last if event["event"] == "finished"]
    state: State = "finished" if ends else "running" if locked else "stopped"
    report = record.folder / "report.html"
    return Status(
        folder=folder,
        state=state,
        planned=int(last[0]["stages"]) if start is not None else None,
        done=len({event["number"] for event in last if event["event"] == "done"}),
        started=last[0]["time"] if last else None,
        changed=ends[-1] if ends else last[-1]["time"] if last else None,
        rows=_rows(last, state, methods),
        report=report if report.is_file() else None,
    )


def _rows(events: list[dict[str, Any]], state: State, methods: Collection[str]) -> list[StageRow]:
    """Return one row per stage: its time, or how far it has come."""
    rows: dict[int, StageRow] = {}
    notes: dict[int, str] = {}
    steps: dict[int, int] = {}
    for event in events:
        number: int = event.get("number", 0)
        match event["event"]:
            case "stage":
                name = f"{event['stage']} {readable_model(event['model'], methods)}"
                until = time.time() if state == "running" else events[-1]["time"]
                took = spoken_time(until - event["time"])
                rows[number] = StageRow(str(number), name, f"{state} for {took}")
                notes[number] = ""
            case "cached" | "cached answers":
                notes[number] = "from the cache"
            case "training":
                notes[number], steps[number] = "", event.get("steps", 0)
            case "step" if steps.get(number) and number in rows:
                rows[number] = _far(rows[number], f"step {event['step'] + 1} of {steps[number]}")
            case "progress" if not steps.get(number) and number in rows:
                rows[number] = _far(rows[number], f"{event['done']} of {event['of']}")
            case "done" if number in rows:
                rows[number] = rows[number]._replace(time=notes[number] or spoken_time(event["seconds"]))
    return [rows[number] for number in sorted(rows)]


def _far(row: StageRow, how_far: str) -> StageRow:
    return row._replace(time=f"{row.time.partition(',')[0]}, {how_far}")


def spoken_time(seconds: float) -> str:
    """Return a time in its largest units, e.g. "42 s", "4 min 3 s" or "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
