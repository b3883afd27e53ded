"""A plug-in of each kind, from another distribution: used from the command line up to the report, with no other edit.

The distribution is a folder with the modules of `tests/plugin` and the metadata that an installation writes. It lists
a second leaf of each kind whose module cannot be imported: that leaf alone breaks, in one sentence.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from integration.command import unsee
from transformers import CLIPVisionConfig, CLIPVisionModel

from unsee.core.record import Record
from unsee.models.vlm import VLM
from unsee.nano.language import make_llava, make_processor, train_tokenizer
from unsee.scoring.schema import Scores

PLUGIN = Path(__file__).parents[1] / "plugin"
TOWNS = ("Lima", "Oslo", "Cairo", "Perth")
LEAVES = {
    "methods": "method:ExtraMethod",
    "attacks": "attack:ExtraAttack",
    "datasets": "dataset:ExtraDataset",
    "metrics": "metric:ExtraMetric",
    "judges": "judge:ExtraJudge",
    "refusals": "refusal:ExtraRefusal",
    "utility": "utility:ExtraUtility",
    "privacy": "privacy:ExtraPrivacy",
    "models": "family:ExtraFamily",
}
"""Entry-point group, without "unsee.", to module and class."""
BROKEN = "cannot be imported: ModuleNotFoundError: No module named 'a_library_that_nobody_has' (broken.py, line 3)"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("plugins")


@pytest.fixture(scope="module")
def site(place) -> Path:
    """The folder that holds the distribution."""
    folder = place / "site"
    shutil.copytree(PLUGIN, folder / "unsee_extra", ignore=shutil.ignore_patterns("__pycache__"))
    metadata = folder / "unsee_extra-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: unsee-extra\nVersion: 1.0\nSummary: More.\n")
    groups = [
        f"[unsee.{group}]\n{name_of(value)} = unsee_extra.{value}\nbroken = unsee_extra.broken:Broken\n"
        for group, value in LEAVES.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(groups))
    return folder


def name_of(value: str) -> str:
    return f"extra_{value.partition(':')[0]}"


@pytest.fixture(scope="module")
def model(place) -> Path:
    """A tiny model of the plugged-in family, whose tokenizer reads whole words of the data."""
    import torch

    torch.manual_seed(0)
    names = [f"{name} lives in {town}. Where does {name} live?" for name in NAMES for town in TOWNS]
    tokenizer = train_tokenizer([*names, *tiny.QUESTIONS, *tiny.ANSWERS, "this person"])
    sight = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    tower = CLIPVisionModel(CLIPVisionConfig(**sight, image_size=64, patch_size=8))
    VLM(make_llava(tower, tokenizer, width=48, layers=1).eval(), make_processor(tokenizer), "tiny").save(
        place / "model"
    )
    path = place / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "extra_family"}))
    return place / "model"


NAMES = [f"{first} {last}" for last in ("Berg", "Novak", "Okafor") for first in ("Ada", "Bela", "Cleo", "Dora", "Emil")]


@pytest.fixture(scope="module")
def people(place) -> Path:
    """Five people to forget, five to retain, five celebrities, in the plugged-in format."""
    folder = place / "people"
    folder.mkdir()
    rows = [
        {"id": f"{number:03}", "name": name, "town": TOWNS[number % len(TOWNS)]} for number, name in enumerate(NAMES)
    ]
    sets = {"forget": rows[:5], "retain": rows[5:10], "celebrity": rows[10:]}
    (folder / "people.json").write_text(json.dumps(sets))
    for number, row in enumerate(rows):
        (folder / f"{row['id']}.png").write_bytes(tiny.png(number))
    return folder


@pytest.fixture(scope="module")
def pictures(place) -> Path:
    """Pictures of two subjects in every split, in the plugged-in format."""
    folder = place / "pictures"
    folder.mkdir()
    splits = ("seen", "unseen_images", "unseen_attributes", "unseen_templates", "unseen_subjects", "harmless")
    rows = [
        {"id": f"{subject}/{split}", "split": split, "subject": subject, "value": f"{number}7", "colour": "brown",
         "image": f"{subject}-{split}.png"}
        for number, (split, subject) in enumerate((split, subject) for split in splits for subject in ("card", "pass"))
    ]  # fmt: skip
    (folder / "cases.json").write_text(json.dumps(rows))
    for number, row in enumerate(rows):
        (folder / row["image"]).write_bytes(tiny.png(number))
    return folder


@pytest.fixture(scope="module")
def command(place, site):
    """Runs `unsee` where the distribution is installed; whatever it says on stderr is about the broken leaves."""
    return lambda *words: unsee(words, place / "cache", plugins=site)


@pytest.fixture(scope="module")
def run_about_people(place, command, model, people):
    recipe = place / "people.toml"
    recipe.write_text(f"""
