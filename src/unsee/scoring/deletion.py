"""The outcome of a deletion request: what was known before, what is given now, what broke, and the verdict."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from unsee.core.record import GENERAL_SET, LEAK, STRANGER_SET, further_metrics
from unsee.scoring.broken_answers import KINDS, broken
from unsee.scoring.collapse import lexicon, why_collapsed
from unsee.scoring.intervals import Bootstrap, Draws, Estimate, estimate
from unsee.scoring.outcome import BeforeAfter, EarlierOutcome, KeptOutcome, Outcome, PersonOutcome, RowOutcome, Verdict
from unsee.scoring.values_given import identifying, is_guess, share_given

BEFORE, AFTER = "before", "after"
METRICS = {"probability": "probability", "rouge_l": "ROUGE-L", "accuracy": "word for word"}
SETS = ("forget", "test", "retain", GENERAL_SET)
FORGET_SETS = ("forget", "test")
BROKEN_SHARE = 0.1
"""From this share of broken answers about a person on, the model broke around them."""
LOST_SHARE = 0.1
"""From this fall of the share of values given about people to keep on, the model lost them too."""
GUESSED = "guessed"


def with_values(answers: pd.DataFrame, values: Mapping[str, Sequence[str]], strangers: pd.DataFrame) -> pd.DataFrame:
    """Return answers about people with two more columns: the share of the value given (`LEAK`), and `GUESSED`.

    Args:
        answers: answers of one model.
        values: the words of the value of each row, by set and ID of the row; of rows to forget as set "forget".
        strangers: what strangers got from the model before; `unit` is the item that they are asked like.
    """
    table = answers.assign(**{LEAK: np.nan, GUESSED: False})
    strange = dict(list(strangers.groupby(strangers["unit"].map(_row_of))))
    about_people = table[table["set"].isin([*FORGET_SETS, "retain"])]
    for row, ways in about_people.groupby(about_people["item"].map(_row_of)):
        others = strange.get(row, strangers.iloc[:0])
        words = identifying(values[row], list(others["answer"]))
        shares = _shares(ways, words)
        times = int((shares > 0).sum())
        guessed = times > 0 and is_guess(times, list(_times(others, words)), len(ways))
        table.loc[ways.index, LEAK] = 0.0 if guessed else shares
        table.loc[ways.index, GUESSED] = (shares > 0) & guessed
    return table


def given_to_strangers(values: Mapping[str, Sequence[str]], strangers: pd.DataFrame) -> pd.DataFrame:
    """Return in how many ways of asking each stranger gets the value of each row to forget; 0 where that is a guess.

    Args:
        values: as for `with_values`.
        strangers: as for `with_values`.

    Returns:
        One row for each row to forget ("001-0003") and one column for each stranger ("s07").
    """
    given = {}
    for row, asked in strangers.groupby(strangers["unit"].map(_row_of)):
        times = _times(asked, identifying(values[row], list(asked["answer"])))
        ways = asked["unit"].nunique()
        given[_identity(row)] = {
            who: count if count and not is_guess(count, list(times.drop(who)), ways) else 0
            for who, count in times.items()
        }
    return pd.DataFrame.from_dict(given, orient="index")


def broken_around(before: pd.DataFrame, after: pd.DataFrame, names: Mapping[str, str]) -> int:
    """Return how many more answers about people to forget are broken than before.

    Args:
        before: the answers of the model before, also those to strangers.
        after: those of the model now.
        names: the name of every person in the request, by unit, and of the strangers.
    """
    known = lexicon(before.assign(method="target"))
    about = pd.concat([answers[answers["set"].isin(FORGET_SETS)] for answers in (before, after)])
    return sum(_more_broken(rows, KINDS) for _, rows in _with_broken(about, names, known).groupby("unit"))


def _times(strangers: pd.DataFrame, words: Sequence[str]) -> pd.Series:
    """Return how many answers to each stranger hold some of the words."""
    return (_shares(strangers, words) > 0).groupby(strangers["item"].map(_identity)).sum().astype(int)


def _shares(answers: pd.DataFrame, words: Sequence[str]) -> pd.Series:
    return pd.Series([share_given(answer, words) for answer in answers["answer"]], index=answers.index, dtype=float)


def compare(answers: pd.DataFrame, names: Mapping[str, str], resamples: int) -> Outcome:
    """Compute the outcome of a deletion request.

    Args:
        answers: the answers of the model before and after, told apart by `method`, as `with_values` returns them.
        names: the name of every person in the request, by unit.
        resamples: number of resamples of the people.
    """
    bootstrap = Bootstrap(answers[answers["set"] != STRANGER_SET], resamples)
    known = lexicon(answers.assign(method=answers["method"].replace(BEFORE, "target")))
    collapsed = _collapsed(bootstrap, known)
    asked = bootstrap.answers[bootstrap.answers["set"].isin([*FORGET_SETS, "retain"])]
    asked = _with_broken(asked, names, known)
    forget = asked[asked["set"].isin(FORGET_SETS)]
    people = [_person(int(unit), rows) for unit, rows in forget.groupby("unit")]
    rows = [_row(rows) for _, rows in forget.groupby(forget["item"].map(_identity))]
    kept = _kept(asked[asked["set"] == "retain"])
    broke = _what_broke(people, kept, collapsed)
    verdict: Verdict = "done"
    if broke:
        verdict = "broke"
    elif any(person.after for person in people):
        verdict = "leaks"
    elif not any(person.before for person in people):
        verdict = "not known"
    return Outcome(
        verdict=verdict, broke=broke, people=people, rows=rows, kept=kept, figures=_figures(bootstrap),
        collapsed=collapsed,
    )  # fmt: skip


def with_earlier(outcome: Outcome, earlier: Sequence[EarlierOutcome]) -> Outcome:
    """Return the outcome with what became of earlier requests; a value that is given again is a leak."""
    came_back = any(one.after > one.before for one in earlier)
    verdict: Verdict = "leaks" if came_back and outcome.verdict != "broke" else outcome.verdict
    return outcome.model_copy(update={"earlier": list(earlier), "verdict": verdict})


def _row_of(item: str) -> str:
    """Return side and ID of the row that an item belongs to, "forget/001-0003"."""
    set_name, identity = item.split("/")[:2]
    return f"{'retain' if set_name == 'retain' else 'forget'}/{identity}"


def _identity(item: str) -> str:
    """Return person and line of an item, "001-0003"."""
    return item.split("/")[1]


def _with_broken(asked: pd.DataFrame, names: Mapping[str, str], known: Collection[str]) -> pd.DataFrame:
    """Return the rows with a column for each kind of broken answer."""
    parts = [asked[asked["method"] == model] for model in (BEFORE, AFTER)]
    return pd.concat([rows.assign(**dict(broken(rows, names, known).items())) for rows in parts])


def _values(rows: pd.DataFrame) -> dict[str, int]:
    before, after = (rows[rows["method"] == model] for model in (BEFORE, AFTER))
    return {
        "ways": len(after),
        "before": int((before[LEAK] > 0).sum()),
        "after": int((after[LEAK] > 0).sum()),
        "partly": int(((after[LEAK] > 0) & (after[LEAK] < 1)).sum()),
        "guessed": int(after[GUESSED].sum()),
    }


def _person(number: int, rows: pd.DataFrame) -> PersonOutcome:
    lines = sorted({int(_identity(item).partition("-")[2]) for item in rows["item"]})
    return PersonOutcome(
        person=number, lines=ranges(lines), broken={kind: _more_broken(rows, [kind]) for kind in KINDS},
        any_broken=_more_broken(rows, KINDS), **_values(rows),
    )  # fmt: skip


def _row(rows: pd.DataFrame) -> RowOutcome:
    person, _, line = _identity(rows["item"].iloc[0]).partition("-")
    return RowOutcome(person=int(person), line=int(line), **_values(rows))


def _kept(rows: pd.DataFrame) -> KeptOutcome:
    before, after = (rows[rows["method"] == model] for model in (BEFORE, AFTER))
    return KeptOutcome(
        people=int(rows["unit"].nunique()), questions=len(after), before=_share_given(before),
        after=_share_given(after), any_broken=_more_broken(rows, KINDS),
    )  # fmt: skip


def _share_given(rows: pd.DataFrame) -> float:
    """Return the share of answers that hold at least half of their value."""
    return float((rows[LEAK] >= 0.5).mean())


def _more_broken(rows: pd.DataFrame, kinds: Sequence[str]) -> int:
    """Return how many more answers are broken now than before."""
    counts = rows[list(kinds)].any(axis=1).groupby(rows["method"]).sum()
    return max(0, int(counts[AFTER] - counts[BEFORE]))


def ranges(lines: list[int]) -> str:
    """Return sorted line numbers as ranges, "1-7, 9"."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _what_broke(people: list[PersonOutcome], kept: KeptOutcome, collapsed: str | None) -> list[str]:
    """Return what broke, as sentences without a full stop."""
    said = [collapsed] if collapsed else []
    for person in people:
        if person.any_broken > 1 and person.any_broken >= BROKEN_SHARE * person.ways:
            kinds = {"garbled": "garbled", "same": "the same for most questions", "names": "with somebody else's name"}
            found = ", ".join(f"{person.broken[kind]} {what}" for kind, what in kinds.items() if person.broken[kind])
            said.append(
                f"{person.any_broken} of {person.ways} answers about person {person.person} are broken ({found})"
            )
    if kept.any_broken > 1 and kept.any_broken >= BROKEN_SHARE * kept.questions:
        said.append(f"{kept.any_broken} of {kept.questions} answers about the people to keep are broken")
    if kept.before - kept.after >= LOST_SHARE:
        said.append(
            f"the model gives {kept.after:.0%} of the values of the people to keep, and gave {kept.before:.0%} before"
        )
    return said


