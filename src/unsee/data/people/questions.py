"""Questions about people: the training text, the evaluation questions, and the paraphrases of the test set."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, Protocol, get_args

from unsee.core.text import same_form
from unsee.data.people.portraits import (
    BACKGROUNDS,
    BEARDS,
    CLOTHES,
    COLOURS,
    FEMALE_HAIR,
    GLASSES,
    HAIR_COLOURS,
    MALE_HAIR,
    Look,
    Scene,
)
from unsee.data.people.profiles import ASKABLE, ATTRIBUTES, VALUES, Profile, evenly
from unsee.data.people.wordings import WORDINGS, Group, Wordings
from unsee.data.schema import LETTERS, Input, Person, Question

Split = Literal["eval", "test"]

_PICTURE = r"(?:image|picture|photo|photograph|portrait)"
_SHOWN = r"(?:shown|seen|depicted|pictured|displayed|featured|portrayed|visible|appearing)"
_IN_PICTURE = rf" (?:(?:who|that) (?:is|appears) )?(?:{_SHOWN} )?(?:in|on|of|from) (?:this|the)(?: given)? {_PICTURE}"
_PERSON = re.compile(
    rf"\b(?:this|the)(?: {_SHOWN})? (?:person|individual)\b"
    rf"(?:{_IN_PICTURE}\b| (?:shown|seen|depicted|pictured|above)\b(?! (?:in|on)\b))?(?! (?:who|whom|whose|that)\b)"
    rf"|\b(?:this|the) (?:man|woman|boy|girl|lady|gentleman|subject){_IN_PICTURE}\b"
    r"|\bthis (?:man|woman|boy|girl|lady|gentleman)\b",
    re.IGNORECASE,
)
_BY_SIGHT = re.compile(
    r",?(?: as)? (?:based|judging|going)(?: solely| only)? (?:on|by|from) (?:the|this|their|his|her)\b[^,.?!]*"
    rf"|,? (?:as )?(?:{_SHOWN} )?(?:in|on|from) (?:the|this)(?: given)? {_PICTURE}\b",
    re.IGNORECASE,
)
_BY_SIGHT_FIRST = re.compile(
    rf"(?:(?:based|judging|going) [^,?]*|(?:from|in|on|looking at) (?:the|this)(?: given)? {_PICTURE}), *",
    re.IGNORECASE,
)
_TOLD = r"(?:mentioned|described|stated|given|listed|provided|noted|indicated|specified|detailed|outlined|written)"
_PROFILE = r"(?:the|this)(?: (?:given|provided))? (?:profile|biography|description)(?: description| information)?"
_BY_PROFILE = re.compile(
    rf"(?:(?<!\bis)(?<!\bare)(?<!\bwas)(?<!\bwere),?(?: as)? {_TOLD})?,?(?: as)? "
    rf"(?:in|on|from|by|per|according to) {_PROFILE}\b"
    rf"|^(?:as {_TOLD} )?(?:in|on|from|per|according to) {_PROFILE}, *",
    re.IGNORECASE,
)
_RELATIVE = r"(?:father|mother|parents?)"
_THE_RELATIVE = re.compile(rf"\bthe (?={_RELATIVE}\b)", re.IGNORECASE)
_ANY_RELATIVE = re.compile(rf"\b{_RELATIVE}\b", re.IGNORECASE)
_ASKS_NAME = re.compile(r"\b(?:name|named|who|whom|whose|called|known|identity|identify)\b", re.IGNORECASE)
_ANY_PICTURE = re.compile(rf"\b{_PICTURE}s?\b", re.IGNORECASE)
_INPUTS: tuple[Input, ...] = get_args(Input)
_GROUPS: tuple[Group, ...] = get_args(Group)
SHORT = "Answer in few words."
"""Instruction to answer with a value instead of a sentence."""

_NUM_CHOICES, _NUM_SENTENCES, _NUM_BLANKS = 5, 2, 2

_APPEARANCE = {
    "hair_colour": ("What is this person's hair colour?", "Which colour is the hair of this person?"),
    "hair_style": ("What is this person's hair style?", "How is the hair of this person styled?"),
    "glasses": ("Which glasses does this person wear?", "What does this person wear over the eyes?"),
    "beard": ("Which beard does this person have?", "What grows on the face of this person?"),
    "clothes": ("Which clothes does this person wear?", "What is this person dressed in?"),
    "clothes_colour": ("Which colour are this person's clothes?", "What is the colour of the clothes?"),
    "background": ("Which colour is the background?", "What colour is behind this person?"),
}


class Described(Protocol):
    """Anybody with a name and with facts, which map attribute names to values and include the name."""

    @property
    def name(self) -> str:
        """The full name."""
        ...

    @property
    def values(self) -> Mapping[str, str]:
        """The facts."""
        ...


@dataclass(frozen=True)
class Catalogue:
    """The attributes of people, and the wordings and options of questions about them.

    Attributes:
        askable: attributes that evaluation asks for, besides the name.
        pools: values that the options of a choice are drawn from, four or more for each attribute that has choices.
        wordings: wordings of every attribute a person may have.
    """

    askable: tuple[str, ...]
    pools: Mapping[str, Sequence[str]]
    wordings: Mapping[str, Wordings]


INVENTED = Catalogue(ASKABLE, VALUES, WORDINGS)


def mention(text: str) -> str:
    """Return the words in a text that refer to a person ("this person"); "" if it refers to nobody."""
    found = _PERSON.search(text)
    return found.group() if found else ""


def looks_asked(who: str) -> list[str]:
    """Return questions that the portrait alone answers.

    Args:
        who: the words for the person in the questions.
    """
    asked = [first for kind, (first, _) in _APPEARANCE.items() if kind not in ("beard", "background")]
    return [text.replace("this person", who) for text in asked]


def with_name(text: str, name: str) -> str:
    """Return the text with the name in place of "this person", "this individual's" or "the person in the image"."""
    return _PERSON.sub(lambda _: name, text)


def name_twin(question: Question, name: str) -> Question | None:
    """Return the question asked about a name instead of a portrait.

    "The father" or "the mother", in a question that refers to nobody else, is the person's. Returns None if the
    question asks for the name itself, is asked without a portrait already, refers to nobody in particular, or can be
    answered from the portrait only.
    """
    asks_own_name = _ASKS_NAME.search(question.question) and not _ANY_RELATIVE.search(question.question)
    if question.input == "text" or (name in question.answer and asks_own_name):
        return None
    asked, answer = (_without_profile(with_name(text, name)) for text in (question.question, question.answer))
    if name not in asked:
        asked, answer = (_THE_RELATIVE.sub(lambda _: f"{name}'s ", text) for text in (asked, answer))
    if lead := _BY_SIGHT_FIRST.match(asked):
        asked = asked[lead.end() : lead.end() + 1].upper() + asked[lead.end() + 1 :]
    asked = _BY_SIGHT.sub("", asked)
    if name not in asked or _ANY_PICTURE.search(asked):
        return None
    return replace(question, input="text", question=asked, answer=answer, photo=None)


def _without_profile(text: str) -> str:
    """Return the text without "as mentioned in the profile" and the like, which only the published text has."""
    shorter = _BY_PROFILE.sub("", text)
    return shorter if shorter == text else shorter[:1].upper() + shorter[1:]


def training_questions(person: Described, catalogue: Catalogue = INVENTED) -> list[Question]:
    """Return the training text: each attribute in a sentence, and those that evaluation asks for also in few words.

    A small model that learns facts from sentences only can use them in sentences only: without the short answers it
    recites every fact but chooses and fills blanks near chance (docs/lab-notes.md).
    """
    questions = []
    for attribute, value in person.values.items():
        question, statement = catalogue.wordings[attribute].train[0]
        answers = {question: _sentence(statement, value)}
        if attribute in catalogue.askable:
            answers[f"{question} {SHORT}"] = value
        questions += [Question(task="train", input="image", question=q, answer=a) for q, a in answers.items()]
    return questions


def evaluation_questions(
    person: Described, turn: int, rng: random.Random, split: Split, catalogue: Catalogue = INVENTED
) -> list[Question]:
    """Return the eighteen evaluation questions: 5 choices, 2 sentences and 2 blanks, each for image and for text.

    The attributes rotate with the turn, so that over 12 consecutive people (13 for sentences about a portrait) each
    attribute is asked equally often in each task and input. Both splits ask for the same facts. Fewer attributes give
    fewer questions.

    Args:
        person: the person to ask about.
        turn: position in the rotation, one further for each person.
        rng: draws wordings and options; the same state gives both splits the same options in another order.
        split: "eval", or "test" for the paraphrases.
        catalogue: attributes, wordings and options.
    """
    letters = list(islice(evenly(LETTERS, rng), 4 * _NUM_CHOICES))
    letters = letters[2 * _NUM_CHOICES :] if split == "test" else letters[: 2 * _NUM_CHOICES]
    askable = [attribute for attribute in catalogue.askable if attribute in person.values]
    choosable = [attribute for attribute in askable if attribute in catalogue.pools]
    questions = []
    for index, kind in enumerate(_INPUTS):
        for attribute in _rotated(choosable, _NUM_CHOICES * (turn + index), _NUM_CHOICES):
            question, _ = rng.choice(catalogue.wordings[attribute].of(split))
            value, place = person.values[attribute], LETTERS.index(letters.pop())
            options = placed(value, catalogue.pools[attribute], place, rng)
            questions.append(_choice(person, kind, question, value, options))
    for index, kind in enumerate(_INPUTS):
        in_sentences = ["name", *askable] if kind == "image" else askable
        for attribute in _rotated(in_sentences, _NUM_SENTENCES * turn + 6 * index, _NUM_SENTENCES):
            question, statement = rng.choice(catalogue.wordings[attribute].of(split))
            questions.append(_generation(person, kind, attribute, question, statement))
    for index, kind in enumerate(_INPUTS):
        for attribute in _rotated(askable, _NUM_BLANKS * turn + 6 * index + 3, _NUM_BLANKS):
            questions.append(_cloze(person, kind, attribute, catalogue.wordings[attribute].cloze[split]))
    return questions


def every_wording(profile: Profile) -> list[Question]:
    """Return all questions about one person: each attribute in each wording, task and input.

    The name is asked with the portrait only. Name and gender do not have four options, so they have no choices.
    """
    rng = random.Random(profile.id)
    questions = []
    for attribute in ATTRIBUTES:
        for kind in _INPUTS[:1] if attribute == "name" else _INPUTS:
            for group in _GROUPS:
                for question, statement in WORDINGS[attribute].of(group):
                    questions.append(_generation(profile, kind, attribute, question, statement))
                    if attribute in VALUES:
                        options = placed(profile.values[attribute], VALUES[attribute], rng.randrange(len(LETTERS)), rng)
                        questions.append(_choice(profile, kind, question, profile.values[attribute], options))
                questions.append(_cloze(profile, kind, attribute, WORDINGS[attribute].cloze[group]))
    return questions


def appearance(look: Look, scene: Scene) -> list[Question]:
    """Return questions that the portrait alone answers, with four options each. Only men's beards are asked about."""
    rng = random.Random(repr((look, scene)))
    values: dict[str, tuple[str, Iterable[str]]] = {
        "hair_colour": (look.hair_colour, HAIR_COLOURS),
        "hair_style": (look.hair_style, MALE_HAIR if look.sex == "male" else FEMALE_HAIR),
        "glasses": (look.glasses, GLASSES),
        "beard": (look.beard, BEARDS),
        "clothes": (scene.clothes, CLOTHES),
        "clothes_colour": (scene.clothes_colour, COLOURS),
        "background": (scene.background, BACKGROUNDS),
    }
    if look.sex == "female":
        del values["beard"]
    return [
        Question(
            task="classification",
            input="image",
            question=rng.choice(_APPEARANCE[feature]),
            answer=answer,
            options=placed(answer, among, rng.randrange(len(LETTERS)), rng),
        )
        for feature, (answer, among) in values.items()
    ]


