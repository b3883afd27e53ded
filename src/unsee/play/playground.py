"""Several models that answer the same question, as it is or under attack."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import NamedTuple, TypeVar

import pandas as pd
import psutil
from pydantic import BaseModel, ConfigDict

from unsee.attacks import ATTACKS
from unsee.attacks.base import Asking, QuestionAttack
from unsee.config.recipe import EvaluationConfig
from unsee.config.tables import Kind
from unsee.core.errors import DataError, UnknownNameError
from unsee.core.progress import Progress
from unsee.data.images import decode, encode_png
from unsee.data.schema import Benchmark, Input, Person, Question
from unsee.exams.attacked import AttackedExams
from unsee.exams.people import Exam, TooLong
from unsee.methods.base import Guard
from unsee.models.vlm import VLM
from unsee.play.topics import Prepared, Topic
from unsee.refusals.base import opens_with_refusal
from unsee.scoring.disclosure import discloses

PLAIN = "as it is"
_SHARE_OF_MEMORY = 0.5
_Thing = TypeVar("_Thing")


@dataclass(frozen=True)
class Respondent:
    """A model of the playground.

    Attributes:
        name: as it is shown.
        load: loads it.
        system: a system prompt before every question.
        guard: answers some questions in its place.
    """

    name: str
    load: Callable[[], VLM]
    system: str | None = None
    guard: Guard | None = None


class Way(NamedTuple):
    """A way to ask: its name, and whether it needs a picture, or an answer in words and so no choice."""

    name: str
    picture: bool = False
    words: bool = False


class Ask(BaseModel):
    """What the page wants to know of one model.

    Attributes:
        model: the name of the model.
        topic: the number of the person or document; None if the question is about nothing of the data.
        question: the number of one of its questions; None for a question in words of one's own.
        text: the question in words of one's own.
        shown: show the topic's picture with a question in words of one's own.
        picture: another picture to show in place of that of the question or the topic, as a data URI.
        way: one of `Playground.ways`.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    topic: int | None = None
    question: int | None = None
    text: str = ""
    shown: bool = False
    picture: str = ""
    way: str = PLAIN


class Said(BaseModel):
    """What a model answers.

    Attributes:
        answers: one text, or several if they were drawn.
        probability: geometric mean of the token probabilities of the true answer; None if no true answer is known.
        right: True if a choice, a blank or the answer to a harmless question is right; None for any other.
        refused: True if an answer begins as a refusal does.
        leaked: the values of the topic that an answer gives away and the question does not hold.
        put: how an attack put the question: system prompt, earlier turns, wording, begun answer; "" as it is.
    """

    answers: list[str]
    probability: float | None
    right: bool | None
    refused: bool
    leaked: list[str]
    put: str = ""


