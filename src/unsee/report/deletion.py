"""Writes the page of a deletion request, and its table for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from unsee.core.record import GENERAL_SET, Record
from unsee.report.filed import write_filed
from unsee.report.page import capitalised
from unsee.scoring.broken_answers import KINDS
from unsee.scoring.deletion import BROKEN_SHARE, LOST_SHARE, METRICS, SETS
from unsee.scoring.outcome import BeforeAfter, Outcome

KIND_WORDS = {"garbled": "garbled", "same": "the same for most questions", "names": "with somebody else's name"}


class DeletionRow(NamedTuple):
    """One person to forget, or everybody to keep, as text."""

    people: str
    lines: str
    asked: str
    before: str
    now: str
    guessed: str
    broken: str


def rows(outcome: Outcome) -> list[DeletionRow]:
    """Return a row for each person to forget, and one for the people to keep."""
    kept = outcome.kept
    return [
        *(
            DeletionRow(
                people=f"person {person.person}", lines=person.lines, asked=str(person.ways), before=str(person.before),
                now=str(person.after), guessed=str(person.guessed), broken=str(person.any_broken),
            )
            for person in outcome.people
        ),
        DeletionRow(
            people=f"{kept.people} to keep", lines="all", asked=str(kept.questions), before=f"{kept.before:.0%}",
            now=f"{kept.after:.0%}", guessed="-", broken=str(kept.any_broken),
        ),
    ]  # fmt: skip


def sentences(outcome: Outcome) -> list[str]:
    """Return the verdict in plain words; the first sentence says whether the request is done."""
    total, kept = outcome.total, outcome.kept
    guesses = f" {_counted(total.guessed, 'more answer holds', 'more answers hold')} a value that the model also gives "
    guesses = f"{guesses}people whom nobody knows: that is a guess." if total.guessed else ""
    gone = (
        f"Asked in {total.ways} ways about the people to forget, it gave the value in {total.before} before, and gives "
        f"it in {total.after or 'none'} now{f' ({total.partly} of them only a part)' if total.partly else ''}.{guesses}"
    )
    stays = (
        f"About the people to keep, it gave the value in {kept.before:.0%} of the answers before, and gives it in "
        f"{kept.after:.0%} now."
    )
    filing = outcome.filing
    if filing and filing.steps < filing.most_steps:
        stays += (
            f" Training ended after {filing.steps} of {filing.most_steps} steps, when no value was given any more and "
            "no answer was newly broken."
        )
    stays = " ".join([stays, *_about_earlier(outcome)])
    match outcome.verdict:
        case "done":
            return ["Done: the model no longer gives any of the values.", gone, stays]
        case "leaks":
            again = any(one.after > one.before for one in outcome.earlier)
            what = (
                "gives values again that an earlier request made it forget"
                if again and not total.after
                else ("still gives values that it was to forget")
            )
            return [f"Not done: the model {what}.", gone, stays]
        case "broke":
            broke = f"{'; '.join(outcome.broke)}."
            return ["Not done: the model broke.", capitalised(broke), gone, stays]
        case "not known":
            return [
                "Nothing was there to forget: the model gave none of the values before. Check that this is the right "
                "model, and that your questions are worded as a user would ask.", gone, stays,
            ]  # fmt: skip


def _about_earlier(outcome: Outcome) -> list[str]:
    """Return sentences about earlier requests."""
    asked = [one for one in outcome.earlier if one.at_hand]
    said = []
    if asked:
        ways, before, after = (sum(getattr(one, key) for one in asked) for key in ("ways", "before", "after"))
        said.append(
            f"The rows of {_counted(len(asked), 'earlier request', 'earlier requests')} were asked again in {ways} "
            f"ways: the value is given in {after or 'none'} now, and was in {before or 'none'} before this request."
        )
    if gone := len(outcome.earlier) - len(asked):
        said.append(
            f"The rows of {_counted(gone, 'earlier request', 'earlier requests')} are not at hand, so whether they "
            "stay forgotten is not known."
        )
    return said


def write_request_report(record: Record, outcome: Outcome, out: Path | None = None, *, redact: bool = False) -> Path:
    """Write the page; the arguments, the return value and the errors are those of `write_filed`."""
    model = outcome.filing.model if outcome.filing else ""
    return write_filed(
        record,
        "deletion.html",
        "a deletion request",
        outcome.filing,
        sentences(outcome),
        out,
        redact=redact,
        outcome=outcome,
        model=Path(model).name if redact else model,
        folder="" if redact else str(record.folder.absolute()),
        kinds={kind: KIND_WORDS[kind] for kind in KINDS},
        unknown=[row for row in outcome.rows if not row.before],
        groups=[(name, figures) for name in SETS if (figures := _of(outcome, name))],
        name_of=_metric_name,
        broken_share=BROKEN_SHARE,
        lost_share=LOST_SHARE,
    )


def _of(outcome: Outcome, set_name: str) -> list[BeforeAfter]:
    return sorted((f for f in outcome.figures if f.set == set_name), key=lambda figure: figure.input)


def _metric_name(figure: BeforeAfter) -> str:
    return "right choices" if figure.set == GENERAL_SET else METRICS.get(figure.metric, figure.metric)


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
