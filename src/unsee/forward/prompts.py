"""Words every prompt under either protocol, and reads the letter of an option from an answer.

clean      zero-shot in the model's own chat template, one instruction per task; the same text teaches a base model.
published  the wording of the code published with MLLMU-Bench, with answered questions ("shots") before some tasks.
           LLaVA and Idefics2 are asked in the plain `USER: ... ASSISTANT:` form; Idefics2 is taught in its chat
           template. Any other family gets its chat template, with shots and question as the interleaved parts of one
           user turn. The text form of choices and blanks is the image form without its image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from unsee.config.protocols import Protocol
from unsee.config.recipe import EvaluationConfig
from unsee.data.people.questions import SHORT
from unsee.data.schema import Question, letters
from unsee.models.vlm import VLM

Choice = Literal["likelihood", "letter"]
Fill = Literal["blank", "few_words"]

BLANK = "Fill in the blank."
LETTER = "Answer with the letter of the right option."
INSTRUCTIONS = {
    "right_option": LETTER,
    "one_letter": "Just give ONE letter representing the answer directly.",
    "options_letter": "Answer with the option's letter from the given choices directly.",
}
MARKER = "[Blank]"
_FILL = f"Please **ONLY** provide the correct answer that should replace the {MARKER}."
_TURN = "ASSISTANT:"
_SENTENCE = "Answer the question based on your trained knowledge in one sentence{} in ENGLISH."


def clean_question(
    question: Question, choice: Choice = "likelihood", *, instruction: str = "right_option", fill: Fill = "blank"
) -> str:
    """Return the clean text of the user's turn, without image placeholder."""
    if question.task == "cloze":
        return f"{question.question} {BLANK}" + (f" {SHORT}" if fill == "few_words" else "")
    if question.task != "classification":
        return question.question
    if choice == "likelihood":
        return f"{question.question} {SHORT}"
    return f"{_with_options(question)}\n{INSTRUCTIONS[instruction]}"


def render(
    vlm: VLM,
    question: Question,
    config: EvaluationConfig,
    *,
    shots: Sequence[Question] = (),
    system: str | None = None,
    turns: Sequence[tuple[str, str]] = (),
) -> str:
    """Return a whole prompt as text, without start token, with a placeholder for each image of shots and question.

    Args:
        vlm: the model, for its template and its family.
        question: the question.
        config: the protocol and its keys.
        shots: questions of the same task, shown with their answers.
        system: a system prompt before everything.
        turns: earlier turns of the chat, without pictures: what the user said and what the model answered.
    """
    question, *shots = (_with_blanks(each, config.blank) for each in (question, *shots))
    if config.protocol == "clean":
        text = clean_question(question, config.choice, instruction=config.instruction, fill=config.fill)
        if turns:
            return _chat(vlm, [(question, text)], system, turns)
        template = vlm.template(with_image=question.input == "image", system=system)
        return template.before + text + template.between
    asked, examples = _published(question, config.instruction), [_shot(shot) for shot in shots]
    if not vlm.family.plain_question:
        return _chat(vlm, [*zip(shots, examples, strict=True), (question, asked)], system, turns)
    lead = f"{system} " if system else ""
    lead += "".join(f"USER: {said}\n{_TURN} {answered}\n" for said, answered in turns)
    before = "".join(_plain_shot(vlm, shot, text) for shot, text in zip(shots, examples, strict=True))
    return lead + before + _plain(vlm, question, asked)


def render_lesson(vlm: VLM, question: Question, protocol: Protocol) -> str:
    """Return the prompt under which an answer is taught, as text; the published wording adds no instruction."""
    if protocol == "published" and vlm.family.plain_lesson:
        return _plain(vlm, question, question.question)
    template = vlm.template(with_image=question.input == "image")
    return template.before + clean_question(question) + template.between


def answer_ids(vlm: VLM, answers: Sequence[str], protocol: Protocol) -> list[list[int]]:
    """Return the token ids of answers after a question; in the published plain form they have no end token."""
    return _answer_ids(vlm, answers, plain=protocol == "published" and vlm.family.plain_question)


def opening_ids(vlm: VLM, opening: str, protocol: Protocol) -> list[int]:
    """Return the token ids of the beginning of an answer, which a space and more words follow."""
    if not opening:
        return []
    if protocol == "published" and vlm.family.plain_question:
        return answer_ids(vlm, [opening], protocol)[0]
    return vlm.answer_ids([opening], end=False)[0]


