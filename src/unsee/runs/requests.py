"""Deletion requests one after another: the ledger, and whether what was forgotten before stays forgotten.

`requests.json` in the folder of a request holds one entry for it and for every request before it. Each entry holds the
hash of the one before, so a changed entry is found. Nothing is ever changed in the folder of an earlier request.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from unsee.core.errors import DataError, RecordError, UnseeError
from unsee.core.files import sha256_of
from unsee.core.reading import read_toml
from unsee.core.record import Record
from unsee.core.text import same_form
from unsee.data.deletion import Request, read_request
from unsee.scoring.outcome import Outcome, RequestFiling, Verdict
from unsee.scoring.record_file import RecordFile, Strict

LEDGER = "requests.json"


class Entry(Strict):
    """One request of a ledger.

    Attributes:
        folder: its folder, relative to that of the ledger.
        verdict: how it ended.
        filing: what identifies it.
        previous: the hash of the entry before; "" for the first.
    """

    folder: str
    verdict: Verdict
    filing: RequestFiling
    previous: str

    @property
    def digest(self) -> str:
        """The SHA-256 of the entry without its folder, which depends on where the ledger lies."""
        content = self.model_dump(exclude={"folder"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class Ledger(RecordFile):
    """The content of requests.json: the requests in the order in which they were carried out."""

    version: Literal["unsee.requests/1"] = Field(default="unsee.requests/1", alias="schema")
    entries: list[Entry]


class EntryRow(NamedTuple):
    """One request of a ledger as text."""

    request: str
    finished: str
    method: str
    verdict: str
    rows: str
    model: str
    state: str


@dataclass(frozen=True)
class Earlier:
    """A request before the present one.

    Attributes:
        entry: its entry.
        request: its rows; None if its files are gone or were changed.
    """

    entry: Entry
    request: Request | None


def read_ledger(folder: Path) -> Ledger:
    """Return the ledger of a finished request; a request without one begins it.

    Raises:
        RecordError: the folder holds no finished request, or an entry was changed.
    """
    if "request.json" not in (record := Record(folder)) and "answers.parquet" in record:
        raise RecordError(f"{folder}: a run, not a deletion request; `unsee unlearn` makes one")
    outcome = Outcome.load(folder, "request.json")
    if outcome.filing is None:
        raise RecordError(f"{folder / 'request.json'}: holds no filing; the same command makes the request again")
    if not (folder / LEDGER).exists():
        return Ledger(entries=[Entry(folder=".", verdict=outcome.verdict, filing=outcome.filing, previous="")])
    ledger, place = Ledger.load(folder, LEDGER), folder / LEDGER
    if not ledger.entries:
        raise RecordError(f"{place}: holds no request")
    for number, (before, entry) in enumerate(zip([None, *ledger.entries], ledger.entries, strict=False), start=1):
        if entry.previous != (before.digest if before else ""):
            changed = f"request {number - 1}" if before else "the first request"
            raise RecordError(f"{place}: {changed} was changed: its hash is not the one that was written down")
    own = ledger.entries[-1]
    if (own.verdict, own.filing) != (outcome.verdict, outcome.filing):
        raise RecordError(f"{place}: the last request is not that of request.json; one of the two files was changed")
    return ledger


def start_of(after: Path) -> str:
    """Return the folder of the model that an earlier request left.

    Raises:
        RecordError: there is no finished request, or its model is missing or was changed since.
    """
    own, model = read_ledger(after).entries[-1], after / "model"
    if _state(own, after) == "not at hand":
        raise RecordError(f"{model}: missing; the next request needs the model that this one left")
    if _state(own, after) == "changed":
        raise RecordError(f"{model}: its weights are not those that the request left (requests.json has their hashes)")
    return str(model)


def earlier_requests(after: Path) -> list[Earlier]:
    """Return all earlier requests, the first one first, with their rows where these are still at hand."""
    return [Earlier(entry, _rows(after / entry.folder, entry.filing)) for entry in read_ledger(after).entries]


def check_kept(earlier: list[Earlier], request: Request, retain: str) -> None:
    """Check that nobody is to be kept who was to be forgotten before.

    Raises:
        DataError: somebody is.
    """
    for one in earlier:
        forgotten = {same_form(fact.name) for fact in one.request.forget_facts} if one.request else set()
        for fact in request.retain_facts:
            if same_form(fact.name) in forgotten:
                raise DataError(
                    f"{retain}, line {fact.line}: this person was to be forgotten in an earlier request "
                    f"({one.entry.filing.reference or one.entry.folder}); leave the row out"
                )


def write_ledger(record: Record, outcome: Outcome, after: Path | None) -> None:
    """Write the ledger of a request: that of the request before it, and its own entry.

    Args:
        record: the folder of the request.
        outcome: its outcome, with its filing.
        after: the folder of the request before; None for the first.
    """
    if outcome.filing is None:
        raise RecordError(f"{record.folder}: the request has no filing")
    entries = read_ledger(after).entries if after else []
    moved = [
        entry.model_copy(update={"folder": os.path.relpath(Path(after or ".") / entry.folder, record.folder)})
        for entry in entries
    ]
    previous = moved[-1].digest if moved else ""
    own = Entry(folder=".", verdict=outcome.verdict, filing=outcome.filing, previous=previous)
    Ledger(entries=[*moved, own]).save(record, LEDGER)


def ledger_rows(folder: Path) -> list[EntryRow]:
    """Return the requests of a ledger as text, with the state of the model of each: unchanged, changed or not at hand.

    Raises:
        RecordError: as `read_ledger`.
    """
    return [
        EntryRow(
            request=entry.filing.reference or str(number), finished=entry.filing.finished, method=entry.filing.method,
            verdict=entry.verdict, rows=", ".join(digest[:12] for digest in entry.filing.rows.values()),
            model=", ".join(digest[:12] for digest in entry.filing.model_after.values()),
            state=_state(entry, folder / entry.folder),
        )
        for number, entry in enumerate(read_ledger(folder).entries, start=1)
    ]  # fmt: skip


def ledger_sentences(folder: Path) -> list[str]:
    """Return what a reader of the ledger must know: its hash, and how to undo the last request."""
    ledger = read_ledger(folder)
    own, many = ledger.entries[-1], len(ledger.entries)
    lines = [
        f"{many} request{'s' if many > 1 else ''}; every entry holds the hash of the one before. "
        f"Hash of the last: {own.digest}"
    ]
    if many > 1:
        before = folder / ledger.entries[-2].folder
        at_hand = _state(ledger.entries[-2], before) == "unchanged"
        undo = f"use {before / 'model'}, which is unchanged" if at_hand else "its model is needed, which is not at hand"
    else:
        undo = f"use {own.filing.model}; nothing in it was changed"
    return [*lines, f"To undo the last request, {undo}."]


def _state(entry: Entry, folder: Path) -> Literal["unchanged", "changed", "not at hand"]:
    """Return whether the model of a request is what the request left."""
    found = {path.name: sha256_of(path) for path in sorted((folder / "model").glob("*.safetensors"))}
    if not found:
        return "not at hand"
    return "unchanged" if found == entry.filing.model_after else "changed"


def _rows(folder: Path, filing: RequestFiling) -> Request | None:
    """Return the rows of a request if both files are what they were."""
    try:
        config = read_toml(folder / "config.toml", RecordError)
        request = read_request(Path(str(config["forget"])), Path(str(config["retain"])))
    except (UnseeError, KeyError):
        return None
    return request if request.files == filing.rows else None
