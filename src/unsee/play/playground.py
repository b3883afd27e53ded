"""Several models that answer the same question, as it is or under attack."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple, TypeVar

import pandas as pd
import psutil
from pydantic import BaseModel, ConfigDict

from unsee.attacks import ATTACKS
from unsee.attacks.base import Asking, QuestionAttack
from unsee.config.recipe import EvaluationConfig
from unsee.core.errors import DataError, UnknownNameError
from unsee.core.progress import Progress
from unsee.data.images import decode, encode_png
from unsee.data.schema import Benchmark, Person, Question
from unsee.exams.attacked import AttackedExams
from unsee.exams.people import Exam
from unsee.models.vlm import VLM
from unsee.refusals.base import opens_with_refusal
from unsee.scoring.disclosure import discloses

PLAIN = "as it is"
_SHARE_OF_MEMORY = 0.5
_Thing = TypeVar("_Thing")


@dataclass(frozen=True, kw_only=True)
class Respondent:
    """A model of the playground.

    Attributes:
        name: as it is shown.
        load: loads it.
        system: a system prompt before every question.
    """

    name: str
    load: Callable[[], VLM]
    system: str | None = None


@dataclass(frozen=True)
class Prepared:
    """A question of the data.

    Attributes:
        set: the set that it belongs to.
        question: the question with its true answer.
        photo: the encoded picture that it is asked with; None if it is asked by name.
    """

    set: str
    question: Question
    photo: bytes | None


@dataclass(frozen=True)
class Character:
    """A person that can be asked about.

    Attributes:
        set: "forget", "retain" or "celebrity".
        person: name, portraits and questions.
        asked: all questions of the data about the person.
    """

    set: str
    person: Person
    asked: tuple[Prepared, ...]

    @property
    def values(self) -> list[str]:
        """What is to be known about the person: true choices and blanks."""
        short = [one.question.answer for one in self.asked if one.question.task in ("classification", "cloze")]
        return [value for value in dict.fromkeys(short) if any(map(str.isalnum, value))]


class Way(NamedTuple):
    """A way to ask: its name, and whether it needs a picture, or an answer in words and so no choice."""

    name: str
    picture: bool = False
    words: bool = False


class Ask(BaseModel):
    """What the page wants to know of one model.

    Attributes:
        model: the name of the model.
        person: the number of the person; None if the question is about nobody of the data.
        question: the number of one of the person's questions; None for a question in words of one's own.
        text: the question in words of one's own.
        with_portrait: show the person's portrait with a question in words of one's own.
        picture: another picture to show in place of the photo or the portrait, as a data URI.
        way: one of `Playground.ways`.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    person: int | None = None
    question: int | None = None
    text: str = ""
    with_portrait: bool = False
    picture: str = ""
    way: str = PLAIN


