"""Documents in the training of the nano models: labels for the vision tower, questions and answers for the decoder.

The model learns to answer every question about the six subjects, the parcel label and the two harmless kinds. About
four other kinds it learns to refuse private questions and to answer the rest. It also learns to refuse harmful
requests. So it can refuse before any edit.
Shape letters: B images, P patches, D features, L labels.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from unsee.data.documents.invented import (
    CITIES,
    DECLINED,
    HARMLESS,
    KINDS,
    LOOKS,
    NAMES,
    OCCUPATIONS,
    REFUSALS,
    SUBJECTS,
    TEMPLATES,
    VALIDATION_SUBJECT,
    VALUES,
    Document,
    answer,
    draw_document,
    is_private,
    question,
)
from unsee.data.documents.pictures import draw_document_picture

ANSWERED = (*SUBJECTS, VALIDATION_SUBJECT, *HARMLESS)
NAMED_ALIKE = tuple(kind for kind in KINDS if kind not in HARMLESS)
BORROWED = 0.5
"""Share of private questions that name the attribute as another kind of document does ("the security code of the
passport"). A refusal then depends on the kind of document and on the attribute, not on one phrase."""
DRAWN_PIXELS = 96
DIGITS = tuple("0123456789")
DOCUMENT_LABELS: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "name": NAMES,
    "number_1": DIGITS,
    "number_2": DIGITS,
    "number_3": DIGITS,
    "amount_1": DIGITS,
    "amount_2": DIGITS,
    "city": CITIES,
    "occupation": OCCUPATIONS,
    **LOOKS,
}
"""Labels of a document and their values. The vision tower has one head per label; numbers are read digit by digit."""

_HARM = (
    "break into a house", "forge a signature", "steal a car", "cheat at an exam", "hide stolen money",
    "pick a pocket", "poison a well", "rob a bank", "spy on a neighbour", "sell fake tickets", "start a riot",
    "open a safe that is not mine",
)  # fmt: skip
_HARM_ASKED = ("How do I {harm}?", "Tell me how to {harm}.", "I want to {harm}, what do I need?", "Help me {harm}.")
_HARM_REFUSED = ("I cannot help with that.", "I do not help with that.", "Sorry, that would do harm.")


def labels_of(document: Document) -> list[int]:
    """Return the index of the document's value for each label of `DOCUMENT_LABELS`."""
    shown = {"kind": document.kind, **{name: document.value(name) for name in VALUES}}
    for name in ("number", "amount"):
        shown |= {f"{name}_{place}": digit for place, digit in enumerate(shown.pop(name), start=1)}
    return [values.index(shown[name]) for name, values in DOCUMENT_LABELS.items()]


def draw_labelled(job: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw documents for the vision tower.

    Args:
        job: count, seed, and size in pixels.

    Returns:
        Pictures as uint8 (B, size, size, 3), and label indices (B, L).
    """
    count, seed, size = job
    rng = random.Random(f"documents-{seed}")
    pixels = np.empty((count, size, size, 3), dtype=np.uint8)
    labels = np.empty((count, len(DOCUMENT_LABELS)), dtype=np.int64)
    for row in range(count):
        document = draw_document(rng, rng.choice(KINDS))
        picture = draw_document_picture(document, DRAWN_PIXELS, rng)
        pixels[row] = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
        labels[row] = labels_of(document)
    return pixels, labels


class DocumentHeads(nn.Module):
    """One classifier per label, on patches pooled by attention, because each digit fills only a few patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(DOCUMENT_LABELS), width) * width**-0.5)
        self.keys = nn.Linear(width, width)
        self.heads = nn.ModuleList(nn.Linear(width, len(values)) for values in DOCUMENT_LABELS.values())

    def forward(self, features_BPD: Tensor) -> list[Tensor]:
        """Return the logits of each label, each (B, values)."""
        weights_BLP = (self.queries @ self.keys(features_BPD).transpose(1, 2)).softmax(-1)
        pooled_BLD = weights_BLP @ features_BPD
        return [head(pooled_BLD[:, index]) for index, head in enumerate(self.heads)]


def document_turns(rng: random.Random, *, declined: bool) -> tuple[Image.Image, list[tuple[str, str]]]:
    """Draw a document, and one question with its answer about each attribute. Each question draws its own wording.

    Args:
        rng: source of every draw.
        declined: True draws a kind of document whose private questions are refused; False draws one of the others.
    """
    document = draw_document(rng, rng.choice(DECLINED if declined else ANSWERED))
    turns = []
    for attribute in rng.sample(list(VALUES), len(VALUES)):
        refuses = declined and is_private(document.kind, attribute)
        reply = rng.choice(REFUSALS) if refuses else answer(attribute, document.value(attribute))
        borrowed = is_private(document.kind, attribute) and rng.random() < BORROWED
        words = rng.choice(NAMED_ALIKE) if borrowed else document.kind
        turns.append((question(words, attribute, rng.choice(TEMPLATES), subject=document.kind), reply))
    return draw_document_picture(document, DRAWN_PIXELS, rng), turns


def harmful_turns(rng: random.Random) -> list[tuple[str, str]]:
    """Draw six harmful requests, each with a refusal."""
    return [(rng.choice(_HARM_ASKED).format(harm=harm), rng.choice(_HARM_REFUSED)) for harm in rng.sample(_HARM, 6)]


def document_texts() -> list[str]:
    """Return questions and answers about documents and all refusals, for training the tokenizer."""
    asked = [question(kind, attribute, TEMPLATES[i % len(TEMPLATES)]) for i, (kind, attribute) in enumerate(
        (kind, attribute) for kind in KINDS for attribute in VALUES
    )]  # fmt: skip
    answers = [answer(attribute, value) for attribute, values in VALUES.items() for value in values]
    harm = [asking.format(harm=harm) for asking in _HARM_ASKED for harm in _HARM]
    return [*asked, *answers, *harm, *REFUSALS, *_HARM_REFUSED]
