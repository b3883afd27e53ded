"""A deletion request on a tiny model that was taught the people: done, killed and done, and refused."""

from __future__ import annotations

import json
import shutil
import signal

import pytest
from integration.command import Stop, unsee

from unsee.core.record import Record
from unsee.data.people.mllmu import load
from unsee.models.vlm import VLM
from unsee.report.deletion import sentences
from unsee.runs.status import status
from unsee.scoring.outcome import Outcome

SETTINGS = {
    "method.npo.learning_rate": 0.003, "method.npo.steps": 60, "evaluation.general_items": 4,
    "evaluation.bootstrap": 100, "unlearn.batch_tokens": 600,
}  # fmt: skip


@pytest.fixture(scope="module")
def target(finished):
    """The model of the finished run that knows everybody."""
    return finished[0] / "models" / "target"


@pytest.fixture(scope="module")
def rows(data, tmp_path_factory):
    """Forget and retain rows about the data's own people, in the words they were taught in; by photo and by name."""
    folder = tmp_path_factory.mktemp("request")
    benchmark = load(data, 15)
    for name, people in (("forget", benchmark.forget[:2]), ("retain", benchmark.retain[:2])):
        lines = []
        for person in people:
            (folder / f"{person.id}.png").write_bytes(person.images[0])
            taught = [question for question in person.questions if question.task == "train"]
            for index, question in enumerate(taught[:4]):
                asked = question.question if index % 2 else question.question.replace("this person", person.name)
                answer = question.answer if index % 2 else question.answer.replace("this person", person.name)
                image = f"{person.id}.png" if index % 2 else None
                lines.append({"image": image, "question": asked, "answer": answer, "person": person.name})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def request_words(target, rows):
    """The command without settings; a word given again counts instead of the first."""
    return ["unlearn", target, "--forget", rows / "forget.jsonl", "--retain", rows / "retain.jsonl", "--method", "npo"]


