"""Texts that others wrote: compared in one form, cut into words in every script, and shown without side effects."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import regex

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"(?V1)[{_UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{N}}\p{{M}}]--[{_UNSPACED}]]+")
_RUN = regex.compile(rf"(?V1)[{_UNSPACED}]\p{{M}}*|[^{_UNSPACED}]+")
_INVISIBLE = frozenset({"Cf", "Cc", "Cs"})
_ALIKE = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc`\u00b4", "'") | dict.fromkeys("\u2010\u2011\u2012\u2013", "-"))
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_UNSAFE = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff{_DIRECTIONS}]")
_SPECIAL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|</?(?:image|images|img|imagehere|img_context|image_soft_token|start_of_image|end_of_image|video"
    r"|fake_token_around_image|global-img|end_of_utterance|start_of_turn|end_of_turn|s|bos|eos|pad|unk|think)>"
    r"|\[/?INST\]|<</?SYS>>",
    re.IGNORECASE,
)
_LONGEST_LINE = 1600  # characters; no list of known names is longer
_LONGEST_NAME = 150  # bytes, so that endings can be added
_MARKDOWN = re.compile(
    r"[\\`*<>|~&$]|\](?=[(\[:])|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.|^(?:#|[+-](?=\s)|[=-](?=[=-])|\d+(?=[.)](?:\s|$)))"
)


@lru_cache(maxsize=4096)
def same_form(text: str) -> str:
    """Return the form in which names and values are compared.

    Composed and decomposed letters, capitals, wide letters, invisible marks, spaces, and the kinds of apostrophes and
    hyphens do not matter.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_ALIKE)
    return " ".join("".join(c for c in folded if c.isspace() or unicodedata.category(c) not in _INVISIBLE).split())


def words(text: str) -> list[str]:
    """Return the words of a text: runs of letters with their marks and digits.

    In scripts without spaces between words, such as Chinese and Thai, each letter is one.
    """
    found: list[str] = _WORD.findall(unicodedata.normalize("NFC", text))
    return found


def spaced(text: str) -> list[str]:
    """Return the pieces of a text between spaces; in scripts without spaces between words, each letter is one."""
    return [run for piece in text.split() for run in ([piece] if piece.isascii() else _RUN.findall(piece))]


def special_token(text: str) -> str:
    """Return the first mark in a text that models read as a picture or as the end of a turn; "" if there is none."""
    found = _SPECIAL.search(text)
    return found[0] if found else ""


def is_file_name(text: str) -> bool:
    """Return True if a text can be the name of a file in any folder: no path, nothing hidden or invisible, not long."""
    return bool(text.strip()) and not (
        text.startswith(".")
        or {"/", "\\"} & {*text}
        or _UNSAFE.search(text)
        or len(text.encode(errors="replace")) > _LONGEST_NAME
    )


def one_line(text: str) -> str:
    """Return a text for one line of a terminal or a message: control characters are written as escapes."""
    return _UNSAFE.sub(_escaped, text)


def several_lines(text: str) -> str:
    """Return a message for a terminal: indented lines stay lines, all other control characters are written as escapes.

    Of a very long line, which holds somebody's whole file, the beginning and the end are left.
    """
    return "\n  ".join(map(_shortened, map(one_line, text.split("\n  "))))


def markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line and in one cell of a table."""
    line = one_line(re.sub(r"\s+", " ", text))
    return _MARKDOWN.sub(lambda found: f"{found[0]}\\" if found[0].isdecimal() else f"\\{found[0]}", line)


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE // 2]} ... {line[-_LONGEST_LINE // 2 :]}"


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