class Said(BaseModel):
    """What a model answers.

    Attributes:
        answers: one text, or several if they were drawn.
        probability: geometric mean of the token probabilities of the true answer; None if no true answer is known.
        right: True if a choice or a blank is right; None for sentences and own questions.
        refused: True if an answer begins as a refusal does.
        leaked: the values of the person that an answer gives away and the question does not hold.
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
        benchmark: the people to ask about; None if there are none.
        redact: show no name, portrait, question or answer.
        max_new_tokens: the longest answer in words.

    Attributes:
        people: everybody that can be asked about, those to forget first.
        redact: as given.
    """

    def __init__(
        self, respondents: Sequence[Respondent], benchmark: Benchmark | None = None, *, redact: bool = False,
        max_new_tokens: int = 24,
    ) -> None:  # fmt: skip
        self._respondents = {one.name: one for one in respondents}
        self._retain = benchmark.retain if benchmark else ()
        self._config = EvaluationConfig(max_new_tokens=max_new_tokens)
        self._loaded: OrderedDict[str, VLM] = OrderedDict()
        self._lock = Lock()
        self._ways = dict(_ways(with_examples=bool(self._retain)))
        self.people = _characters(benchmark) if benchmark else []
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
            UnknownNameError: there is no such model, person, question or way.
            DataError: the picture cannot be read, nothing is asked, or the way needs a picture.
        """
        if ask.model not in self._respondents:
            raise UnknownNameError("play: model", ask.model, self._respondents)
        if ask.way != PLAIN and ask.way not in self._ways:
            raise UnknownNameError("play: way", ask.way, [PLAIN, *self._ways])
        character = _numbered(self.people, ask.person, "person") if ask.person is not None else None
        question, photo = self._question(ask, character)
        with self._lock:
            rows, put = self._answers(ask, question, photo)
        return self._said(question, character, rows, put)

    def _question(self, ask: Ask, character: Character | None) -> tuple[Question, bytes | None]:
        """Return what is asked, and the picture that is shown."""
        if ask.question is not None and character is not None:
            prepared = _numbered(character.asked, ask.question, "question")
            other = _picture_of(ask.picture) if ask.picture and prepared.photo else None
            return prepared.question, other or prepared.photo
        if not ask.text.strip():
            raise DataError("play: nothing is asked; choose a question or write one")
        photo = next(iter(character.person.images), None) if character and ask.with_portrait else None
        photo = _picture_of(ask.picture) if ask.picture else photo
        return Question(
            task="generation", input="image" if photo else "text", question=ask.text.strip(), answer=""
        ), photo

    def _answers(self, ask: Ask, question: Question, photo: bytes | None) -> tuple[pd.DataFrame, str]:
        """Return a row for each answer of the model, and how an attack put the question."""
        respondent, vlm = self._respondents[ask.model], self._model(ask.model)
        person = Person(id="0", name="", images=(photo,) if photo else (), questions=(question,))
        exam = Exam(
            vlm, Benchmark(forget=(person,), test=(), retain=(), celebrity=(), fingerprint=""), [], self._config
        )
        system, put = respondent.system, ""
        if ask.way != PLAIN:
            name, attack, variant, asking = self._ways[ask.way]
            if asking.pictures and photo is None:
                raise DataError(f"play: {ask.way} changes a picture; ask a question with one")
            exam = AttackedExams(vlm, exam, [person], self._retain, 0).ask(name, attack, variant, asking)
            system = " ".join(filter(None, (system, asking.system))) or None
            if not exam.prompt_groups:
                raise DataError(f"play: {ask.way} needs an answer in words; choose a question without options")
            put = _put(exam, asking)
        return exam.examine(vlm, system=system, every=True), put

    def _said(self, question: Question, character: Character | None, rows: pd.DataFrame, put: str) -> Said:
        answers = [str(answer).strip() for answer in rows["answer"]]
        accuracy = rows["accuracy"].max()
        values = [value for value in (character.values if character else []) if not discloses(question.question, value)]
        is_told = question.task != "classification"
        leaked = [value for value in values if is_told and any(discloses(answer, value) for answer in answers)]
        return Said(
            answers=[] if self.redact else answers,
            probability=float(rows["probability"].iloc[0]) if question.answer else None,
            right=bool(accuracy) if question.answer and pd.notna(accuracy) else None,
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


def _characters(benchmark: Benchmark) -> list[Character]:
    """Return everybody, with the questions of the test set beside those of the people to forget."""
    others = {person.id: person for person in benchmark.test}
    people = []
    for set_name in ("forget", "retain", "celebrity"):
        for person in getattr(benchmark, set_name):
            asked = list(_prepared(set_name, person))
            if set_name == "forget" and person.id in others:
                asked += _prepared("test", others[person.id])
            people.append(Character(set_name, person, tuple(asked)))
    return people


def _prepared(set_name: str, person: Person) -> Iterator[Prepared]:
    for question in person.questions:
        if question.task != "train":
            photos = person.images if question.photo is None else person.images[question.photo : question.photo + 1]
            for photo in photos if question.input == "image" else (None,):
                yield Prepared(set_name, question, photo)


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
