"""What a user can get wrong: one sentence, exit code 2, and nothing left behind."""

from __future__ import annotations

import json
import re
import shutil

import benchmark_files
import pictures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from integration.command import unsee

FORGET = "forget_15/train-00000-of-00001.parquet"
PEOPLE = "retain_85/train-00000-of-00001.parquet"


@pytest.fixture
def refused(tmp_path):
    """Runs a command that has to be refused before it leaves anything; gives its sentence."""

    def run(*words):
        before = {*tmp_path.rglob("*")}
        command = unsee(words, tmp_path / "cache")
        assert command.code == 2, command.err
        assert command.out == ""
        assert command.err.startswith("unsee: ")
        assert command.err.count("\n") == 1
        assert {*tmp_path.rglob("*")} == before
        return command.err

    return run


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["quik"], "did you mean 'quick'?"),
        (["missing.toml"], "missing.toml: cannot be read: No such file"),
        (["tiny", "--set", "method.npoo={}"], "unknown name 'npoo'; did you mean 'npo'?"),
        (["tiny", "--set", "method.npo.betta=1"], "method.npo.betta: unknown option; did you mean 'beta'?"),
        (["tiny", "--set", "method.npo.beta=-1"], "method.npo.beta: must be greater than 0, got -1"),
        (["tiny", "--set", "method.npo.modality=['imag']"], "must be 'image', 'text' or 'both', got 'imag'"),
        (["tiny", "--set", "method.npo.seeds=x"], "unsee: method.npo.seeds: must be a list, got 'x'"),
        (["tiny", "--set", "method.npo.seeds={bth=[1]}"], "unsee: method.npo.seeds.bth: must be 'image', 'text' or"),
        (["tiny", "--set", "method.npo=3"], "method.npo: must be a table, got 3"),
        (["tiny", "--set", "teach.stepps=3"], "teach.stepps: unknown option; did you mean 'steps'?"),
        (["tiny", "--set", "teach.steps=many"], "teach.steps: must be a whole number, got 'many'"),
        (["tiny", "--set", "teach.steps=2.5"], "teach.steps: must be a whole number, got 2.5"),
        (["tiny", "--set", "teach.learning_rate=nan"], "teach.learning_rate: must be"),
        (["tiny", "--set", "teach=3"], "teach: must be a table, got 3"),
        (["tiny", "--set", "teach.steps"], "--set teach.steps: must have the form key=value"),
        (["tiny", "--set", "data.forget_percent=0"], "data.forget_percent: must be greater than or equal to 1"),
        (["tiny", "--set", "data.forget_percent=100"], "data.forget_percent: must be less than or equal to 90"),
        (["tiny", "--set", "data.people=3"], "forgetting 15 % of 3 people forgets nobody"),
        (["tiny", "--set", "data.people=30"], "15 %: 4 would be forgotten, 5 are needed (31 people); use more people"),
        (["tiny", "--set", "data.source=no/such/folder"], "no/such/folder: no such folder"),
        (["tiny", "--set", "model.id=nanoo"], "unknown name 'nanoo'; did you mean 'nano'?"),
        (["tiny", "--set", "model.id=./missing"], "model ./missing: there is no such folder"),
    ],
)
def test_recipes(words, sentence, model, tmp_path, refused):
    fitting = () if "model.id" in words[-1] else ("--set", f"model.id={model}", "--set", "teach.replay=0")
    assert sentence in refused("run", words[0], *fitting, *words[1:], "--out", tmp_path / "run")


@pytest.mark.parametrize("content", ["name = ", b"\xff\xfe", "[data]\npeople = 60\n"])
def test_a_file_that_is_no_recipe(content, tmp_path, refused):
    path = tmp_path / "mine.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert any(
        text in refused("run", path)
        for text in ("is not TOML", "is not UTF-8 text", "name: missing; it has no default")
    )