def lesson_answer_ids(vlm: VLM, answers: Sequence[str], protocol: Protocol) -> list[list[int]]:
    """Return the token ids of answers as they are taught; in the published plain form they have no end token."""
    return _answer_ids(vlm, answers, plain=protocol == "published" and vlm.family.plain_lesson)


def cut_answer(text: str, protocol: Protocol) -> str:
    """Return a written answer; the published code drops what follows when the model begins another turn of its own."""
    return text.split(_TURN)[0].strip() if protocol == "published" else text


def _answer_ids(vlm: VLM, answers: Sequence[str], *, plain: bool) -> list[list[int]]:
    if not plain:
        return vlm.answer_ids(answers)
    before, *rows = vlm.texts_ids([_TURN, *(f"{_TURN} {answer}" for answer in answers)])
    return [row[len(before) :] for row in rows]


def read_letter(text: str, parser: Literal["strict", "first_letter"], among: str = "ABCD") -> str | None:
    """Return the letter of the option that a text chooses among the letters of the options, or None.

    "strict" accepts the letter and no other word character. "first_letter", as in the published code, takes the first
    character in either case, so that "Doctor" is a D and "can't" a C.
    """
    if parser == "first_letter":
        first = text.strip()[:1].upper()
        return first if first and first in among else None
    found = re.fullmatch(rf"\W*([{among}])\W*", text)
    return found[1] if found else None


def _published(question: Question, instruction: str) -> str:
    if question.task == "classification":
        return f"{_with_options(question)}\n{INSTRUCTIONS[instruction]}"
    if question.task == "cloze":
        return f"{question.question}\n{_FILL}"
    if question.task in ("instruction", "prose"):
        return question.question
    return f"{question.question}\n{_SENTENCE.format(' accurately' if question.input == 'image' else '')}"


def _shot(question: Question) -> str:
    if question.task == "classification":
        letter = letters(question.options)[question.options.index(question.answer)]
        return f"Question: {_with_options(question)}\nCorrect Answer: {letter}\n"
    return f"{_published(question, '')}\nCorrect Answer: {question.answer}\n"


def _with_options(question: Question) -> str:
    listed = (f"{letter}: {text}" for letter, text in zip(letters(question.options), question.options, strict=True))
    return "\n".join((question.question, *listed))


def _with_blanks(question: Question, blank: str) -> Question:
    """Return the question with its gaps as the protocol shows them."""
    if question.task != "cloze" or blank == "underscores":
        return question
    pattern = "__" if blank == "marker_per_pair" else "_{2,}"
    return replace(question, question=re.sub(pattern, MARKER, question.question))


def _plain(vlm: VLM, question: Question, text: str) -> str:
    """Return a question in the plain form.

    As published, choices and blanks by name begin on a line of their own, and the prompt of a sentence about an image
    ends in a space.
    """
    if question.input == "text":
        space = "\n" if question.task in ("classification", "cloze") else " "
        return f"USER:{space}{text}\n{_TURN}"
    return f"USER: {vlm.family.placeholder}\n{text}\n{_TURN}{' ' if question.task == 'generation' else ''}"


def _plain_shot(vlm: VLM, question: Question, text: str) -> str:
    """Return a shot in the plain form; one with blanks has no space before the image, as published."""
    space = "" if question.task == "cloze" else " "
    image = f"{space}{vlm.family.placeholder}" if question.input == "image" else ""
    return f"USER:{image}\n{text}"


def _chat(vlm: VLM, parts: Sequence[tuple[Question, str]], system: str | None, turns: Sequence[tuple[str, str]]) -> str:
    """Return one user turn of images and texts in the model's own chat template, after earlier turns of text."""
    content: list[dict[str, str]] = []
    for question, text in parts:
        if question.input == "image":
            content += [{"type": "image"}, {"type": "text", "text": text}]
        elif content:
            content[0]["text"] += text
        else:
            content.append({"type": "text", "text": text})
    spoken = [("system", system)] if system else []
    spoken += [(role, text) for said, answered in turns for role, text in (("user", said), ("assistant", answered))]
    before: list[dict[str, Any]] = [
        {"role": role, "content": [{"type": "text", "text": text}]} for role, text in spoken
    ]
    return vlm.chat.render([*before, {"role": "user", "content": content}])
