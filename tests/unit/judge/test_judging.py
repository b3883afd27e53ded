"""`unsee judge` from the command line: consent, the record, the table and the report."""

import json

import pandas as pd
import pytest

from unsee.cli import main
from unsee.core.errors import RecordError
from unsee.core.record import Record
from unsee.judge import JUDGES
from unsee.judge.judging import JUDGED_COLUMNS, judge_run, open_docket, rows
from unsee.judge.offline import Offline
from unsee.scoring.factuality import Factuality

pytestmark = pytest.mark.slow


def test_judges_are_listed(capsys):
    assert main(["list", "judges"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == JUDGES.names() == ["offline", "openai"]


def test_the_target_tells_the_truth_about_the_forgotten_and_the_oracle_does_not(run, capsys):
    assert main(["judge", str(run)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(run / "report.html")
    found = Factuality.load(run, "judge.json")
    forget = {cell.method: cell for cell in found.cells if (cell.set, cell.input) == ("forget", "text")}
    assert forget["target"].low > forget["oracle"].high
    assert forget["target"].value > 8
    assert forget["oracle"].value < 5
    for cell in found.cells:
        assert 1 <= cell.low <= cell.value <= cell.high <= 10
        assert cell.invalid == 0
    assert forget["target"].n_units == 2
    assert forget["target"].n_items == 4


def test_the_record_holds_a_verdict_for_every_sentence(docket):
    found = judge_run(docket, Offline())
    judged = docket.record.read_table("judged.parquet")
    sentences = docket.answers[docket.answers["task"] == "generation"]
    assert tuple(judged.columns) == JUDGED_COLUMNS
    assert list(judged["item"]) == list(sentences["item"])
    assert judged["score"].between(1, 10).all()
    assert found.cases == len(docket.cases) < len(judged)
    mean = judged[(judged["method"] == "target") & (judged["set"] == "retain") & (judged["input"] == "image")]["score"]
    (cell,) = [c for c in found.cells if (c.method, c.set, c.input) == ("target", "retain", "image")]
    assert cell.value == pytest.approx(mean.mean())
    assert json.loads((docket.record.folder / "judge.json").read_text())["schema"] == "unsee.judge/2"


def test_the_same_run_is_judged_the_same_twice(docket):
    first = judge_run(docket, Offline())
    assert judge_run(docket, Offline()) == first


def test_the_report_shows_it_and_a_redacted_one_names_nobody(run):
    assert main(["judge", str(run)]) == 0
    text = (run / "report.html").read_text()
    assert "<h2>Factuality</h2>" in text
    assert "Judge: offline, unsee-facts/1" in text
    assert main(["report", str(run), "--redact"]) == 0
    redacted = (run / "report-redacted.html").read_text()
    assert "<h2>Factuality</h2>" in redacted
    assert "Novak" not in redacted


def test_a_cell_without_any_score_is_a_dash(docket, monkeypatch):
    from unsee.judge.base import Verdict

    class Silent:
        label = "nobody"

        def judge(self, docket, progress):
            return [Verdict(None if "this person" in case.question else 6, "") for case in docket.cases]

    found = judge_run(docket, Silent())
    assert found.invalid == sum("this person" in case.question for case in docket.cases)
    shown = {(row.method, row.input): row for row in rows(found)}
    assert shown["target", "text"].forget == "6.00 [6.00, 6.00]"
    assert ("target", "image") not in shown


def asking(run, server, *more):
    return main(["judge", str(run), "--judge", "openai", "--model", "m", "--base-url", server.url,
                 "--requests-per-minute", "1000000", *more])  # fmt: skip


def test_nothing_is_sent_without_consent(run, server, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert asking(run, server) == 2
    error = capsys.readouterr().err
    assert "people to forget among them off this machine" in error
    assert "add --yes" in error
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert asking(run, server) == 2
    assert "did not consent" in capsys.readouterr().err
    assert server.requests == []
    assert not (run / "judge.json").exists()


def test_a_dry_run_says_what_it_would_cost(run, server, capsys):
    assert asking(run, server, "--dry-run", "--price-in", "1000", "--price-out", "2000") == 0
    error = capsys.readouterr().err
    assert f"{len(open_docket(run).cases)} requests to 127.0.0.1" in error
    assert "at the prices given" in error
    assert server.requests == []


def test_with_consent_it_asks_says_what_is_open_and_the_next_time_asks_for_that_alone(run, server, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    server.reply = lambda number, material: "no idea" if number == 2 else "SCORE: 8"
    assert asking(run, server, "--yes", "--concurrency", "1") == 0
    first = capsys.readouterr()
    assert "1 of" in first.err and "got no score; run the same command again to ask for them" in first.err
    assert "8.00" in first.out
    count = len(server.requests)
    assert asking(run, server, "--yes") == 0
    assert len(server.requests) == count + 1
    assert "1 requests" in capsys.readouterr().err
    assert asking(run, server) == 0
    assert "nothing is sent" in capsys.readouterr().err
    for path in run.rglob("*"):
        assert path.is_dir() or b"sk-secret" not in path.read_bytes()
    assert Record.open(run).events()[-1]["judge"] == "m, unsee-rubric/1"


def test_an_earlier_judgement_stays_when_no_reply_can_be_read(run, server, capsys):
    assert main(["judge", str(run)]) == 0
    before = {name: (run / name).read_bytes() for name in ("judge.json", "judged.parquet", "report.html")}
    server.reply = lambda number, material: "no idea"
    capsys.readouterr()
    assert asking(run, server, "--yes") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "m: none of the first 5 replies can be read, such as 'no idea'; try another model" in captured.err
    assert {name: (run / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--judge", "ofline"], "did you mean 'offline'"),
        (["--judge", "offline", "--model", "m"], "unknown option"),
        (["--judge", "openai", "--set", "modle=m"], "judge.openai.modle: unknown option; did you mean 'model'"),
        (["--judge", "openai"], "no model named"),
        (["--judge", "openai", "--body", "[1]"], "--body: must be a JSON object"),
    ],
)
def test_bad_options_are_one_sentence(run, arguments, message, capsys, monkeypatch):
    monkeypatch.delenv("UNSEE_JUDGE_MODEL", raising=False)
    assert main(["judge", str(run), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_without_sentences_is_refused(tmp_path, run):
    answers = Record.open(run).read_table("answers.parquet")
    record = Record.create(tmp_path / "young", "seed = 0")
    with pytest.raises(RecordError, match=r"answers\.parquet: missing"):
        open_docket(record.folder)
    record.write_table("answers.parquet", answers[answers["task"] != "generation"])
    with pytest.raises(RecordError, match="no generated sentence"):
        open_docket(record.folder)
    record.write_table("answers.parquet", pd.DataFrame({"task": ["generation"]}))
    with pytest.raises(RecordError, match="no column method"):
        open_docket(record.folder)


def test_a_deletion_request_is_refused_before_anything_is_written(tmp_path):
    Record.create(tmp_path / "request", "seed = 0").write_json("request.json", {})
    before = {path.name for path in (tmp_path / "request").iterdir()}
    with pytest.raises(RecordError, match="a deletion request; its page is"):
        open_docket(tmp_path / "request")
    assert {path.name for path in (tmp_path / "request").iterdir()} == before
