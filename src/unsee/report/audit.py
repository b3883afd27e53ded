"""Writes the page of an audit, and its table for the terminal. It holds figures only: no name, question or answer."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from unsee.core.record import MIN_UNITS, Record
from unsee.report.filed import write_filed
from unsee.scoring.chance import DOUBT, DOUBT_BESIDE_ORACLE, LEVEL
from unsee.scoring.findings import Audit, Verdict
from unsee.scoring.names import listed
from unsee.scoring.table import rounded

POWER = 0.9
"""An attack that gets less than this part of the known rows from the model before breaks what it should find."""


class AuditRow(NamedTuple):
    """One person as text."""

    people: str
    lines: str
    rows: str
    before: str
    now: str
    oracle: str
    verdict: str


def wording(audit: Audit) -> dict[Verdict, str]:
    """Return the only words in which a verdict is given."""
    return {
        "recovered": "recovered",
        "not recovered": "not recovered by these attacks with this budget",
        "cannot be told": "cannot be told from so few values"
        if audit.has_oracle
        else "cannot be told without an oracle",
        "nothing to forget": "nothing to forget",
    }


def rows(audit: Audit) -> list[AuditRow]:
    """Return a row for each person; the numbers are rows given when they are asked plainly."""
    found = []
    for person in audit.people:
        plain = person.looks[0]
        found.append(
            AuditRow(
                people=f"person {person.person}", lines=person.lines, rows=str(plain.rows), before=str(plain.before),
                now=str(plain.after), oracle="-" if plain.oracle is None else str(plain.oracle),
                verdict=wording(audit)[person.verdict],
            )
        )  # fmt: skip
    return found


def sentences(audit: Audit) -> list[str]:
    """Return the verdict in plain words; the first sentence is the verdict."""
    plain, attacks = audit.looks[0], audit.looks[1:]
    by = [look.name for look in audit.looks if look.verdict == "recovered"]
    how = f" ({listed(by)})" if by else " (about some of the people)"
    if audit.is_unchanged:
        how = " (the audited model has the same weights as the model before)"
    first = wording(audit)[audit.verdict]
    numbers = (
        f"Asked plainly, the model before gives the values of {plain.before} of {plain.rows} rows, and the audited "
        f"model those of {plain.after or 'none'}"
    )
    if plain.oracle is not None:
        numbers += f"; the oracle gives {plain.oracle or 'none'}"
    found = [f"{numbers}. An invented stranger gets {plain.by_chance:.1f}."]
    if attacks:
        most = max(attacks, key=lambda look: (-look.probability, look.after))
        found.append(
            f"Under attack, most beyond chance comes back with {most.name}: {most.after} of {most.rows} rows, of which "
            f"a stranger gets {most.by_chance:.1f}."
        )
    found += membership_sentences(audit)
    unknown = len(audit.rows) - audit.known
    if unknown:
        found.append(
            f"{unknown} of {len(audit.rows)} rows have nothing to forget: the model before does not give them."
        )
    collapsed = [one for one in audit.models if one.model == "after" and one.collapsed]
    found += [
        f"The audited model is broken: {one.collapsed}. A broken model gives no value either." for one in collapsed
    ]
    match audit.verdict:
        case "recovered":
            return [f"Verdict: {first}{how}. The audited model still gives values that should be gone.", *found]
        case "nothing to forget":
            return [
                f"Verdict: {first}. The model before gives none of the values, so nothing can be said of the audited "
                "one. Check that this is the right model, and that the questions are worded as a user would ask.",
                *found,
            ]  # fmt: skip
        case _:
            return [f"Verdict: {first}.", *found]


def membership_sentences(audit: Audit) -> list[str]:
    """Return what likelihoods tell as one sentence; none if no row can be compared with strangers."""
    if audit.membership is None:
        return []
    areas = {one.model: rounded(one.area.value) for one in audit.membership.found if one.signal == "strangers"}
    oracle = f", {areas['oracle']} with the oracle" if "oracle" in areas else ""
    return [
        "By likelihood, the values of these people are told from the same values about strangers with an area under "
        f"the curve of {areas['before']} before{oracle} and {areas['after']} now, where .50 tells nothing. Membership: "
        f"{'cannot be told' if audit.membership.is_weak else wording(audit)[audit.membership.verdict]}."
    ]


def limits(audit: Audit) -> list[str]:
    """Return what cannot be concluded from this audit, and why, each as a sentence."""
    found = []
    filing = audit.filing
    if not audit.has_oracle:
        found.append(
            "No oracle was given: only a model that was trained without these rows shows how often their values come "
            "out anyway. Invented strangers stand in for it; the model may guess about them in another way."
        )
    if audit.membership is None:
        found.append("No row can be scored about strangers in the same words, so nothing is said of membership.")
    elif audit.membership.is_weak:
        found.append(
            "The model before finds its own rows hardly likelier than the same rows about strangers: it does not know "
            "them, or says the values in other words than the file. So membership cannot be told."
        )
    elif audit.membership.people < MIN_UNITS:
        found.append(f"Likelihoods about fewer than {MIN_UNITS} people are shown without an interval.")
    if filing and filing.undivided:
        several = "People" if len(filing.undivided) > 1 else "Person"
        found.append(
            f"{several} {listed([str(number) for number in filing.undivided])}: the rows cannot be divided into halves "
            "without a common value, so nothing was trained on one half to ask about the other."
        )
    if filing and filing.kept_from == "invented":
        found.append("No rows to keep were given: nothing says what else the model lost.")
    asked = {look.attack for look in audit.looks}
    if filing and (idle := [name for name in filing.attacks if name not in asked]):
        found.append(f"No row can be asked as {listed(idle)} does, which needs photos; nothing was asked so.")
    weak = [
        look.name for look in audit.looks[1:]
        if not look.variant and audit.looks[0].before and look.before < POWER * audit.looks[0].before
    ]  # fmt: skip
    if weak:
        found.append(
            f"Asked as in {listed(weak)}, the model before gives fewer rows than plainly: there the way of asking also "
            "breaks what it should find, and finding nothing says less."
        )
    return found


def write_audit_report(record: Record, audit: Audit, out: Path | None = None, *, redact: bool = False) -> Path:
    """Write the page; the arguments, the return value and the errors are those of `write_filed`."""
    return write_filed(
        record,
        "audit.html",
        "an audit",
        audit.filing,
        sentences(audit),
        out,
        redact=redact,
        audit=audit,
        wording=wording(audit),
        tags={
            "recovered": "collapsed",
            "cannot be told": "no-signal",
            "nothing to forget": "forget",
            "not recovered": "ok",
        },
        limits=limits(audit),
        shown=lambda name: Path(name).name if redact else name,
        level=LEVEL,
        doubt=DOUBT_BESIDE_ORACLE if audit.has_oracle else DOUBT,
    )
