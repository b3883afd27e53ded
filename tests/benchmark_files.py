"""A few items of every benchmark, written in the benchmark's own format."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import tiny


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def photo(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    tiny.photo(shade).save(path)


def pope(folder: Path) -> Path:
    """Two photos, in two categories; six questions."""
    for shade in (1, 2):
        photo(folder / "val2014" / f"COCO_val2014_{shade:012}.jpg", shade)
    labels = {"random": ["yes", "no", "yes", "no"], "adversarial": ["yes", "no"]}
    for category, truths in labels.items():
        rows = [
            {"question_id": number, "image": f"COCO_val2014_{1 + number % 2:012}.jpg",
             "text": f"Is there a thing {number} in the image?", "label": truth}
            for number, truth in enumerate(truths)
        ]  # fmt: skip
        lines(folder / f"coco_pope_{category}.json", rows)
    return folder


def mme(folder: Path) -> Path:
    """Images beside their texts, and apart from them."""
    for number in (1, 2):
        photo(folder / "existence" / f"{number:012}.jpg", number)
        (folder / "existence" / f"{number:012}.txt").write_text(
            "Is there a cat in this image? Please answer yes or no.\tYes\n"
            "Is there a dog in this image? Please answer yes or no.\tNo\n"
        )
    photo(folder / "code_reasoning" / "images" / "0001.png", 3)
    texts = folder / "code_reasoning" / "questions_answers_YN"
    texts.mkdir()
    (texts / "0001.txt").write_text("Does it print 1? Please answer yes or no.\tNo\nDoes it print 2?\tYes\n\n")
    return folder


def scienceqa(folder: Path) -> Path:
    """Three of five problems are in the test split, two of them with an image."""
    problem = {"question": "Which is a solid?", "choices": ["water", "ice"], "answer": 1, "hint": "Look.",
               "image": "image.png", "subject": "natural science"}  # fmt: skip
    problems = {
        "11": problem,
        "12": problem | {"hint": "", "choices": ["a", "b", "c"], "answer": 0, "subject": "social science"},
        "13": problem | {"image": None},
        "14": problem,
        "15": problem,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "problems.json").write_text(json.dumps(problems))
    (folder / "pid_splits.json").write_text(json.dumps({"train": ["14"], "val": ["15"], "test": ["11", "12", "13"]}))
    for identity in ("11", "12"):
        photo(folder / "images" / "test" / identity / "image.png", int(identity))
    return folder


def mmmu(folder: Path) -> Path:
    """A choice with an image among its options, a choice, and two open questions."""
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    texts = ("id", "question", "options", "explanation", "answer", "question_type", "subfield")
    schema = pa.schema({name: pa.string() for name in texts} | {f"image_{n}": image for n in range(1, 8)})

    def row(identity, question, options, answer, kind="multiple-choice", shades=(1,)):
        shown = {f"image_{n}": {"bytes": tiny.png(shade), "path": "x.png"} for n, shade in enumerate(shades, start=1)}
        return dict.fromkeys(schema.names, None) | shown | {
            "id": f"validation_{identity}", "question": question, "options": options, "answer": answer,
            "question_type": kind, "explanation": "", "subfield": "",
        }  # fmt: skip

    tables = {
        "Accounting": [
            row("Accounting_1", "<image 1> What is the profit?", "['$6', '$7', '$8']", "B"),
            row("Accounting_2", "<image 1> How much?", "[]", "1,234.5", "open"),
        ],
        "Art_Theory": [
            row("Art_Theory_1", "Which picture goes with <image 1>?", "['<image 2>', 'none, \\'really\\'']", "A",
                shades=(1, 2)),
            row("Art_Theory_2", "Who painted <image 1>?", "[]", "['van Gogh', 'Vincent']", "open"),
        ],
    }  # fmt: skip
    for subject, rows in tables.items():
        (folder / subject).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / subject / "validation-00000-of-00001.parquet")
    return folder


def llava_bench(folder: Path) -> Path:
    """Three questions about two images."""
    asked = [("001.jpg", "conv", "What is this?"), ("001.jpg", "detail", "Describe it."),
             ("002.jpg", "complex", "Why is it so?")]  # fmt: skip
    lines(folder / "questions.jsonl", [
        {"question_id": n, "image": image, "category": category, "text": text}
        for n, (image, category, text) in enumerate(asked)
    ])  # fmt: skip
    lines(folder / "context.jsonl", [
        {"id": "1", "image": "001.jpg", "caption": "A red lamp."},
        {"id": "2", "image": "002.jpg", "caption": ["A river.", "A bridge."]},
    ])  # fmt: skip
    lines(folder / "answers_gpt4.jsonl", [
        {"question_id": n, "text": text, "answer_id": f"a{n}", "model_id": "gpt-4"}
        for n, text in enumerate(["A lamp.", "A red lamp on a table.", "Because of the river."])
    ])  # fmt: skip
    for shade, name in enumerate(("001.jpg", "002.jpg")):
        photo(folder / "images" / name, shade)
    return folder


WRITERS = {"pope": pope, "mme": mme, "scienceqa": scienceqa, "mmmu": mmmu, "llava_bench": llava_bench}
