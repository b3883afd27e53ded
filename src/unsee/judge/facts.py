"""Search of known values in sentences: text, numbers, dates and places made comparable.

A `Value` is a run of plain words in parts: "Oslo, Norway" has two, a date has its year and its day. `Known` collects
the values from a run's own questions: the options of one choice are values of one attribute, and attributes that share
a value (birthplace and residence) share a domain.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import pandas as pd

from unsee.core.record import GENERAL_SET

Words = tuple[str, ...]

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTH = rf"({'|'.join(month[:3] for month in _MONTHS)})[a-z]*\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_DATES = (
    (re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b"), (1, 2, 3)),
    (re.compile(rf"\b{_DAY}(?: of)? {_MONTH},? (\d{{4}})\b"), (3, 2, 1)),
    (re.compile(rf"\b{_MONTH} {_DAY},? (\d{{4}})\b"), (3, 1, 2)),
)
_DATED = re.compile(r"\d{4}, [a-z]+ day\d+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_SHORT_THOUSANDS = re.compile(r"\b(\d+) ?(?:k|thousand)\b")
_METRES = re.compile(r"\b(\d)\.(\d\d) ?(?:m|metres?|meters?)\b")
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W_]+")
_POSSESSIVE = re.compile(r"['\u2019]s\b")
_FULL_NAME = re.compile(r"[^\W\d_a-z][\w\u2019'.-]*(?: [^\W\d_a-z][\w\u2019'.-]*)+")
_EMPTY = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "been", "by", "for", "from", "had", "has", "have", "he", "her",
        "his", "in", "is", "it", "its", "of", "on", "or", "she", "that", "the", "their", "they", "this", "to",
        "was", "were", "which", "who", "will", "with", "person", "individual", "image", "picture", "photo",
    }
)  # fmt: skip
"""Words that carry no fact."""


@dataclass(frozen=True)
class Value:
    """A value in plain words; the most telling of its `parts` (city, year) comes first."""

    parts: tuple[Words, ...]

    @classmethod
    def of(cls, text: str) -> Value:
        """Return the value of a text."""
        parts = (tuple(_WORD.findall(part)) for part in plain(text).split(","))
        return cls(tuple(part for part in parts if part))

    @property
    def words(self) -> Words:
        """All words in order."""
        return tuple(chain.from_iterable(self.parts))

    @property
    def numbers(self) -> Words:
        """The numbers among its words."""
        return tuple(word for word in self.words if is_number(word))

    @property
    def is_number(self) -> bool:
        """True for a number with at most a unit, and for a date."""
        return bool(self.numbers) and (len(self.words) <= len(self.numbers) + 1 or len(self.parts) == 2)


def plain(text: str) -> str:
    """Return text in lower case without accents, dates as "1961, march day7", plain numbers, heights in centimetres."""
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    text = _POSSESSIVE.sub("", text)
    for pattern, order in _DATES:
        text = pattern.sub(lambda found, order=order: _date(*(found[group] for group in order)), text)  # type: ignore[misc]
    text = _THOUSANDS.sub("", text)
    return _SHORT_THOUSANDS.sub(r"\g<1>000", _METRES.sub(r"\1\2 cm", text))


def words(text: str) -> Words:
    """Return the words of a text in the form in which they are compared."""
    return tuple(_WORD.findall(plain(text)))


def is_number(word: str) -> bool:
    """Return True for a word of digits."""
    return word.replace(".", "").isdecimal()


def _date(year: str, month: str, day: str) -> str:
    number = int(month) if month.isdecimal() else [name[:3] for name in _MONTHS].index(month) + 1
    return f"{year}, {_MONTHS[number - 1]} day{int(day)}" if 1 <= number <= len(_MONTHS) else f"{year} {month} {day}"


class Index:
    """An index that finds values in a text: the longest first, each word used once; a leading part ("Oslo") counts."""

    def __init__(self, values: Iterable[Value]) -> None:
        self._values: dict[Words, Value] = {}
        for value in values:
            self._values[value.words] = value
        for value in list(self._values.values()):
            self._values.setdefault(value.parts[0], value)
        self._longest = max(map(len, self._values), default=0)

    def find(self, text: Words) -> list[Value]:
        """Return the values in order, each once."""
        return list(dict.fromkeys(value for _, value in self._cut(text) if value))

    def without(self, text: Words) -> Words:
        """Return the words that belong to no value."""
        return tuple(chain.from_iterable(run for run, value in self._cut(text) if value is None))

    def _cut(self, text: Words) -> Iterator[tuple[Words, Value | None]]:
        """Cut the text into runs, each a value or a single word that is no value."""
        start = 0
        while start < len(text):
            longest = min(self._longest, len(text) - start)
            runs = (text[start : start + length] for length in range(longest, 0, -1))
            run = next((run for run in runs if run in self._values), text[start : start + 1])
            yield run, self._values.get(run)
            start += len(run)


class Known:
    """The values, their domains and the names that a run's questions show.

    Args:
        answers: the run's answers; the questions of one model are enough.
    """

    def __init__(self, answers: pd.DataFrame) -> None:
        asked = answers[answers["set"] != GENERAL_SET].drop_duplicates("item")
        names = sorted(set(_names(asked).values()))
        values = tuple(Value.of(name) for name in names)
        self.names = Index(values)
        self._domains = _domains(asked) | dict.fromkeys(values, values)
        self._index = Index(self._domains)
        self._indices: dict[tuple[Value, ...], Index] = {}
        truths: dict[Words, set[str]] = defaultdict(set)
        for question, truth in zip(asked["question"], asked["truth"], strict=True):
            truths[self._kind(question)].add(truth)
        self._wording = {key: _shared(texts) for key, texts in truths.items()}

    def facts(self, question: str, truth: str) -> list[Value]:
        """Return the facts of the true answer, without the question's words and the wording of other true answers."""
        asked, told = words(question), words(truth)
        wording = self._wording.get(self._kind(question), frozenset())
        dates = [Value.of(date) for date in _DATED.findall(plain(truth))]
        dated = {word for date in dates for word in date.words}
        values = [value for value in self._index.find(told) if not holds(asked, value.words)]
        values = [*dates, *(value for value in values if not set(value.words) <= dated)]
        if facts := [value for value in values if not set(value.words) <= wording] or values:
            return facts
        content = [word for word in told if word not in _EMPTY and word not in asked]
        telling = [word for word in content if word not in wording] or content or list(told)
        return [Value((tuple(dict.fromkeys(telling)),))]

    def domain(self, fact: Value) -> tuple[Value, ...]:
        """Return all known values of the kind of `fact`; only itself if no other is known."""
        return self._domains.get(fact, (fact,))

    def stated(self, fact: Value, text: Words) -> list[Value]:
        """Return the values of the fact's domain in a text."""
        domain = self.domain(fact)
        if domain not in self._indices:
            self._indices[domain] = Index(domain)
        return self._indices[domain].find(text)

    def _kind(self, question: str) -> Words:
        """Return a question without the name of the person it is about."""
        return tuple(word for word in self.names.without(words(question)) if word not in _EMPTY)