name = "plugged in"
kind = "people"
require_signal = false
data = {{ source = "{people}", format = "extra_dataset" }}
model = {{ id = "{model}" }}
teach = {{ replay = 0, steps = 40, batch_tokens = 500, learning_rate = 0.01, turns = 5 }}
unlearn = {{ batch_tokens = 600 }}
evaluation = {{ general_items = 4, max_new_tokens = 4, bootstrap = 100 }}
metric.extra_metric.longest = 4

[method.extra_method]
modality = ["both"]
share = 0.2

[attack.extra_attack]
word = "Kindly."
""")
    return place / "run", command("run", recipe, "--out", place / "run")


@pytest.fixture(scope="module")
def run_about_documents(place, command, model, pictures):
    recipe = place / "documents.toml"
    recipe.write_text(f"""
name = "plugged in"
kind = "documents"
privacy = {{ source = "{pictures}", format = "extra_privacy" }}
model = {{ id = "{model}" }}
unlearn = {{ batch_tokens = 600 }}
evaluation = {{ general_items = 4, max_new_tokens = 2, bootstrap = 100 }}
method.extra_method.steps = 1
""")
    return place / "documents", command("run", recipe, "--out", place / "documents")


def test_python_finds_them_where_the_folder_is_on_its_path(site):
    environment = os.environ | {"PYTHONPATH": str(site)}
    words = [sys.executable, "-m", "unsee", "list", "methods"]
    out = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    assert "extra_method" in out


@pytest.mark.parametrize("kind", LEAVES)
def test_the_list_shows_the_plug_in_with_its_own_summary_paper_and_distribution(command, kind):
    listed = {line.split()[0]: line for line in command("list", kind).out.splitlines()}
    (line,) = (line for name, line in listed.items() if name.startswith("extra_"))
    assert line.split()[0] == name_of(LEAVES[kind])
    assert line.endswith("[unsee-extra]") and "(arXiv:0000.0000" in line
    assert "broken" in listed


def test_dataset_method_attack_metric_and_family_reach_the_report_of_a_run_about_people(run_about_people):
    folder, finished = run_about_people
    assert finished.code == 0, finished.err
    assert any(row.strip().startswith("Extra method") for row in finished.out.splitlines())
    record = Record.open(folder)
    scores = Scores.load(folder, "scores.json")
    assert "extra_method" in {method.method for method in scores.methods}
    assert {cell.method for cell in scores.cells if cell.metric == "extra_metric"} == {
        method.method for method in scores.methods
    }
    assert scores.better["extra_metric"] == "lower"
    both = {cell.metric for cell in scores.cells if cell.input == "both"}
    assert both == {"acc_f", "acc_r", "rl_f", "rl_r"}
    assert record.read_table("answers.parquet")["extra_metric"].notna().any()
    attacked = record.read_table("attacks.parquet")
    assert {*attacked["method"]} == {"do_nothing", "oracle", "oracle_2", "extra_method"}
    assert attacked["question"].str.startswith("Kindly. ").all() and attacked["extra_metric"].notna().any()
    page = record.read_text("report.html")
    assert "Extra method" in page and "extra_metric" in page


def test_a_judge_gives_its_verdicts_to_the_report(run_about_people, command):
    folder, _ = run_about_people
    finished = command("judge", folder, "--judge", "extra_judge", "--set", "worst=2")
    assert finished.code == 0, finished.err
    assert "Judge: extra judge, worst 2" in (folder / "report.html").read_text()
    assert "forget" in finished.out


def test_privacy_benchmark_refusal_judge_method_and_family_reach_the_report_of_a_run_about_documents(
    run_about_documents,
):
    folder, finished = run_about_documents
    assert finished.code in (0, 3), finished.err
    scores = Scores.load(folder, "scores.json")
    assert "extra_method" in {method.method for method in scores.methods}
    assert "extra_refusal" in {cell.judge for cell in scores.cells}
    page = (folder / "report.html").read_text()
    assert "Extra method" in page and "extra_refusal" in page


@pytest.mark.usefixtures("run_about_documents")
def test_what_a_format_cannot_do_is_one_sentence(command, place, model, people, pictures):
    for change, sentence in {
        "privacy.unseen_subject=card": f"{pictures}: data of this format have no unseen subject 'card'; leave",
        "privacy.format=extra_privcy": "privacy benchmark: unknown name 'extra_privcy'; did you mean 'extra_privacy'?",
        "privacy.source=generated": "privacy: format = 'extra_privacy' belongs to a source",
    }.items():
        refused = command("run", place / "documents.toml", "--set", change, "--out", place / "refused")
        assert refused.code == 2
        assert refused.err.splitlines()[-1].startswith(f"unsee: {sentence}")
    refused = command("eval", model, "--data", people, "--format", "extra_datset")
    assert "dataset: unknown name 'extra_datset'; did you mean 'extra_dataset'?" in refused.err


def test_one_model_is_asked_about_each_kind_of_data(command, model, people, pictures):
    asked = command("eval", model, "--data", people, "--format", "extra_dataset")
    assert asked.code == 0, asked.err
    assert "extra_metric" in asked.out and "data: licence: as you like" in asked.err
    found = command("eval", model, "--data", people)
    assert (found.code, found.out) == (0, asked.out), found.err
    asked = command("privacy", "eval", model, "--data", pictures, "--benchmark", "extra_privacy")
    assert asked.code == 0, asked.err
    assert "extra_refusal" in asked.out


def test_a_utility_benchmark_gives_its_numbers(command, model, tmp_path):
    (tmp_path / "photo.png").write_bytes(tiny.png())
    (tmp_path / "items.json").write_text(json.dumps([["What is it?", "lamp"], ["Is it red?", "yes"]]))
    finished = command("utility", model, "--benchmark", "extra_utility", "--data", tmp_path, "--out", tmp_path / "out")
    assert finished.code == 0, finished.err
    assert "contained" in finished.out
    numbers = json.loads((tmp_path / "out" / "utility-extra_utility.json").read_text())
    assert [metric["name"] for metric in numbers["metrics"]] == ["contained"]
    finished = command("utility", model, "--benchmark", "extra_utility")
    assert finished.err == "unsee: --data: extra_utility is not on the hub; give the folder of its files\n"


def test_a_leaf_that_cannot_be_imported_is_named_in_one_sentence_and_breaks_nothing_else(
    command, place, model, people, pictures, run_about_people
):
    folder, finished = run_about_people
    model_of_broken = shutil.copytree(model, place / "broken")
    config = model_of_broken / "config.json"
    config.write_text(config.read_text().replace("extra_family", "broken"))
    recipe = f"name = 'broken'\nkind = 'people'\ndata.source = '{people}'\ndata.format = 'extra_dataset'\n"
    (place / "broken.toml").write_text(f"{recipe}method.broken = {{}}\nmodel.id = '{model}'\nteach.replay = 0\n")
    for kind, words in {
        "method": ("run", place / "broken.toml", "--out", place / "broken-run"),
        "attack": ("attack", folder, "--attack", "broken"),
        "dataset": ("eval", model, "--data", people, "--format", "broken"),
        "judge": ("judge", folder, "--judge", "broken"),
        "utility benchmark": ("utility", model, "--benchmark", "broken", "--data", place),
        "privacy benchmark": ("privacy", "eval", model, "--data", pictures, "--benchmark", "broken"),
        "model family": ("eval", model_of_broken, "--data", people, "--format", "extra_dataset"),
    }.items():
        refused = command(*words)
        assert refused.code == 2, (kind, refused.err)
        assert f"{kind} 'broken': unsee_extra.broken {BROKEN}" in " ".join(refused.err.split())
    assert f"metric 'broken': unsee_extra.broken {BROKEN}; it is left out" in " ".join(finished.err.split())


def test_a_broken_judge_of_refusal_is_left_out_and_named(run_about_documents):
    _, finished = run_about_documents
    assert f"refusal judge 'broken': unsee_extra.broken {BROKEN}; it is left out" in " ".join(finished.err.split())
