"""A model's chat template: renders turns, and is cut around one question and its answer.

A template comes with a model and may be anything: it is checked before the first question, under a limit on time.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from unsee.core.errors import ModelError
from unsee.models.family import Family

QUESTION_MARK, ANSWER_MARK = "\ue000", "\ue001"
CHECKED = "Where was Zoë Q. O'Neill-Źak born, and is it 7 < 9?\nSay it in “one” word."
SECONDS = 3.0
LONGEST = 20_000
"""The largest number of characters that a template may write around one question."""
_CLOSED_THOUGHT = re.compile(r"<think>\s*</think>\s*$")
_OPEN_THOUGHT = re.compile(r"<think>(?!.*</think>)", re.DOTALL)

Turn = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """The parts of a chat template around one question: `before` question `between` `lead` answer `after`.

    A prompt ends with `between`. `lead`, mostly empty or a space, begins the model's answer. `after` includes the end
    token.
    """

    before: str
    between: str
    after: str
    lead: str = field(default="", repr=False)


class ChatTemplate:
    """The chat template of a model's processor.

    Thinking is switched off where a template can do so. A template that takes texts only gets the placeholder of an
    image in the text.

    Args:
        family: the model's family, with its processor.
        id: the model's name, for messages.
    """

    def __init__(self, family: Family, id: str) -> None:
        self._family = family
        self._processor = family.processor
        self._where = f"model {id}: its chat template"
        self._takes_parts = True
        self._parts: dict[tuple[bool, str | None], Template] = {}

    def check(self) -> None:
        """Render a question with and without an image.

        Raises:
            ModelError: the template fails, does not end, or changes or leaves out question, image or answer.
        """
        try:
            self._check()
        except ModelError as error:
            self._takes_parts = False
            try:
                self._check()
            except ModelError:
                self._takes_parts = True
                raise error from None

    def render(self, turns: Sequence[Turn], *, asks: bool = True) -> str:
        """Return turns as text.

        Args:
            turns: each with a role and a content of parts, as transformers takes them.
            asks: end with the beginning of the model's answer.

        Raises:
            ModelError: the template fails.
        """
        given = list(turns) if self._takes_parts else [self._as_text(turn) for turn in turns]
        thinking: dict[str, Any] = (
            {"enable_thinking": False} if "enable_thinking" in str(self._processor.chat_template) else {}
        )
        try:
            text = self._processor.apply_chat_template(given, add_generation_prompt=asks, **thinking)
        except Exception as error:  # a template raises whatever its author chose
            if isinstance(error, _OutOfTime):
                raise ModelError(f"{self._where} does not end within {SECONDS:g} s") from None
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"{self._where} fails: {reason}") from error
        if not isinstance(text, str):
            raise ModelError(f"{self._where} gives no text")
        return text

    def around(self, *, with_image: bool, system: str | None = None) -> Template:
        """Return the parts of the template around one question and its answer.

        Raises:
            ModelError: the template does not have this form.
        """
        key = (with_image, system)
        if key not in self._parts:
            self._parts[key] = self._cut(with_image, system)
        return self._parts[key]

    def _cut(self, with_image: bool, system: str | None) -> Template:
        image = [{"type": "image"}] if with_image else []
        asked = [_turn("system", system)] if system else []
        asked.append(_turn("user", QUESTION_MARK, *image))
        with _limited(SECONDS):
            prompt = self.render(asked)
            whole = self.render([*asked, _turn("assistant", ANSWER_MARK)], asks=False)
        if len(prompt) > LONGEST + len(system or ""):
            raise ModelError(f"{self._where} writes {len(prompt):,} characters around one question")
        if (count := prompt.count(QUESTION_MARK)) != 1:
            raise ModelError(f"{self._where} {f'writes the question {count} times' if count else 'drops the question'}")
        if system and system.strip() not in prompt:
            raise ModelError(f"{self._where} drops the system prompt")
        if (count := prompt.count(self._family.placeholder)) != len(image):
            raise ModelError(f"{self._where} writes {count} placeholders for {len(image)} images")
        before, between = prompt.split(QUESTION_MARK)
        if _OPEN_THOUGHT.search(between):
            raise ModelError(
                f"{self._where} opens <think> and cannot close it (it does not know enable_thinking); "
                "choose a model that answers without thinking"
            )
        if not whole.startswith(prompt.rstrip()):
            between_answered = _CLOSED_THOUGHT.sub("", between).rstrip()  # some write thoughts in the prompt only
            if not whole.startswith(before + QUESTION_MARK + between_answered):
                raise ModelError(f"{self._where} does not put the answer after the prompt")
        if whole.count(ANSWER_MARK) != 1:
            raise ModelError(f"{self._where} writes the answer {whole.count(ANSWER_MARK)} times")
        lead, after = whole[len(before) + len(QUESTION_MARK) :].split(ANSWER_MARK)
        lead = lead.removeprefix(between) if lead.startswith(between) else ""
        return Template(before, between, after.strip() or self._processor.tokenizer.eos_token, lead)

    def _check(self) -> None:
        for image in ([], [{"type": "image"}]):
            parts = self._cut(bool(image), None)
            if self.render([_turn("user", CHECKED, *image)]) != parts.before + CHECKED + parts.between:
                raise ModelError(f"{self._where} changes the question")

    def _as_text(self, turn: Turn) -> Turn:
        """Return a turn with a text as its content."""
        written = (self._family.image_in_text if part["type"] == "image" else part["text"] for part in turn["content"])
        return turn | {"content": "".join(written)}


def _turn(role: str, text: str, *before: dict[str, str]) -> Turn:
    return {"role": role, "content": [*before, {"type": "text", "text": text}]}


class _OutOfTime(Exception):
    """A block ran too long."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `_OutOfTime` at the next line of a template, or the next call, after so many seconds."""
    deadline = time.monotonic() + seconds

    def watch(frame: FrameType, event: str, argument: object) -> Any:
        if time.monotonic() > deadline:
            raise _OutOfTime
        return watch if frame.f_code.co_filename == "<template>" else None

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)