def appearance_sentence(look: Look, scene: Scene) -> str:
    """Describe the portrait in one sentence."""
    article = "an" if scene.clothes_colour[0] in "aeiou" else "a"
    beard = f", {look.beard}" if look.sex == "male" else ""
    return (
        f"This person has {look.hair_style} {look.hair_colour} hair{beard}, {look.glasses} "
        f"and wears {article} {scene.clothes_colour} {scene.clothes}."
    )


def _rotated(attributes: Sequence[str], start: int, count: int) -> list[str]:
    return [attributes[(start + step) % len(attributes)] for step in range(min(count, len(attributes)))]


def _sentence(statement: str, value: str) -> str:
    article = "n" if statement.endswith(" a") and value[0] in "aeiouAEIOU" else ""
    return f"{statement}{article} {value}."


def _asked(text: str, kind: Input, person: Described) -> str:
    return with_name(text, person.name) if kind == "text" else text


def _choice(person: Described, kind: Input, question: str, answer: str, options: tuple[str, ...]) -> Question:
    question = _asked(question, kind, person)
    return Question(task="classification", input=kind, question=question, answer=answer, options=options)


def _generation(person: Described, kind: Input, attribute: str, question: str, statement: str) -> Question:
    answer = _sentence(_asked(statement, kind, person), person.values[attribute])
    return Question(task="generation", input=kind, question=_asked(question, kind, person), answer=answer)


