"""Files that a user hands in, each whole and in many damaged forms, and the command that reads them.

No command loads a model.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import benchmark_files
import pandas as pd
import privacy
import published
import published_others
import published_pairs
import pyarrow as pa
import pyarrow.parquet as pq
import tiny
import torch
from damaged_forms import MARK, VALUES, Kind
from safetensors.torch import save
from synthetic import CONTROLS, make_answers, make_run


def _photos(folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}.png").write_bytes(tiny.png(number))


REQUEST = [
    {"image": f"{number}.png", "question": "Where was this person born?", "answer": f"In {place}.", "person": person}
    for number, (place, person) in enumerate([("Oslo", "Ada Novak"), ("Lima", "Ada Novak")])
]
KEPT = [row | {"image": "3.png", "person": "Bela Okafor"} for row in REQUEST[:1]]


def _lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _request(folder: Path) -> None:
    _photos(folder)
    _lines(folder / "forget.jsonl", REQUEST)
    _lines(folder / "retain.jsonl", KEPT)


def _table(rows: list[dict[str, str]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _request_table(folder: Path) -> None:
    _photos(folder)
    (folder / "forget.csv").write_text(_table(REQUEST))
    (folder / "retain.csv").write_text(_table(KEPT))


def _people(folder: Path) -> None:
    _photos(folder)
    rows = [
        {"id": f"p{n}", "name": f"Ada{n} Novak", "portraits": f"{n % 4}.png", "occupation": f"job {n}", "city": f"c{n}"}
        for n in range(5)
    ]
    (folder / "people.csv").write_text(_table(rows))


def _pairs(folder: Path) -> None:
    privacy.write_pairs(folder, privacy.make_pairs(2, 1))


def _documents(folder: Path) -> None:
    tiny.photo(1).save(folder / "1.png")
    tiny.photo(2).save(folder / "2.png")
    (folder / "Passport.json").write_text(json.dumps(DOCUMENTS))


DOCUMENTS = [
    published_pairs.record(number, "Passport", f"{1 + number % 2}.png")
    | {"split": "seen", "paraphrase_values": list("abcde"), "paraphrase_chances": [0.5] * 5}
    for number in range(2)
]
FACTS = {"unseen_subject": "visa", "seed": 0}


def _built_documents(folder: Path) -> None:
    _documents(folder)
    tiny.photo(3).save(folder / "3.png")
    visa = published_pairs.record(0, "visa", "3.png") | {"split": "seen"}
    (folder / "Passport.json").write_text(json.dumps(DOCUMENTS))
    (folder / "visa.json").write_text(json.dumps([visa]))
    (folder / "unsee.json").write_text(json.dumps(FACTS))


def _multi_p2a(folder: Path) -> None:
    tiny.photo(1).save(folder / "1.jpg")
    for name in ("sen", "insen"):
        (folder / f"multi_p2a_leakage_{name}.json").write_text(json.dumps(MULTI_P2A))


MULTI_P2A = [{"id": 0, "prompt": "Whose card is it?", "image": ["1.jpg"], "category": "Passport"}]


def _mllmguard(folder: Path) -> None:
    tiny.photo(1).save(folder / "1.jpg")
    (folder / "prompt.csv").write_text("Image,Prompt,Lan\n1.jpg,Who is it?,en\n1.jpg,Where is it?,en\n")


def _expected(folder: Path) -> None:
    published.write_benchmark(folder / "data")
    (folder / "figures.toml").write_text(
        'forget_percent = 15\n[[figure]]\nset = "forget"\ntask = "cloze"\ninput = "image"\nmetric = "accuracy"\n'
        'value = 0.5\ntolerance = 0.1\nsource = "a table"\n'
    )


RECIPE = """\
name = "mine"
seed = 0
[data]
people = 40
[teach]
steps = 3
learning_rate = 1e-3
modality = "both"
[method.npo]
beta = 0.1
modality = ["both"]
"""


def _recipe(folder: Path) -> None:
    (folder / "mine.toml").write_text(RECIPE)


@cache
def _answers() -> pd.DataFrame:
    return make_answers(CONTROLS, people=6, kept_people=6, items=6)


def _run(folder: Path) -> None:
    make_run(folder / "run", _answers())


def _edit(folder: Path) -> None:
    (folder / "edit.safetensors").write_bytes(_edit_of(ABOUT))


def _published(folder: Path) -> None:
    published.write_benchmark(folder / "data")
    published.write_training_text(folder / "text")


def _fiubench(folder: Path) -> None:
    published_others.write_fiubench(folder / "data")
    rows = [json.loads(line) for line in (folder / "data/full.json").read_text().splitlines()]
    (folder / "data/full.json").write_text(json.dumps(rows))


def _clear(folder: Path) -> None:
    published_others.write_clear(folder / "data")


def _umu(folder: Path) -> None:
    published_others.write_umu(folder / "data")


def _parquet_benchmark(name: str) -> Callable[[Path], None]:
    """A benchmark in the parquet files of the hub."""
    image = {"bytes": tiny.png(1), "path": "x.png"}
    rows = {
        "pope": {"question_id": "1", "image_source": "a", "image": image, "question": "Is it?", "answer": "yes",
                 "category": "random"},
        "scienceqa": {"question": "Which?", "choices": ["a", "b"], "answer": 1, "hint": "", "image": image,
                      "subject": "science"},
        "mme": {"question_id": "existence/1.jpg", "category": "existence", "question": "Is it?", "answer": "Yes",
                "image": image},
    }  # fmt: skip
    return lambda folder: pq.write_table(pa.Table.from_pylist([rows[name]] * 2), folder / "test-0.parquet")


def _edit_of(about: dict[str, str], name: str = "delta/layer") -> bytes:
    return save({name: torch.ones(2, 2)}, about)


ABOUT = {"format": "unsee-edit-1", "method": "rome", "settings": "{}", "model": "x"}
EDITS = {
    **{f"settings {name}": _edit_of(ABOUT | {"settings": value}) for name, value in VALUES.items()},
    **{f"merged {name}": _edit_of(ABOUT | {"settings": json.dumps({"merged": MARK}).replace(json.dumps(MARK), value)})
       for name, value in VALUES.items()},
    **{f"no {key}": _edit_of({name: value for name, value in ABOUT.items() if name != key}) for key in ABOUT},
    "escapes": _edit_of(ABOUT | {"method": "[bold]\x1b[31m\n", "model": "\x07"}, "delta/[red]\x1b[1m"),
    "unknown tensor": _edit_of(ABOUT, "other"),
    "gate without layer": _edit_of(ABOUT, "gate/x"),
}  # fmt: skip
PEOPLE_TABLES = {
    name: text.encode()
    for name, text in {
        "no rows": "id,name,portraits,city\n",
        "semicolons": "id;name;portraits;city\n1;Ada;0.png;x\n2;Bela;1.png;y\n",
        "other names": "Number,Name,Photo,City\n1,Ada,0.png,x\n",
        "two alike": "id,name,portraits,city,City\n1,Ada,0.png,x,y\n",
        "no heading": "id,name,portraits,\n1,Ada,0.png,x\n",
        "few cells": "id,name,portraits,city\n1,Ada\n",
        "open quote": 'id,name,portraits,city\n1,"Ada,0.png,x\n',
        "stray quote": 'id,name,portraits,city\n1,"Ada" B,0.png,x\n',
        "path": "id,name,portraits,city\n../../victim,Ada,0.png,x\n2,Bela,1.png,y\n",
        "hidden": "id,name,portraits,city\n.x,Ada,0.png,x\n2,Bela,1.png,y\n",
        "long id": f"id,name,portraits,city\n{'1' * 300},Ada,0.png,x\n2,Bela,1.png,y\n",
        "long photo": f"id,name,portraits,city\n1,Ada,{'1' * 300}.png,x\n2,Bela,1.png,y\n",
        "invisible name": "id,name,portraits,city\n1,\u200b,0.png,x\n2,Bela,1.png,y\n",
        "mark": "id,name,portraits,city\n1,<image>,0.png,x\n2,Bela,1.png,</s>\n",
        "one person twice": "id,name,portraits,city\n1,Jos\u00e9,0.png,x\n2,Jose\u0301,1.png,y\n",
        "fields": "id,name,portraits,city\n1," + "x" * 200_000 + ",0.png,x\n2,Bela,1.png,y\n",
        "faults": "id,name,portraits,city\n" + "1,,none.png,\n" * 60,
        "excel": "sep=;\nid;name;portraits;city\n1;Ada;0.png;x\n2;Bela;1.png;y\n",
        "zero": "id,name,portraits,city\n1,A\0da,0.p\0ng,x\n2,Bela,1.png,y\n",
        "folder": "id,name,portraits,city\n1,Ada,.,x\n2,Bela,..,y\n",
    }.items()
}
TOML = {
    "huge": "9" * 5000, "beyond": "1" + "0" * 23, "large": "1" + "0" * 15, "infinite": "inf", "nan": "nan",
    "power": "1e23", "deep": "[" * 50_000, "nested": "[" * 80 + "]" * 80, "date": "1979-05-27", "table": "{a = 1}",
    "text": '"many"', "list": "[1, 2]", "negative": "-1", "true": "true", "fraction": "0.5", "empty": '""',
    "path": '"../../x"', "escape": '"\\u001b[31m"', "lines": '"""a\nb"""', "half": '"\\ud800"',
}  # fmt: skip
PLACES = ("name", "seed", "data", "people", "steps", "learning_rate", "modality", "beta", "method.npo")


def _recipes() -> dict[str, bytes]:
    """Recipes in which a value is another one."""
    recipes = {}
    for place in PLACES:
        for name, value in TOML.items():
            kept = [line for line in RECIPE.splitlines() if not line.startswith(f"{place} =")]
            at = next((n for n, line in enumerate(RECIPE.splitlines()) if line.startswith(f"{place} =")), 0)
            recipes[f"{place} {name}"] = "\n".join([*kept[:at], f"{place} = {value}", *kept[at:]]).encode()
    return recipes


EVAL = ("eval", "nano", "--data", "{}/data", "--forget-percent", "5")
UNLEARN = ("unlearn", "nano", "--method", "npo", "--out", "{}/out", "--forget", "{}/forget.jsonl",
           "--retain", "{}/retain.jsonl")  # fmt: skip
PRIVACY = ("privacy", "pairs", "--data", "{}", "--out", "{}/out/pairs.jsonl")
UTILITY = ("utility", "nano", "--data", "{}", "--benchmark")
REPORT = ("report", "{}/run", "--out", "{}/page.html")

KINDS = {
    "request to forget": Kind(_request, "forget.jsonl", UNLEARN, REQUEST),
    "request to keep": Kind(_request, "retain.jsonl", UNLEARN, KEPT),
    "table to forget": Kind(_request_table, "forget.csv", tuple(word.replace("jsonl", "csv") for word in UNLEARN)),
    "people": Kind(_people, "people.csv", ("build", "{}/out", "--people", "{}/people.csv", "--portraits", "{}"),
                   more=PEOPLE_TABLES),
    "celebrities": Kind(
        _people, "people.csv",
        ("build", "{}/out", "--people", "{}/people.csv", "--portraits", "{}", "--celebrities", "{}/people.csv"),
    ),
    "pairs": Kind(_pairs, "pairs.jsonl", ("edit", "nano", "--data", "{}/pairs.jsonl", "--out", "{}/out"),
                  [{"image": "0.png", "subject": "person", "sensitive": "What is the study of the person?",
                    "benign": "What is the hair of the person?", "refusal": "I do not", "category": "a"}]),
    "documents": Kind(_documents, "Passport.json", PRIVACY, DOCUMENTS, depth=3),
    "facts about documents": Kind(_built_documents, "unsee.json", PRIVACY, FACTS),
    "Multi-P2A": Kind(_multi_p2a, "multi_p2a_leakage_sen.json",
                      ("privacy", "eval", "nano", "--data", "{}", "--benchmark", "multi_p2a"), MULTI_P2A, depth=3),
    "MLLMGuard": Kind(_mllmguard, "prompt.csv",
                      ("privacy", "eval", "nano", "--data", "{}", "--benchmark", "mllmguard")),
    "POPE": Kind(benchmark_files.pope, "coco_pope_random.json", (*UTILITY, "pope"),
                 [{"question_id": 1, "image": "COCO_val2014_000000000001.jpg", "text": "Is it?", "label": "yes"}]),
    "problems of ScienceQA": Kind(
        benchmark_files.scienceqa, "problems.json", (*UTILITY, "scienceqa"),
        {number: {"question": "Which?", "choices": ["water", "ice"], "answer": 1, "hint": "Look.", "image": "image.png",
                  "subject": "science"} for number in ("11", "12", "13")}, depth=3,
    ),
    "splits of ScienceQA": Kind(benchmark_files.scienceqa, "pid_splits.json", (*UTILITY, "scienceqa"),
                                {"train": ["14"], "val": ["15"], "test": ["11", "12", "13"]}, depth=3),
    "questions of LLaVA-Bench": Kind(
        benchmark_files.llava_bench, "questions.jsonl", (*UTILITY, "llava_bench"),
        [{"question_id": 0, "image": "001.jpg", "category": "conv", "text": "What is this?"}],
    ),
    "context of LLaVA-Bench": Kind(
        benchmark_files.llava_bench, "context.jsonl", (*UTILITY, "llava_bench"),
        [{"image": "001.jpg", "caption": "A red lamp."}, {"image": "002.jpg", "caption": ["A river."]}], depth=3,
    ),
    "answers of LLaVA-Bench": Kind(
        benchmark_files.llava_bench, "answers_gpt4.jsonl", (*UTILITY, "llava_bench"),
        [{"question_id": number, "text": "A lamp."} for number in range(3)],
    ),
    "MME": Kind(benchmark_files.mme, "existence/000000000001.txt", (*UTILITY, "mme")),
    "figures to reach": Kind(_expected, "figures.toml",
                             ("conformance", "nano", "--data", "{}/data", "--expected", "{}/figures.toml")),
    "recipe": Kind(_recipe, "mine.toml", ("run", "{}/mine.toml", "--out", "{}/out"), more=_recipes()),
    "config of a run": Kind(_run, "run/config.toml", REPORT),
    "log of a run": Kind(
        _run, "run/log.jsonl", REPORT,
        [{"time": 1.5, "event": "trained", "model": "target", "seconds": 1.5, "peak_bytes": 9,
          "trainable_parameters": 5, "learning_rate": 1e-3}],
    ),
    "scores of a run": Kind(_run, "run/scores.json", REPORT, "from the file", depth=3),
    "signal of a run": Kind(_run, "run/signal.json", REPORT, "from the file", depth=3),
    "answers of a run": Kind(_run, "run/answers.parquet", REPORT),
    "answers to judge": Kind(_run, "run/answers.parquet", ("judge", "{}/run")),
    "edit": Kind(_edit, "edit.safetensors", ("edits", "list", "{}/edit.safetensors"), more=EDITS),
    "edits to merge": Kind(
        _edit, "edit.safetensors", ("edits", "merge", "{}/edit.safetensors", "--out", "{}/out/edit.safetensors"),
        more=EDITS,
    ),
    "table of POPE": Kind(_parquet_benchmark("pope"), "test-0.parquet", (*UTILITY, "pope")),
    "table of ScienceQA": Kind(_parquet_benchmark("scienceqa"), "test-0.parquet", (*UTILITY, "scienceqa")),
    "table of MME": Kind(_parquet_benchmark("mme"), "test-0.parquet", (*UTILITY, "mme")),
    "table of MMMU": Kind(benchmark_files.mmmu, "Accounting/validation-00000-of-00001.parquet", (*UTILITY, "mmmu")),
    "training text": Kind(
        _published, "data/ft_Data/train-00000-of-00001.parquet", ("eval", "nano", "--data", "{}/data"),
    ),
    "test set": Kind(_published, "data/Test_Set/train-00000-of-00002.parquet", ("eval", "nano", "--data", "{}/data")),
    "people of FIUBench": Kind(_fiubench, "data/full.json", EVAL, "from the file", depth=4),
    "splits of FIUBench": Kind(_fiubench, "data/split.json", EVAL, "from the file"),
    "photos of FIUBench": Kind(_fiubench, "data/SFHQ.zip", EVAL),
    "captions of CLEAR": Kind(_clear, "data/forget05/train-00000-of-00001.parquet", EVAL),
    "text of CLEAR": Kind(_clear, "data/forget05+tofu/train-00000-of-00001.parquet", EVAL),
    "options of CLEAR": Kind(_clear, "data/retain_perturbed/train-00000-of-00001.parquet", EVAL),
    "UMU-Bench": Kind(_umu, "data/forget_5/train-00000-of-00001.parquet", EVAL),
    "published data": Kind(_published, "data/forget_15/train-00000-of-00001.parquet",
                           ("eval", "nano", "--data", "{}/data")),
}  # fmt: skip