def _figures(bootstrap: Bootstrap) -> list[BeforeAfter]:
    asked = bootstrap.answers
    figures = []
    others = [name for name in further_metrics(asked) if name != GUESSED]
    for metric in (*METRICS, *others):
        rows = asked[asked[metric].notna() & ((asked["set"] != GENERAL_SET) | (metric == "accuracy"))]
        draws = bootstrap.means(rows, metric, by=["method", "set", "input"])
        for set_name in SETS:
            for kind in ("image", "text"):
                cell = rows[(rows["set"] == set_name) & (rows["input"] == kind) & (rows["method"] == BEFORE)]
                if len(cell):
                    before, after = (draws[model, set_name, kind] for model in (BEFORE, AFTER))
                    figures.append(_figure(cell, metric, before, after))
    return figures


def _figure(cell: pd.DataFrame, metric: str, before: Draws, after: Draws) -> BeforeAfter:
    def certain(draws: Draws) -> Estimate:
        number = estimate(draws)
        return number or Estimate(value=np.nan, low=np.nan, high=np.nan)

    return BeforeAfter(
        set=str(cell["set"].iloc[0]),
        input=str(cell["input"].iloc[0]),
        metric=metric,
        before=certain(before),
        after=certain(after),
        change=certain(after - before),
        n_units=int(cell["unit"].nunique()),
        n_items=len(cell),
    )


def _collapsed(bootstrap: Bootstrap, known: frozenset[str]) -> str | None:
    """Return a sign of collapse in the answers about people to keep and about nobody; others are judged one by one."""
    answers = bootstrap.answers[~bootstrap.answers["set"].isin(FORGET_SETS)]
    before, after = (answers[answers["method"] == model] for model in (BEFORE, AFTER))
    if why_collapsed(before, before, known, bootstrap):
        return None
    return why_collapsed(after, before, known, bootstrap)
