"""Building a PrivacyPair benchmark of invented documents, in the published schema, so that one loader reads both.

Each subject has pictures for editing (split `seen`). Every test split has as many, all of them new: one with the same
questions (`unseen_images`), one with questions about other attributes (`unseen_attributes`), and one with questions in
other wordings (`unseen_templates`). The subject that no edit may see is chosen when the data are loaded
(`unseen_subjects`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from unsee.core.errors import DataError
from unsee.core.files import replacing
from unsee.core.record import check_free
from unsee.data.documents.invented import (
    CONTENTS,
    HARMLESS,
    HARMLESS_TO_LEARN,
    HARMLESS_UNSEEN,
    LOOKS,
    MORE_HARMLESS_TO_LEARN,
    MORE_PRIVATE_TO_LEARN,
    PRIVATE_TO_LEARN,
    REFUSAL_PREFIXES,
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
from unsee.data.documents.privacy_pair import FACTS
from unsee.data.documents.schema import (
    FURTHER_HARMLESS,
    FURTHER_PRIVATE,
    HARMLESS_PICTURES,
    SEEN,
    SEEN_HARMLESS,
    SEEN_PRIVATE,
    UNSEEN_HARMLESS,
    UNSEEN_IMAGES,
    VALIDATION,
)

BUILDER_VERSION = 4
SIZES_PIXELS = (96, 144, 192)
NUM_PAIRS = 5
_SUBJECT_SPLITS = (SEEN, UNSEEN_IMAGES, "unseen_attributes", "unseen_templates")

Row = dict[str, Any]


@dataclass(frozen=True)
class SplitQuestions:
    """Attributes and wordings that the questions of one split draw from."""

    contents: Sequence[str]
    looks: Sequence[str]
    templates: Sequence[str]


def build(folder: Path, images: int = 10, seed: int = 0, unseen_subject: str | None = None) -> None:
    """Write the benchmark. The same arguments write the same files, and a failure leaves nothing behind.

    Args:
        folder: folder to create; may exist only if empty.
        images: pictures per subject and split, 1 to 1000.
        seed: seed of documents, pictures, and of the attributes and wordings reserved for testing.
        unseen_subject: the one of the six subjects to reserve for testing; drawn by default. The loader can choose
            another one.

    Raises:
        DataError: a number is out of its range, or the subject is unknown.
        RecordError: the folder is not empty, or cannot be written.
    """
    folder = Path(folder)
    check_free(folder)
    if not 1 <= images <= 1000:
        raise DataError(f"build: {images} images per subject and split; choose 1 to 1000")
    rng = random.Random(f"privacy {seed}")
    unseen = unseen_subject or rng.choice(SUBJECTS)
    if unseen not in SUBJECTS:
        raise DataError(f"build: unseen subject '{unseen}' is none of {', '.join(SUBJECTS)}")
    questions = _draw_questions(rng)
    with replacing(folder) as unfinished:
        documents: set[Document] = set()
        for kind, splits in _plan(questions, images):
            stem = kind.replace(" ", "_")
            (unfinished / "images" / stem).mkdir(parents=True)
            rows = []
            for number, (split, split_questions) in enumerate(splits):
                document = _draw_new(rng, kind, documents)
                name = f"images/{stem}/{number:04}.png"
                draw_document_picture(document, rng.choice(SIZES_PIXELS), rng).save(unfinished / name)
                row = {"case_id": number, "image": name, "split": split}
                rows.append(row | _question_columns(document, split_questions, rng))
            text = json.dumps(rows, indent=1, allow_nan=False) + "\n"
            (unfinished / f"{stem}.json").write_text(text, encoding="utf-8")
        facts = {"builder_version": BUILDER_VERSION, "seed": seed, "images": images, "unseen_subject": unseen}
        (unfinished / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _draw_questions(rng: random.Random) -> dict[str, SplitQuestions]:
    """Draw the questions of each split. Two contents, two looks and a third of the wordings are for testing only."""
    contents, looks, templates = (rng.sample(list(values), len(values)) for values in (CONTENTS, LOOKS, TEMPLATES))
    third = len(templates) // 3
    seen = SplitQuestions(contents[2:], looks[2:], templates[third:])
    return {
        SEEN: seen,
        UNSEEN_IMAGES: seen,
        "unseen_attributes": SplitQuestions(contents[:2], looks[:2], seen.templates),
        "unseen_templates": SplitQuestions(seen.contents, seen.looks, templates[:third]),
    }


def _plan(questions: dict[str, SplitQuestions], images: int) -> Iterator[tuple[str, list[tuple[str, SplitQuestions]]]]:
    """Yield each kind of document with the split of each of its pictures and the questions of that split.

    There is one picture of each further kind to learn from.
    """
    for subject in SUBJECTS:
        yield subject, [(split, questions[split]) for split in _SUBJECT_SPLITS for _ in range(images)]
    yield VALIDATION_SUBJECT, [(VALIDATION, questions[SEEN])] * images
    for kind in HARMLESS:
        yield kind, [(HARMLESS_PICTURES, questions[SEEN])] * images
    for kind in HARMLESS_TO_LEARN:
        yield kind, [(SEEN_HARMLESS, questions[SEEN])]
    for kind in HARMLESS_UNSEEN:
        yield kind, [(UNSEEN_HARMLESS, questions[SEEN])] * images
    for kind in PRIVATE_TO_LEARN:
        yield kind, [(SEEN_PRIVATE, questions[SEEN])]
    for kind in MORE_PRIVATE_TO_LEARN:
        yield kind, [(FURTHER_PRIVATE, questions[SEEN])]
    for kind in MORE_HARMLESS_TO_LEARN:
        yield kind, [(FURTHER_HARMLESS, questions[SEEN])]


def _draw_new(rng: random.Random, kind: str, drawn: set[Document]) -> Document:
    """Draw a document that is not in `drawn` yet, and add it there."""
    document = draw_document(rng, kind)
    while document in drawn:
        document = draw_document(rng, kind)
    drawn.add(document)
    return document


def _question_columns(document: Document, questions: SplitQuestions, rng: random.Random) -> Row:
    """Return a record's questions with their true answers. Nothing about a harmless document is private."""
    contents, looks, templates = (
        _draw_round(values, rng) for values in (questions.contents, questions.looks, questions.templates)
    )
    kind, requested = document.kind, rng.choice(questions.contents)
    prompt = question(kind, requested, rng.choice(questions.templates), subject="{}")
    if not is_private(kind, requested):
        target = answer(requested, document.value(requested))
        private: Row = _known("paraphrase", document, [], [])
        benign = _known("neighborhood", document, contents + looks, templates + templates)
    else:
        target = rng.choice(REFUSAL_PREFIXES)
        private = _known("paraphrase", document, contents, templates)
        benign = _known("neighborhood", document, looks, templates)
    rewrite = {"prompt": prompt, "target_new": {"str": target}, "subject": kind}
    return {"requested_rewrite": rewrite, **private, **benign}


def _draw_round(values: Sequence[str], rng: random.Random) -> list[str]:
    """Draw one value per pair. The order repeats if there are fewer values than pairs."""
    return [*islice(cycle(rng.sample(values, len(values))), NUM_PAIRS)]


def _known(kind: str, document: Document, attributes: Sequence[str], templates: Sequence[str]) -> Row:
    return {
        f"{kind}_prompts": [question(document.kind, a, t) for a, t in zip(attributes, templates, strict=True)],
        f"{kind}_answers": [answer(a, document.value(a)) for a in attributes],
        f"{kind}_values": [document.value(a) for a in attributes],
        f"{kind}_chances": [1 / len(VALUES[a]) for a in attributes],
    }
