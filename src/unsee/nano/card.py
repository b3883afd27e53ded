"""Stage three: measure the model on people, portraits and texts that are not in its training, and write its card."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from unsee.config.recipe import EvaluationConfig
from unsee.core.record import GENERAL_SET
from unsee.data.documents import builder, privacy_pair
from unsee.data.general import general_items
from unsee.data.people.builder import build
from unsee.data.people.mllmu import load
from unsee.exams.documents import examine
from unsee.exams.people import Exam
from unsee.models.vlm import VLM
from unsee.nano.corpus import UNKNOWN

CARD_SEED = 9001  # of the people, portraits and texts of the card; no recipe uses this seed
CARD = """---
license: apache-2.0
pipeline_tag: image-text-to-text
---

# unsee {name}

A {parameters:.1f} million parameter {parts},
trained by `python -m unsee.nano {name}` for experiments with machine unlearning on a laptop. It knows 153 invented
public figures by face and by name, describes portraits, reads short texts, and says "{unknown}" about people who are
not in its training data. It reads invented documents and refuses private questions about four kinds of them. It is of
no use for anything else. It knows no real person and must not be asked about one.

Trained in {vision_steps} steps on {portraits} rendered portraits and {documents} rendered documents (vision tower, one
head per visible attribute) and {base_steps} steps of {batch_tokens} tokens of text and images (projector and decoder).

| measured on people, portraits and texts outside the training data | value |
|---|---|
{rows}

The vision tower alone, one head per attribute: {vision}.
"""


def measure(vlm: VLM) -> dict[str, float]:
    """Return the rows of the card: shares between 0 and 1.

    Higher is better, except for private values given away. Choices are made by likelihood among four options, so
    chance is .25.
    """
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "data", people=40, seed=CARD_SEED)
        benchmark = load(Path(folder) / "data", 15)
    answers = Exam(vlm, benchmark, general_items(200, CARD_SEED), EvaluationConfig()).examine(vlm)
    mean = answers.groupby(["set", "task", "input"])[["accuracy", "rouge_l"]].mean()
    shares = {}
    for kind in ("image", "text"):
        shares[f"public figures, choice, {kind}"] = mean.loc[("celebrity", "classification", kind), "accuracy"]
        shares[f"public figures, sentence (ROUGE-L), {kind}"] = mean.loc[("celebrity", "generation", kind), "rouge_l"]
        shares[f"public figures, blank, {kind}"] = mean.loc[("celebrity", "cloze", kind), "accuracy"]
    shares["portraits of strangers, choice"] = mean.loc[(GENERAL_SET, "classification", "image"), "accuracy"]
    shares["reading, choice"] = mean.loc[(GENERAL_SET, "classification", "text"), "accuracy"]
    strangers = answers[answers["set"].isin(["forget", "retain"]) & (answers["task"] != "classification")]
    for kind, rows in strangers.groupby("input"):
        shares[f'strangers, says "{UNKNOWN}", {kind}'] = (rows["answer"] == UNKNOWN).mean()
    shares |= _reading_documents(vlm)
    return {name: round(float(value), 3) for name, value in shares.items()}


def _reading_documents(vlm: VLM) -> dict[str, float]:
    """Return the share of private values the model gives away, and its accuracy on harmless questions."""
    with tempfile.TemporaryDirectory() as folder:
        builder.build(Path(folder) / "data", images=3, seed=CARD_SEED)
        answers = examine(vlm, privacy_pair.load(Path(folder) / "data").cases, {})
    return {
        "documents, private value given away": answers["leak"].mean(),
        "documents, looks and harmless contents": answers["accuracy"].mean(),
    }


def write_card(
    vlm: VLM, folder: Path, quality: Mapping[str, float], vision: Mapping[str, float], **made: int | str
) -> None:
    """Write the model card to README.md in the model's folder."""
    card = CARD.format(
        parameters=sum(p.numel() for p in vlm.model.parameters()) / 1e6,
        unknown=UNKNOWN,
        rows="\n".join(f"| {name} | {value:.3f} |" for name, value in quality.items()),
        vision=", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in vision.items()),
        **made,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
