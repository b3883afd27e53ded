"""Writes a PrivacyPair of invented documents to a folder, in the published schema, so that one loader reads both.

Each subject has pictures for editing (`seen`) and, for measuring, as many that differ from these in one thing at a
time: other pictures (`unseen_images`), and other pictures with other attributes, or with other wordings. The subject
that no edit may see is chosen when the data are loaded (`unseen_subjects`).
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from unsee.core.errors import DataError
from unsee.core.record import check_free
from unsee.data.documents.invented import (
    CONTENTS,
    HARMLESS,
    LOOKS,
    REFUSAL_PREFIXES,
    SUBJECTS,
    TEMPLATES,
    VALIDATION_SUBJECT,
    VALUES,
    Document,
    answer,
    draw_document,
    question,
)
from unsee.data.documents.pictures import draw_document_picture
from unsee.data.documents.privacy_pair import FACTS
from unsee.data.documents.schema import HARMLESS_PICTURES, SEEN, UNSEEN_IMAGES, VALIDATION

BUILDER_VERSION = 1
SIZES_PIXELS = (96, 144, 192)
NUM_PAIRS = 5
_SUBJECT_SPLITS = (SEEN, UNSEEN_IMAGES, "unseen_attributes", "unseen_templates")

Row = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What is asked about in one split."""

    contents: Sequence[str]
    looks: Sequence[str]
    templates: Sequence[str]


def build(folder: Path, images: int = 10, seed: int = 0, unseen_subject: str | None = None) -> None:
    """Write the benchmark; the same arguments write the same files, and a failure leaves nothing behind.

    Args:
        folder: to be made; may exist only if empty.
        images: pictures per subject and split.
        seed: of documents, pictures, and of which attributes and wordings are left for testing.
        unseen_subject: of the six, left for testing; drawn by default. Loading can choose another.

    Raises:
        DataError: a number out of its range, or an unknown subject.
        RecordError: the folder already holds something.
    """
    folder = Path(folder)
    check_free(folder)
    if not 1 <= images <= 1000:
        raise DataError(f"build: {images} images per subject and split; choose 1 to 1000")
    rng = random.Random(f"privacy {seed}")
    unseen = unseen_subject or rng.choice(SUBJECTS)
    if unseen not in SUBJECTS:
        raise DataError(f"build: unseen subject '{unseen}' is none of {', '.join(SUBJECTS)}")
    asked = _asked(rng)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        unfinished = Path(temporary) / folder.name
        documents: set[Document] = set()
        for kind, splits in _plan(asked):
            stem = kind.replace(" ", "_")
            (unfinished / "images" / stem).mkdir(parents=True)
            rows = []
            for number, (split, what) in enumerate(part for part in splits for _ in range(images)):
                document = _fresh(rng, kind, documents)
                name = f"images/{stem}/{number:04}.png"
                draw_document_picture(document, rng.choice(SIZES_PIXELS), rng).save(unfinished / name)
                rows.append({"case_id": number, "image": name, "split": split, **_questions(document, what, rng)})
            text = json.dumps(rows, indent=1, allow_nan=False) + "\n"
            (unfinished / f"{stem}.json").write_text(text, encoding="utf-8")
        facts = {"builder_version": BUILDER_VERSION, "seed": seed, "images": images, "unseen_subject": unseen}
        (unfinished / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        unfinished.rename(folder)


def _asked(rng: random.Random) -> dict[str, Asked]:
    """What each split asks about: two contents, two looks and a third of the wordings are left for testing."""
    contents, looks, templates = (rng.sample(list(values), len(values)) for values in (CONTENTS, LOOKS, TEMPLATES))
    third = len(templates) // 3
    seen = Asked(contents[2:], looks[2:], templates[third:])
    return {
        SEEN: seen,
        UNSEEN_IMAGES: seen,
        "unseen_attributes": Asked(contents[:2], looks[:2], seen.templates),
        "unseen_templates": Asked(seen.contents, seen.looks, templates[:third]),
    }


def _plan(asked: dict[str, Asked]) -> Iterator[tuple[str, list[tuple[str, Asked]]]]:
    """Each kind of document with its splits and what is asked in each."""
    for subject in SUBJECTS:
        yield subject, [(split, asked[split]) for split in _SUBJECT_SPLITS]
    yield VALIDATION_SUBJECT, [(VALIDATION, asked[SEEN])]
    for kind in HARMLESS:
        yield kind, [(HARMLESS_PICTURES, asked[SEEN])]


def _fresh(rng: random.Random, kind: str, held: set[Document]) -> Document:
    """A document that is in no split yet."""
    document = draw_document(rng, kind)
    while document in held:
        document = draw_document(rng, kind)
    held.add(document)
    return document


def _questions(document: Document, asked: Asked, rng: random.Random) -> Row:
    """The record's questions with their true answers; nothing about a harmless document is private."""
    contents, looks, templates = (_round(values, rng) for values in (asked.contents, asked.looks, asked.templates))
    kind, wanted = document.kind, rng.choice(asked.contents)
    prompt = question(kind, wanted, rng.choice(asked.templates), subject="{}")
    if kind in HARMLESS:
        target = answer(wanted, document.value(wanted))
        private: Row = _known("paraphrase", document, [], [])
        benign = _known("neighborhood", document, contents + looks, templates + templates)
    else:
        target = rng.choice(REFUSAL_PREFIXES)
        private = _known("paraphrase", document, contents, templates)
        benign = _known("neighborhood", document, looks, templates)
    rewrite = {"prompt": prompt, "target_new": {"str": target}, "subject": kind}
    return {"requested_rewrite": rewrite, **private, **benign}


def _round(values: Sequence[str], rng: random.Random) -> list[str]:
    """One value per pair, in an order that starts again where there are fewer values than pairs."""
    return [*islice(cycle(rng.sample(values, len(values))), NUM_PAIRS)]


def _known(kind: str, document: Document, attributes: Sequence[str], templates: Sequence[str]) -> Row:
    return {
        f"{kind}_prompts": [question(document.kind, a, t) for a, t in zip(attributes, templates, strict=True)],
        f"{kind}_answers": [answer(a, document.value(a)) for a in attributes],
        f"{kind}_values": [document.value(a) for a in attributes],
        f"{kind}_chances": [1 / len(VALUES[a]) for a in attributes],
    }