class Playground:
    """Asks one model after another; as many as fit into half of the free memory stay loaded.

    Args:
        respondents: the models, with different names.
        topics: the people or documents to ask about.
        kind: which of the two.
        retain: people to keep, for attacks that show examples.
        redact: show no name, picture, question or answer.
        max_new_tokens: the longest answer in words.

    Attributes:
        topics, kind, redact: as given.
    """

    def __init__(
        self, respondents: Sequence[Respondent], topics: Sequence[Topic] = (), kind: Kind = "people", *,
        retain: Sequence[Person] = (), redact: bool = False, max_new_tokens: int = 24,
    ) -> None:  # fmt: skip
        self._respondents = {one.name: one for one in respondents}
        self._retain = retain
        self._config = EvaluationConfig(max_new_tokens=max_new_tokens)
        self._loaded: OrderedDict[str, VLM] = OrderedDict()
        self._lock = Lock()
        self._ways = dict(_ways(with_examples=bool(retain)))
        self.topics = topics
        self.kind = kind
        self.redact = redact

    @property
    def models(self) -> list[str]:
        """The names of the models."""
        return list(self._respondents)

    @property
    def ways(self) -> list[Way]:
        """The ways to ask; the first changes nothing."""
        found = [Way(name, bool(asking.pictures), bool(asking.samples)) for name, (*_, asking) in self._ways.items()]
        return [Way(PLAIN), *found]

    def warm_up(self, progress: Progress) -> None:
        """Load the models, as far as they fit, so that the first question is answered at once.

        Raises:
            UnseeError: a model cannot be loaded.
        """
        with progress.task("load models", len(self._respondents)) as advance:
            for name in self._respondents:
                self._model(name)
                advance(1)

    def ask(self, ask: Ask) -> Said:
        """Ask one model.

        Raises:
            UnknownNameError: there is no such model, topic, question or way.
            DataError: the picture cannot be read, nothing is asked, it is too long, or the way needs a picture.
        """
        if ask.model not in self._respondents:
            raise UnknownNameError("play: model", ask.model, self._respondents)
        if ask.way != PLAIN and ask.way not in self._ways:
            raise UnknownNameError("play: way", ask.way, [PLAIN, *self._ways])
        topic = _numbered(self.topics, ask.topic, "topic") if ask.topic is not None else None
        asked = self._asked(ask, topic)
        with self._lock:
            rows, put = self._answers(ask, asked)
        return self._said(asked, topic, rows, put)

    def _asked(self, ask: Ask, topic: Topic | None) -> Prepared:
        """Return what is asked, with the picture that is shown."""
        if ask.question is not None and topic is not None:
            prepared = _numbered(topic.asked, ask.question, "question")
            is_other = ask.picture and prepared.picture
            return replace(prepared, picture=_picture_of(ask.picture)) if is_other else prepared
        if not ask.text.strip():
            raise DataError("play: nothing is asked; choose a question or write one")
        picture = topic.picture if topic and ask.shown else None
        picture = _picture_of(ask.picture) if ask.picture else picture
        kind: Input = "image" if picture else "text"
        question = Question(task="generation", input=kind, question=ask.text.strip(), answer="")
        return Prepared("", "", question, picture)

    def _answers(self, ask: Ask, asked: Prepared) -> tuple[pd.DataFrame, str]:
        """Return a row for each answer of the model, and how an attack put the question."""
        respondent, vlm = self._respondents[ask.model], self._model(ask.model)
        pictures = (asked.picture,) if asked.picture else ()
        person = Person(id="0", name="", images=pictures, questions=(asked.question,))
        exam = Exam(
            vlm, Benchmark(forget=(person,), test=(), retain=(), celebrity=(), fingerprint=""), [], self._config
        )
        system, put = respondent.system, ""
        if ask.way != PLAIN:
            name, attack, variant, asking = self._ways[ask.way]
            if asking.pictures and not pictures:
                raise DataError(f"play: {ask.way} changes a picture; ask a question with one")
            exam = AttackedExams(vlm, exam, [person], self._retain, 0).ask(name, attack, variant, asking)
            system = " ".join(filter(None, (system, asking.system))) or None
            if not exam.prompt_groups:
                raise DataError(f"play: {ask.way} needs an answer in words; choose a question without options")
            put = _put(exam, asking)
        try:
            rows = exam.examine(vlm, system=system, every=True)
        except TooLong as error:
            raise DataError(f"play: the question is too long for {ask.model}; make it shorter ({error})") from error
        return exam.guarded(rows, respondent.guard) if respondent.guard else rows, put

    def _said(self, asked: Prepared, topic: Topic | None, rows: pd.DataFrame, put: str) -> Said:
        question, answers = asked.question, [str(answer).strip() for answer in rows["answer"]]
        right = rows["accuracy"].max() if question.answer else float("nan")
        if asked.value:
            right = any(discloses(answer, asked.value) for answer in answers)
        values = [value for value in (topic.values if topic else ()) if not discloses(question.question, value)]
        is_told = question.task != "classification"
        leaked = [value for value in values if is_told and any(discloses(answer, value) for answer in answers)]
        return Said(
            answers=[] if self.redact else answers,
            probability=float(rows["probability"].iloc[0]) if question.answer else None,
            right=bool(right) if pd.notna(right) else None,
            refused=is_told and all(opens_with_refusal(answer) for answer in answers),
            leaked=["hidden"] * len(leaked) if self.redact else leaked,
            put="" if self.redact else put,
        )

    def _model(self, name: str) -> VLM:
        """Return a model, loaded; those that were asked the longest time ago make room for it."""
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return self._loaded[name]
        if self._loaded:
            size = max(
                sum(p.numel() * p.element_size() for p in vlm.model.parameters()) for vlm in self._loaded.values()
            )
            while self._loaded and size > _SHARE_OF_MEMORY * psutil.virtual_memory().available:
                self._loaded.popitem(last=False)
        self._loaded[name] = self._respondents[name].load()
        return self._loaded[name]


def _ways(with_examples: bool) -> Iterator[tuple[str, tuple[str, QuestionAttack, str, Asking]]]:
    """Yield the ways to ask of every attack that asks, with its settings by default."""
    for name, cls in ATTACKS.usable().items():
        if issubclass(cls, QuestionAttack):
            attack = cls()
            for variant, asking in attack.askings.items():
                if with_examples or not asking.examples:
                    yield f"{name}: {variant}", (name, attack, variant, asking)


def _put(exam: Exam, asking: Asking) -> str:
    """Return what an attack says to the model, turn by turn; a changed picture is not shown."""
    item = exam.prompt_groups[0].items[0]
    turns = [("system", asking.system)]
    turns += [turn for said, answer in item.turns for turn in (("user", said), ("model", answer))]
    turns += [("user", item.question.question), ("model begins", item.opening)]
    return "\n".join(f"{who}: {text}" for who, text in turns if text)


def _numbered(things: Sequence[_Thing], number: int, what: str) -> _Thing:
    if not 0 <= number < len(things):
        raise UnknownNameError(f"play: {what}", str(number), map(str, range(len(things))))
    return things[number]


def _picture_of(uri: str) -> bytes:
    """Return the picture of a data URI as a file that opens."""
    head, _, body = uri.partition(",")
    if not head.endswith(";base64"):
        raise DataError("play: the picture is no data URI in base64")
    try:
        data = base64.b64decode(body, validate=True)
    except ValueError as error:
        raise DataError(f"play: the picture cannot be read: {error}") from error
    return encode_png(decode(data, "play: the picture"))
