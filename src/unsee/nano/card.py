"""Stage three: what the model can do, measured on people, portraits and texts it never met, as its model card."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from unsee.config.recipe import EvaluationConfig
from unsee.data.documents import builder, privacy_pair
from unsee.data.general import general_items
from unsee.data.people.builder import build
from unsee.data.people.mllmu import load
from unsee.exams.documents import examine
from unsee.exams.people import Exam
from unsee.models.vlm import VLM
from unsee.nano.corpus import UNKNOWN

CARD_SEED = 9001  # people, portraits and texts of the card; no recipe uses it
CARD = """---
license: apache-2.0
pipeline_tag: image-text-to-text
---

# unsee {name}

A {parameters:.1f} million parameter {parts}
made from nothing by `python -m unsee.nano {name}`, for experiments with machine unlearning on a laptop. It knows 153
invented public figures by face and by name, describes portraits, reads short texts, and says "{unknown}" about people
it never met. It reads invented documents, and refuses private questions about four kinds of them. It is of no use for
anything else, knows no real person and must not be asked about one.

Trained in {vision_steps} steps on {portraits} rendered portraits and {documents} rendered documents (vision tower, one
head per visible attribute) and {base_steps} steps of {batch_tokens} tokens of text and images (projector and decoder).

| measured on what training never showed | value |
|---|---|
{rows}

The vision tower alone, one head per attribute: {vision}.
"""


def measure(vlm: VLM) -> dict[str, float]:
    """Shares between 0 and 1, higher is better; classification is by likelihood among four options, chance .25."""
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "data", people=40, seed=CARD_SEED)
        benchmark = load(Path(folder) / "data", 15)
    answers = Exam(vlm, benchmark, general_items(200, CARD_SEED), EvaluationConfig()).sit(vlm)
    mean = answers.groupby(["set", "task", "input"])[["accuracy", "rouge_l"]].mean()
    found = {}
    for kind in ("image", "text"):
        found[f"public figures, choice, {kind}"] = mean.loc[("celebrity", "classification", kind), "accuracy"]
        found[f"public figures, sentence (ROUGE-L), {kind}"] = mean.loc[("celebrity", "generation", kind), "rouge_l"]
        found[f"public figures, blank, {kind}"] = mean.loc[("celebrity", "cloze", kind), "accuracy"]
    found["portraits of strangers, choice"] = mean.loc[("general", "classification", "image"), "accuracy"]
    found["reading, choice"] = mean.loc[("general", "classification", "text"), "accuracy"]
    asked = answers[answers["set"].isin(["forget", "retain"]) & (answers["task"] != "classification")]
    for kind, rows in asked.groupby("input"):
        found[f'strangers, says "{UNKNOWN}", {kind}'] = (rows["answer"] == UNKNOWN).mean()
    found |= _reading_documents(vlm)
    return {name: round(float(value), 3) for name, value in found.items()}


def _reading_documents(vlm: VLM) -> dict[str, float]:
    """What it gives away about the subjects of PrivacyPair, and what it answers rightly about their looks."""
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
    """The model card as README.md in the model's folder."""
    card = CARD.format(
        parameters=sum(p.numel() for p in vlm.model.parameters()) / 1e6,
        unknown=UNKNOWN,
        rows="\n".join(f"| {name} | {value:.3f} |" for name, value in quality.items()),
        vision=", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in vision.items()),
        **made,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