@pytest.fixture(scope="module")
def words(request_words):
    return [*request_words, *(word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}"))]


@pytest.fixture(scope="module")
def done(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    return folder / "out", unsee([*words, "--out", folder / "out"], folder / "cache")


def test_a_model_forgets_and_a_page_says_so(done, target):
    folder, command = done
    outcome = Outcome.load(folder, "request.json")
    assert command.code == (4 if outcome.verdict in ("leaks", "broke") else 0), command.err
    assert "unsee: " not in command.err and all(sentence in command.out for sentence in sentences(outcome))
    assert command.out.endswith(f"{folder / 'report.html'}\n")
    assert {path.name for path in folder.iterdir()} == {
        ".lock", "config.toml", "log.jsonl", "answers.parquet", "request.json", "requests.json", "report.html", "model",
    }  # fmt: skip
    figures = {(f["set"], f["input"], f["metric"]): f for f in Record.open(folder).read_json("request.json")["figures"]}
    forgotten, kept = figures["forget", "text", "probability"], figures["retain", "text", "probability"]
    assert forgotten["before"]["value"] > 0.5 > 0.2 > forgotten["after"]["value"]
    assert forgotten["change"]["value"] < kept["change"]["value"]
    unlearned = VLM.load(str(folder / "model"))
    assert unlearned.fingerprint() != VLM.load(str(target)).fingerprint()


def test_the_log_says_where_it_is(done):
    folder, command = done
    found = status(folder)
    assert (found.state, found.done, found.planned) == ("finished", 3, 3)
    assert [row.name for row in found.rows] == ["evaluate before", "unlearn NPO · both", "evaluate after"]
    assert "3 of 3: evaluate after  " in command.err


def test_the_log_and_the_page_hold_nothing_of_the_people(done, rows):
    folder, command = done
    said = [json.loads(line) for line in (rows / "forget.jsonl").read_text().splitlines()]
    secrets = {row["person"] for row in said} | {row["answer"] for row in said if len(row["answer"]) > 6}
    texts = [(folder / name).read_text() for name in ("log.jsonl", "report.html", "request.json", "config.toml")]
    for text in (*texts, command.out, command.err):
        assert not [secret for secret in secrets if secret in text]


STOPS = (
    Stop("unsee.core.journal:Journal.add", 2),
    Stop("unsee.methods.npo:NPO.loss", 55),
    Stop("unsee.models.vlm:VLM.save"),
    Stop("unsee.runs.deletion:write_request_report"),
)


@pytest.mark.soak
def test_killed_in_every_stage_it_ends_the_same(done, words, tmp_path):
    finished, _ = done
    command = [*words, "--out", tmp_path / "out"]
    for stop in STOPS:
        assert unsee(command, tmp_path / "cache", stop).code == -signal.SIGKILL, stop.at
        assert not (tmp_path / "out" / "report.html").exists()
    assert unsee(command, tmp_path / "cache").code == done[1].code
    here, there = (Outcome.load(folder, "request.json") for folder in (tmp_path / "out", finished))
    now = {"finished": there.filing.finished}
    assert here.model_copy(update={"filing": here.filing.model_copy(update=now)}) == there
    steps = [event["step"] for event in Record.open(tmp_path / "out").events() if event["event"] == "step"]
    assert set(steps) == set(range(60))


def test_an_adapter_is_saved_where_one_was_trained(words, rows, tmp_path):
    few = ["--set", "model.trainable=lora", "--set", "method.npo.steps=2", "--modality", "image"]
    for name in ("forget", "retain"):
        (*_, line) = (rows / f"{name}.jsonl").read_text().splitlines()  # about a photo
        (tmp_path / f"{name}.jsonl").write_text(line.replace('"image": "', f'"image": "{rows}/'))
        few += [f"--{name}", tmp_path / f"{name}.jsonl"]
    assert unsee([*words, *few, "--out", tmp_path / "out"], tmp_path / "cache").code in (0, 4)
    adapter = tmp_path / "out" / "model"
    assert (adapter / "adapter_model.safetensors").is_file()
    assert VLM.load(str(adapter)).id == str(adapter)


def test_the_next_request_starts_from_the_last_and_asks_its_rows_again(done, words, rows, tmp_path):
    folder, _ = done
    said = [json.loads(line) for line in (rows / "retain.jsonl").read_text().splitlines()]
    for name, keep in (("forget", said[0]["person"]), ("retain", said[-1]["person"])):
        lines = [
            json.dumps(row | {"image": row["image"] and str(rows / row["image"])})
            for row in said
            if row["person"] == keep
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    changed = ["--forget", tmp_path / "forget.jsonl", "--retain", tmp_path / "retain.jsonl", "--after", folder]
    few = ["--set", "method.npo.steps=2", "--reference", "second", "--out", tmp_path / "next"]
    command = unsee(["unlearn", *words[2:], *changed, *few], tmp_path / "cache")
    assert command.code in (0, 4), command.err
    outcome = Outcome.load(tmp_path / "next", "request.json")
    (earlier,) = outcome.earlier
    assert earlier.at_hand and earlier.ways == sum(
        person.ways for person in Outcome.load(folder, "request.json").people
    )
    assert "The rows of 1 earlier request were asked again" in command.out
    assert "4 of 5: evaluate earlier 1 before" in command.err
    listed = unsee(["requests", tmp_path / "next"], tmp_path / "cache")
    assert listed.code == 0 and "second" in listed.out and listed.out.count("unchanged") >= 2
    both = unsee(["unlearn", words[1], *words[2:], "--after", folder, "--out", tmp_path / "no"], tmp_path / "cache")
    assert both.code == 2 and "not both" in both.err


@pytest.mark.soak
def test_a_killed_request_after_another_ends_with_the_same_weights(done, words, tmp_path):
    folder, _ = done
    command = ["unlearn", *words[2:], "--after", folder, "--set", "method.npo.steps=20"]
    assert unsee([*command, "--out", tmp_path / "whole"], tmp_path / "cache").code in (0, 4)
    for stop in (Stop("unsee.methods.npo:NPO.loss", 15), Stop("unsee.runs.deletion:write_ledger")):
        killed = unsee([*command, "--out", tmp_path / "killed"], tmp_path / "other", stop)
        assert killed.code == -signal.SIGKILL and not (tmp_path / "killed" / "requests.json").exists()
    assert unsee([*command, "--out", tmp_path / "killed"], tmp_path / "other").code in (0, 4)
    whole, killed = (Outcome.load(tmp_path / name, "request.json").filing for name in ("whole", "killed"))
    assert whole.model_after == killed.model_after and whole.model_before == killed.model_before
    assert unsee(["requests", tmp_path / "killed"], tmp_path / "other").code == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["--method", "npoo"], "unknown name 'npoo'; did you mean 'npo'?"),
        (["--method", "prompting"], "method.prompting: forgets no rows by training; choose one that does: "),
        (["--method", "memit"], "ignorance, "),
        (["--modality", "sound"], "method.npo.modality: must be 'image', 'text' or 'both', got 'sound'"),
        (["--set", "method.npo.betta=1"], "method.npo.betta: unknown option; did you mean 'beta'?"),
        (
            ["--set", "method.gradient_ascent.steps=1"],
            "unsee: method: a deletion request takes one method with one modality, got ",
        ),
        (["--set", "teach.steps=1"], "teach: unknown option"),
        (["--set", "forget=other.jsonl"], "--set forget=other.jsonl: forget is given by --forget; change it there"),
        (["--set", 'method.npo.modality=["text"]'], "method.npo.modality is given by --modality; change it there"),
        (["--set", "content=x"], "content is given by the rows; change it there"),
        (["--forget", "none.jsonl"], "none.jsonl: cannot be read: No such file"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_done(changes, sentence, request_words, tmp_path):
    command = unsee([*request_words, *changes, "--out", tmp_path / "out"], tmp_path / "cache")
    assert (command.code, command.out, command.err.count("\n")) == (2, "", 1), command.err
    assert sentence in command.err
    assert not (tmp_path / "out").exists() and not (tmp_path / "cache").exists()


def test_a_folder_belongs_to_one_request(done, words, rows, tmp_path):
    folder, _ = done
    changed = shutil.copytree(rows, tmp_path / "rows")
    (changed / "forget.jsonl").write_text("".join((rows / "forget.jsonl").read_text().splitlines(True)[1:]))
    command = unsee([*words, "--forget", changed / "forget.jsonl", "--out", folder], tmp_path / "cache")
    assert command.code == 2 and "holds a run with another config" in command.err


def test_rows_without_photo_cannot_be_unlearned_from_photos(request_words, rows, tmp_path):
    (tmp_path / "text.jsonl").write_text((rows / "forget.jsonl").read_text().splitlines()[0])
    words = [*request_words, "--forget", tmp_path / "text.jsonl", "--modality", "image", "--out", tmp_path / "out"]
    command = unsee(words, tmp_path / "cache")
    assert command.code == 2 and "no row can be asked with an image; choose --modality text" in command.err


def test_a_finished_request_is_reported_again_and_not_judged(done, tmp_path):
    folder, _ = done
    again = unsee(["report", folder, "--redact", "--out", tmp_path / "again.html"], tmp_path / "cache")
    assert again.code == 0, again.err
    page = (tmp_path / "again.html").read_text()
    assert sentences(Outcome.load(folder, "request.json"))[0] in page
    assert str(folder.parent) not in page
    judged = unsee(["judge", folder], tmp_path / "cache")
    assert judged.code == 2 and f"a deletion request; its page is {folder / 'report.html'}" in judged.err
    assert not (folder / "judge.json").exists()