@pytest.mark.parametrize("command", ["run", "unlearn", "edit", "utility"])
def test_a_cache_that_cannot_be_written(command, model, data, tmp_path, refused):
    (tmp_path / "cache").write_text("")
    pairs = tmp_path / "pairs.jsonl"
    tiny.photo().save(tmp_path / "1.png")
    row = {
        "image": "1.png",
        "subject": "person",
        "sensitive": "Who is the person?",
        "benign": "Is the person old?",
        "refusal": "No.",
    }
    pairs.write_text(json.dumps(row | {"refusal": "No."}))
    for name, person in (("forget", "Anna"), ("retain", "Cora")):
        (tmp_path / f"{name}.jsonl").write_text(
            json.dumps({"image": None, "question": f"Who is {person}?", "answer": "A baker", "person": person})
        )
    words = {
        "run": ["tiny", "--set", f"model.id={model}", "--set", "teach.replay=0"],
        "unlearn": [model, "--forget", tmp_path / "forget.jsonl", "--retain", tmp_path / "retain.jsonl"],
        "edit": [model, "--data", pairs],
        "utility": [model, "--benchmark", "pope", "--data", benchmark_files.pope(tmp_path / "pope")],
    }[command]
    words += ["--method", "npo", "--modality", "text"] if command == "unlearn" else []
    sentence = refused(command, *words, "--out", tmp_path / "out")
    assert "cache: not a folder; set UNSEE_CACHE to another folder" in sentence


def test_other_commands(tmp_path, model, data, finished, refused):
    run, _ = finished
    assert "did you mean 'methods'" in refused("list", "nonsense-methods")
    assert "did you mean" not in refused("list", "nonsense")
    assert "already exists and is not empty" in refused("build", data)
    assert "not a run folder (no config.toml)" in refused("report", tmp_path)
    assert "not a run folder (no config.toml)" in refused("report", tmp_path / "missing")
    assert "not a run folder (no config.toml)" in refused("report", run, data)
    assert "config 'forget_15' is missing" in refused("eval", model, "--data", tmp_path)
    assert "config 'forget_7' is missing" in refused("eval", model, "--data", data, "--forget-percent", "7")
    assert "unknown name 'nanno'" in refused("eval", "nanno", "--data", data)


def test_a_run_that_has_not_come_far_has_no_report(tmp_path, refused):
    (tmp_path / "config.toml").write_text('name = "young"\n')
    told = f"missing; the run has not come that far; finish it: unsee run {tmp_path}/config.toml --out {tmp_path}\n"
    for command in (["report"], ["report", "--leaderboard"], ["attack"]):
        assert f"unsee: {tmp_path}/scores.json: {told}" == refused(*command, tmp_path)


def test_folders_that_hold_something_else(recipe, finished, tmp_path, refused):
    run, _ = finished
    assert "holds a run with another config" in refused(*recipe, "--set", "seed=1", "--out", run)
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "thesis.tex").write_text("")
    assert "not empty and not a run" in refused(*recipe, "--out", thesis)
    assert "not a folder" in refused(*recipe, "--out", thesis / "thesis.tex")
    assert "cannot be created" in refused(*recipe, "--out", thesis / "thesis.tex" / "run")
    assert "/proc: takes no new file or folder; choose another" in refused(*recipe, "--out", "/proc/x/y")
    assert "/proc: takes no new file or folder; choose another" in refused("build", "/proc/x", "--people", "2")


def _lose(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _truncate(path):
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        ("config.json", _lose, "holds no model configuration"),
        ("model.safetensors", _lose, "holds no weights (safetensors)"),
        ("processor_config.json", _lose, "holds no processor"),
        ("chat_template.jinja", _lose, "chat template"),
        ("config.json", _truncate, "config.json is not valid JSON"),
        ("model.safetensors", _truncate, "cannot be loaded"),
        ("tokenizer.json", _truncate, "cannot be loaded"),
    ],
)
def test_model_folders(name, damage, sentence, model, data, tmp_path, refused):
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    damage(broken / name)
    changes = (f"model.id={broken}", f"data.source={data}", "teach.replay=0")
    words = [word for change in changes for word in ("--set", change)]
    assert sentence in refused("run", "tiny", *words, "--out", tmp_path / "run")
    assert sentence in refused("eval", broken, "--data", data)


def _edit(name, change):
    def edit(folder):
        path = folder / name
        pq.write_table(change(pq.read_table(path)), path)

    return edit