def _domains(asked: pd.DataFrame) -> dict[Value, tuple[Value, ...]]:
    """Map every value to all values of its domain; options of one question, or that overlap, are one domain."""
    groups = [[Value.of(text) for text in options] for options in asked["options"] if len(options)]
    blanks = asked[asked["task"] == "cloze"]
    groups += [[Value.of(text)] for text in blanks["truth"]]
    domain: dict[Value, set[Value]] = {}
    for group in groups:
        merged = {value for value in group if value.parts}
        for value in list(merged):
            merged |= domain.get(value, set())
        domain.update(dict.fromkeys(merged, merged))
    whole: dict[int, tuple[Value, ...]] = {}
    return {
        value: whole.setdefault(id(members), tuple(sorted(members, key=lambda member: member.words)))
        for value, members in domain.items()
    }


def _names(asked: pd.DataFrame) -> dict[str, str]:
    """Return full names by person: the capitalised words in most of the questions by name."""
    names = {}
    for person, questions in asked[asked["input"] == "text"].groupby("unit")["question"]:
        counts = Counter(name for question in questions for name in set(_candidates(question)))
        if counts:
            name, count = max(counts.items(), key=lambda item: (item[1], len(item[0])))
            if 2 * count > len(questions):
                names[str(person)] = name
    return names


def _candidates(question: str) -> Iterator[str]:
    """Return runs of two or more capitalised words, and their ends ("Does Ada Novak" holds "Ada Novak")."""
    for run in _FULL_NAME.findall(_POSSESSIVE.sub("", question)):
        parts = run.split()
        yield from (" ".join(parts[start:]).rstrip(".'") for start in range(len(parts) - 1))


def _shared(texts: Sequence[str] | set[str]) -> frozenset[str]:
    """Return the words in more than half of at least three different true answers: the wording, not the fact."""
    counts = Counter(word for text in texts for word in set(words(text)))
    return frozenset(word for word, count in counts.items() if 2 * count > len(texts) >= 3)


def holds(whole: Words, part: Words) -> bool:
    """Return True if one run of words contains another."""
    return any(whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1))