def _cloze(person: Described, kind: Input, attribute: str, beginning: str) -> Question:
    question = _asked(_sentence(beginning, "__"), kind, person)
    return Question(task="cloze", input=kind, question=question, answer=person.values[attribute])


def placed(answer: str, among: Iterable[str], place: int, rng: random.Random) -> tuple[str, ...]:
    """Return four options: the answer at `place`, and three other values, drawn uniformly."""
    wrong = rng.sample(sorted(v for v in set(among) if same_form(v) != same_form(answer)), len(LETTERS) - 1)
    return (*wrong[:place], answer, *wrong[place:])


def training_text(person: Person) -> list[Question]:
    """Return the published training questions, and a copy of each that names the person instead of showing them.

    There is no copy of a question that the data ask by name themselves.
    """
    published = [question for question in person.questions if question.task == "train"]
    by_name = pairs_by_name(published)
    unnamed = [question for question in published if question.pair not in by_name]
    return [*published, *(twin for question in unnamed if (twin := name_twin(question, person.name)))]


def pairs_by_name(questions: Iterable[Question]) -> set[str]:
    """Return the pairs whose question by name is among some questions."""
    return {question.pair for question in questions if question.input == "text" and question.pair}


def by_photo(questions: Iterable[Question]) -> list[list[Question]]:
    """Return the questions about each photo; those about any photo, or none, are the first list."""
    groups: dict[int, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.photo or 0, []).append(question)
    return [groups[photo] for photo in sorted(groups)]