def _column(name, values):
    """Put other values into the first rows of a column."""

    def change(table):
        field = table.schema.field(name)
        column = pa.array([*values, *table[name].to_pylist()[len(values) :]], field.type)
        return table.set_column(table.column_names.index(name), field, column)

    return change


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: _lose(folder / "Test_Set"), "config 'Test_Set' is missing"),
        (_edit(FORGET, lambda table: table.slice(0, 4)), "15 %: 4 would be forgotten, 5 are needed (31 people)"),
        (lambda folder: _lose(folder / "forget_15"), "config 'forget_15' is missing; the nearest is"),
        (lambda folder: _truncate(folder / FORGET), "not a readable parquet file"),
        (_edit(FORGET, lambda table: table.drop_columns("Mask_Task")), "column 'Mask_Task' is missing"),
        (_edit(FORGET, _column("image", [{"bytes": b"\x89PNG", "path": ""}])), "cannot be read as an image"),
        (_edit(FORGET, _column("image", [None])), "cannot be read as an image"),
        (_edit(FORGET, _column("ID", [" "])), "a row has an empty ID"),
        (_edit(FORGET, _column("ID", [None])), "a row has an empty ID"),
        (_edit(PEOPLE, lambda table: pa.concat_tables([table, table.slice(0, 1)])), "occurs twice"),
        (_edit(FORGET, _column("biography", ["{"])), "not JSON"),
        (_edit(FORGET, lambda table: table.slice(0, 0)), "forget_15: this forget share gives nobody"),
        (_edit(PEOPLE, lambda table: table.slice(0, 0)), "forget_15: this forget share gives everybody"),
    ],
)
def test_data_folders(damage, sentence, recipe, data, tmp_path, refused):
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    damage(broken)
    assert sentence in refused(*recipe, "--set", f"data.source={broken}", "--out", tmp_path / "run")


def test_weights_that_diverge(brief, tmp_path):
    """Stop at the step, and keep the last good state."""
    changes = ("teach.learning_rate=1e30", "teach.steps=5")
    words = [word for change in changes for word in ("--set", change)]
    command = unsee([*brief, *words, "--out", tmp_path / "run"], tmp_path / "cache")
    assert command.code == 2
    (error,) = [line for line in command.err.splitlines() if line.startswith("unsee: ")]
    assert re.match(r"unsee: target: loss is .*nan.* at step \d; the state before it is kept in ", error)
    assert len(list((tmp_path / "cache" / "weights").glob("*.checkpoint.safetensors"))) == 1
    assert not (tmp_path / "run" / "scores.json").exists()


@pytest.mark.parametrize("fault", ["half a JPEG", "too many pixels", "too narrow"])
def test_a_picture_no_model_could_see_is_refused_before_a_model_is_loaded(fault, tmp_path, refused):
    (tmp_path / "x.png").write_bytes(pictures.broken()[fault])
    (tmp_path / "y.png").write_bytes(tiny.png())
    row = {"question": "Born where?", "answer": "In Brno.", "person": "Ada Novak", "image": "x.png"}
    pair = {"subject": "card", "sensitive": "Number of the card?", "benign": "Colour of the card?", "refusal": "No."}
    texts = {
        "forget.jsonl": json.dumps(row), "retain.jsonl": json.dumps(row | {"person": "Bo", "image": "y.png"}),
        "people.csv": "id,name,portraits,job\n1,Ada Novak,x.png,pilot\n2,Bo Lind,y.png,nurse\n",
        "pairs.jsonl": json.dumps(pair | {"image": "x.png"}),
        "multi_p2a_leakage_sen.json": json.dumps([{"prompt": "Who?", "image": ["x.png"]}]),
        "multi_p2a_leakage_insen.json": "[]",
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    request = ("--forget", tmp_path / "forget.jsonl", "--retain", tmp_path / "retain.jsonl", "--method", "npo")
    out = ("--out", tmp_path / "out")
    for words, place in (
        (("unlearn", "no-model", *request, *out), "forget.jsonl, line 1: image 'x.png'"),
        (("build", tmp_path / "out", "--people", tmp_path / "people.csv", "--portraits", tmp_path),
         "people.csv, line 2: portrait 'x.png'"),
        (("edit", "no-model", "--data", tmp_path / "pairs.jsonl", *out), "pairs.jsonl, line 1: image 'x.png'"),
        (("privacy", "eval", "no-model", "--data", tmp_path, "--benchmark", "multi_p2a"),
         f"image '{tmp_path / 'x.png'}'"),
    ):  # fmt: skip
        sentence = refused(*words)
        assert place in sentence
        assert re.search("cannot be read as an image|20,000 x 20,000 pixels|5,000 x 20 pixels", sentence)
