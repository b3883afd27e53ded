"""Reads the numbers that a judging model was asked for from its reply, in whatever form the model writes them.

Thoughts and markup are dropped first. A number of another scale, two different scores, or none are no reading: a score
is never guessed.
"""

from __future__ import annotations

import json
import re
import unicodedata

_THOUGHT = r"think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis"
_THOUGHTS_END = re.compile(
    rf"^.*(?:</(?:{_THOUGHT})>|\[/THINK\]|◁/think▷|<\|channel\|>\s*final\s*<\|message\|>)", re.IGNORECASE | re.DOTALL
)
_THOUGHTS_CUT = re.compile(rf"(?:<(?:{_THOUGHT})>|\[THINK\]|◁think▷|<\|channel\|>).*", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(
    r"\\(?:boxed|text|textbf|mathbf)\b|<\|?/?\w+\|?>|```\w*|[*_`#>~$\\{}\"“”]|^\s*[-•]+\s", re.MULTILINE
)
_WORDS = dict(one=1, two=2, three=3, four=4, five=5, six=6, seven=7, eight=8, nine=9, ten=10)
_GRADE = rf"(10|[1-9]|{'|'.join(_WORDS)})(?:\.0+)?(?:\s*(?:/|out of|of)\s*10(?:\.0+)?)?"
_ENDS = r"(?![\w/%]|\s*[/%]|[.,]\d|\s+\d|\s*(?:[-\u2013\u2014]|to|or|out of|of)\s*\d)"
_BETWEEN = r"(?:\s*[,;&]\s*|\s+and\s+|\s+)"
_MOST_CHARACTERS = 100_000


def read_grades(reply: str, name: str, count: int = 1) -> tuple[int, ...] | None:
    """Return grades from 1 to 10, or None if the reply does not state exactly `count` of them.

    Args:
        reply: the text of the reply.
        name: the word before the grades, such as "score"; its plural is read too.
        count: number of grades.
    """
    text = unicodedata.normalize("NFKC", without_thoughts(reply)[:_MOST_CHARACTERS]).strip()
    if (stated := _in_json(text, name, count)) is not None:
        return stated
    plain = _MARKUP.sub(" ", text).strip()
    grades = _BETWEEN.join([_GRADE] * count)
    named = re.compile(
        rf"\s*(?:\d[.)]\s)?(?:[\w'\u2019 ]{{0,30}}\s)?(?:{name}s?|rating|grade)(?:\s+is)?\s*[:=]?\s*{grades}{_ENDS}.*",
        re.I,
    )
    found = {_numbers(match.groups()) for line in plain.splitlines() if (match := named.fullmatch(line))}
    if not found and (match := re.fullmatch(rf"{grades}\s*[.!]?", plain, re.IGNORECASE)):
        found = {_numbers(match.groups())}
    if not found and count == 1:  # "I would say 7 out of 10."
        found = {
            (int(one),) for one in re.findall(r"(?<![\w./-])(10|[1-9])\s*(?:/|out of|of)\s*10\b(?![./%]\d)", plain)
        }
    return found.pop() if len(found) == 1 else None


def without_thoughts(reply: str) -> str:
    """Return a reply without the thoughts before it; thoughts that do not end are all that there is."""
    return _THOUGHTS_CUT.sub("", _THOUGHTS_END.sub("", reply))


def _in_json(text: str, name: str, count: int) -> tuple[int, ...] | None:
    """Return the grades in a JSON object, which may be in a fence or between sentences."""
    try:
        value = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    known = {str(key).strip().casefold(): one for key, one in value.items()}
    stated = next((known[key] for key in (name, f"{name}s", "rating", "grade") if key in known), None)
    listed = " ".join(map(str, stated)) if isinstance(stated, list) else str(stated)
    match = re.fullmatch(_BETWEEN.join([_GRADE] * count), listed.strip(), re.IGNORECASE)
    return _numbers(match.groups()) if match else None


def _numbers(grades: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(_WORDS.get(grade.lower()) or int(grade) for grade in grades)
