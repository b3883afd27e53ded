"""`unsee attack` on a finished run: what is added to it, and what is refused."""

from __future__ import annotations

import shutil

import pytest
from integration.command import unsee

from unsee.config.recipe import dump_config, load_recipe
from unsee.core.record import Record
from unsee.scoring.schema import Scores

WORDS = ("--attack", "quantise", "--set", "attack.quantise.group=16")


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(finished[0], tmp_path / "run")


def test_a_finished_run_is_attacked_and_the_rest_comes_from_the_cache(run, cache):
    before = Scores.load(run, "scores.json")
    old_events = len(Record.open(run).events())
    command = unsee(["attack", run, *WORDS, "--workers", "1"], cache)
    assert command.code == 0, command.err
    record, scores = Record.open(run), Scores.load(run, "scores.json")
    lines = command.out.splitlines()
    assert any("robustness" in line for line in lines) and lines[-1] == str(run / "report.html")
    events = record.events()[old_events:]
    assert not {"training", "evaluated"} & {event["event"] for event in events}
    assert [event["model"] for event in events if event["event"] == "stage" and event["stage"] == "attack"] == [
        f"{model} quantise"
        for model in ("do_nothing", "oracle", "oracle_2", "gradient_difference-both", "prompting")
    ]  # fmt: skip
    config = record.read_toml("config.toml")
    assert set(config["attack"]) == {"quantise"} and config["attack"]["quantise"]["group"] == 16
    answers = record.read_table("attacks.parquet")
    assert set(answers["variant"]) == {"8 bits", "4 bits", "NF4"}
    assert {(one.method, one.variant) for one in scores.attacks} == {
        (method, variant) for method in set(answers["method"]) for variant in set(answers["variant"])
    }
    assert "Has it really gone?" in record.read_text("report.html")
    robust = {method.method: method.robustness for method in scores.methods}
    assert robust["target"] is None and robust["oracle"].value == 1 and robust["do_nothing"].value < 0.1
    plain = scores.model_copy(
        update={"attacks": [], "methods": [one.model_copy(update={"robustness": None}) for one in scores.methods]}
    )
    assert plain == before


def test_attacks_that_read_likelihoods_are_kept_in_one_table(run, cache):
    before = Scores.load(run, "scores.json")
    command = unsee(["attack", run, "--attack", "membership", "--attack", "depth", "--workers", "1"], cache)
    assert command.code == 0, command.err
    read = Record.open(run).read_table("likelihoods.parquet").groupby("attack")
    assert {name for name, _ in read} == {"membership", "depth"}
    measured = Scores.load(run, "scores.json").measures
    assert not before.measures and measured


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def unfinished(run):
    (run / "scores.json").unlink()


def documents(run):
    (run / "config.toml").write_text(dump_config(load_recipe("gate")))


def request(run):
    (run / "request.json").write_text("{}")


def moved_data(run):
    text = (run / "config.toml").read_text()
    config = load_recipe(str(run / "config.toml"))
    (run / "config.toml").write_text(text.replace(config.data.source, str(run / "gone")))


def nothing(run):
    pass


@pytest.mark.parametrize(
    ("change", "words", "sentence"),
    [
        (documents, (), "a run about documents; attacks are for runs about people"),
        (unfinished, (), "scores.json: missing; the run has not come that far; finish it: unsee run"),
        (request, (), "a deletion request; its page is"),
        (nothing, ("--attack", "relern"), "attack: unknown name 'relern'; did you mean 'relearn'?"),
        (nothing, ("--attack", "sample", "--set", "attack.sample.answers=1"), "attack.sample.answers: must be"),
        (nothing, ("--attack", "sample", "--set", "attack.sample.answer=3"), "unknown option; did you mean 'answers'?"),
        (nothing, ("--attack", "sample", "--set", "attack.relearn.steps=3"), "this attack is not run; add --attack"),
        (nothing, ("--set", "attack.relern.steps=3"), "attack: unknown name 'relern'; did you mean 'relearn'?"),
        (nothing, ("--set", "attack=3"), "--set attack: must be a table, got 3"),
        (nothing, ("--set", "attack.sample=3"), "attack.sample: must be a table, got 3"),
        (nothing, ("--set", "data.people=3"), "--set data: only options of attacks can be set"),
        (nothing, ("--workers", "many"), "--workers many: must be"),
        (moved_data, ("--attack", "sample"), "gone"),
    ],
)  # fmt: skip
def test_what_cannot_be_attacked_is_one_sentence_and_nothing_changes(run, tmp_path, change, words, sentence):
    change(run)
    before = contents(run)
    command = unsee(["attack", run, *words], tmp_path / "cache")
    assert command.code == 2, command.err
    assert command.out == "" and command.err.startswith("unsee: ") and command.err.count("\n") == 1
    assert sentence in command.err
    assert contents(run) == before


def test_a_run_that_another_process_writes_is_left_alone(run, tmp_path):
    record = Record.create(run, (run / "config.toml").read_text())
    before = contents(run)
    command = unsee(["attack", run], tmp_path / "cache")
    assert command.code == 2 and command.err == f"unsee: {run}: another run is writing there; wait for it\n"
    assert contents(record.folder) == before


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    command = unsee(["attack", tmp_path / "nothing"], tmp_path / "cache")
    assert (command.code, command.err) == (2, f"unsee: {tmp_path / 'nothing'}: not a run folder (no config.toml)\n")
