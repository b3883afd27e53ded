"""Other ways to ask a user's question: in other words, with the photo instead of the name, about somebody else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from unsee.data.people.questions import SHORT, mention, with_name
from unsee.data.people.wordings import WORDINGS

_THIS = "this person"
_OF = re.compile(rf"\b[Tt]he (?P<what>[\w ]+?) of {_THIS}\b(?!'s)")
_S = re.compile(rf"\b{_THIS}'s (?P<what>[\w ]+?)(?=[?.,]|$)", re.IGNORECASE)
_WORD = re.compile(r"\w+")


def rewordings(question: str, name: str, count: int) -> list[str]:
    """Return a question in other words, at most `count` times; it refers to the person as before.

    A question about an attribute that unsee has wordings for gets those. Any other has its possessive turned around
    ("the car of X", "X's car") and a phrase put before or after it.

    Args:
        question: a question that says `name`, or words such as "this person".
        name: the full name.
        count: how many are wanted.
    """
    said = name if name in question else mention(question)
    asked = question.replace(name, _THIS) if name in question else with_name(question, _THIS)
    other = dict.fromkeys(text for text in (*_known(asked), *_turned(asked)) if text != asked)
    return [_referring(text, said) if said else text for text in other][:count]


def photo_twin(question: str, name: str) -> str | None:
    """Return a question that says the name with "this person" in its place; None if it does not say the name."""
    return _referring(question.replace(name, _THIS), _THIS) if name in question else None


def about(question: str, name: str, other: str) -> str | None:
    """Return the question about somebody with another name; None if it names nobody.

    A question that says only the first or the last name gets that of the other.
    """
    if name in question:
        return question.replace(name, other)
    parts, others = name.split(), other.split()
    swaps = {parts[0]: others[0], parts[-1]: others[-1]}
    swapped = _WORD.sub(lambda word: swaps.get(word.group(), word.group()), question)
    return swapped if swapped != question else None


def _referring(text: str, said: str) -> str:
    """Return the text with other words in place of "this person", with a capital first letter."""
    changed = re.sub(_THIS, lambda _: said, text, flags=re.IGNORECASE)
    return changed[:1].upper() + changed[1:]


def _known(asked: str) -> Iterator[str]:
    """Yield the wordings of the attribute that a question asks for: those of the test set, then the others."""
    for wordings in WORDINGS.values():
        groups = [[question for question, _ in wordings.of(group)] for group in ("test", "train", "eval")]
        if any(asked.casefold() == question.casefold() for group in groups for question in group):
            for group in groups:
                yield from group


def _turned(asked: str) -> Iterator[str]:
    """Yield forms that any question has."""
    for pattern, form in ((_OF, f"{_THIS}'s {{what}}"), (_S, f"the {{what}} of {_THIS}")):
        turned = pattern.sub(lambda found, form=form: form.format(what=found["what"]), asked)  # type: ignore[misc]
        if turned != asked:
            yield turned
    yield f"Please tell me: {asked}"
    yield f"{asked} {SHORT}"
