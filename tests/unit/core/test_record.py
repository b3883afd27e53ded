import json
import shutil
import subprocess
import sys
from functools import partial
from subprocess import PIPE

import pandas as pd
import pytest
from leftovers import ended_process, left_by

from unsee.core.errors import RecordError
from unsee.core.record import NullRecord, Record

CONFIG = 'name = "quick"\nseed = 0\n'
WRITER = """
from pathlib import Path
from unsee.core.record import Record

record = Record.create(Path({folder!r}), {config!r})
print(flush=True)
input()
"""


def visible(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_run_is_created_and_resumed(tmp_path):
    folder = tmp_path / "runs" / "quick"
    Record.create(folder, CONFIG).write_text("notes.txt", "half way")
    assert Record.create(folder, "seed = 0 # a comment is no other config\nname = 'quick'").read_text("notes.txt")
    assert "notes.txt" in Record.open(folder)


def test_a_folder_with_another_run_is_refused_untouched(tmp_path):
    Record.create(tmp_path, CONFIG)
    with pytest.raises(RecordError, match="another config"):
        Record.create(tmp_path, "seed = 1")
    assert Record.open(tmp_path).read_text("config.toml") == CONFIG


def test_a_folder_that_is_no_run_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RecordError, match="not empty and not a run"):
        Record.create(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "uv.lock").write_text("")
    with pytest.raises(RecordError, match="not empty and not a run"):
        Record.create(tmp_path / "other", CONFIG)
    with pytest.raises(RecordError, match="not a folder"):
        Record.create(tmp_path / "thesis.tex", CONFIG)
    with pytest.raises(RecordError, match="not a run folder"):
        Record.open(tmp_path)


def test_leftovers_of_a_killed_write_are_deleted(tmp_path):
    Record.create(tmp_path, CONFIG)
    for folder in (tmp_path, tmp_path / "models"):
        left_by(ended_process(), folder)
    Record.create(tmp_path, CONFIG)
    assert not list((tmp_path / "models").iterdir())
    (tmp_path / "models").rmdir()
    assert visible(tmp_path) == {"config.toml"}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    record = Record.create(tmp_path, CONFIG)
    record.write_json("signal.json", {"signal": True})
    with pytest.raises(ValueError, match="JSON"):
        record.write_json("signal.json", {"signal": float("nan")})

    class Interrupted(Exception):
        pass

    with pytest.raises(Interrupted), record.replacing("signal.json") as path:
        path.write_text("{")
        raise Interrupted
    assert record.read_json("signal.json") == {"signal": True}
    assert visible(tmp_path) == {"config.toml", "signal.json"}


def test_a_folder_arrives_whole_or_not_at_all(tmp_path):
    record = Record.create(tmp_path, CONFIG)
    with record.replacing("models/target") as folder:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    assert record.read_json("models/target/config.json") == {}
    with pytest.raises(KeyError), record.replacing("models/oracle") as folder:
        folder.mkdir()
        raise KeyError
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["target"]


def test_tables_come_back_as_they_were(tmp_path):
    record = Record.create(tmp_path, CONFIG)
    table = pd.DataFrame({"method": ["target"], "options": [["a", "b"]], "chance": [float("nan")]})
    record.write_table("answers.parquet", table)
    back = record.read_table("answers.parquet")
    assert back["options"].map(list).tolist() == [["a", "b"]]
    pd.testing.assert_frame_equal(back.drop(columns="options"), table.drop(columns="options"))


def test_a_flipped_byte_in_a_table_is_named(tmp_path):
    record = Record.create(tmp_path, CONFIG)
    record.write_table("answers.parquet", pd.DataFrame({"answer": [f"Oslo {number}" for number in range(100)]}))
    path = tmp_path / "answers.parquet"
    content = bytearray(path.read_bytes())
    content[content.index(b"Oslo")] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"answers\.parquet: not a parquet table, or damaged"):
        record.read_table("answers.parquet")


def test_a_run_is_private(tmp_path):
    record = Record.create(tmp_path / "runs" / "quick", CONFIG)
    record.write_bytes("portraits/1.png", b"")
    record.write_table("answers.parquet", pd.DataFrame({"answer": ["Oslo"]}))
    record.log("stage", stage="target")
    with record.replacing("models/target") as folder:
        folder.mkdir(mode=0o755)
        (folder / "model.safetensors").write_bytes(b"")
    for path in (tmp_path / "runs", *(tmp_path / "runs").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_unreadable_files_are_named(tmp_path):
    record = Record.create(tmp_path, CONFIG)
    for name, read in (("scores.json", record.read_json), ("answers.parquet", record.read_table)):
        with pytest.raises(RecordError, match=f"{name}: missing"):
            read(name)
        (tmp_path / name).write_text("{")
        with pytest.raises(RecordError, match=f"{name}: not"):
            read(name)


def test_the_log_survives_a_kill_in_the_middle_of_a_line(tmp_path):
    record = Record.create(tmp_path, CONFIG)
    assert record.events() == []
    record.log("stage", stage="target", seconds=1.5)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"time": 1, "eve')
    record.log("stage", stage="oracle", seconds=2.5)
    assert [event["stage"] for event in record.events()] == ["target", "oracle"]
    assert set(json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])) == {
        "time",
        "event",
        "stage",
        "seconds",
    }


def test_the_log_refuses_text_about_a_person(tmp_path):
    with pytest.raises(ValueError, match="answer"):
        Record.create(tmp_path, CONFIG).log("evaluated", answer="Oslo")


def test_an_onlooker_reads_everything_takes_all_as_done_and_writes_nothing(tmp_path):
    Record.create(tmp_path, CONFIG).write_json("scores.json", {"a": 1})
    onlooker = NullRecord(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    onlooker.write_json("scores.json", {"a": 2})
    onlooker.write_text("new.txt", "")
    onlooker.log("stage", stage="target")
    assert "models/target" in onlooker
    assert onlooker.read_json("scores.json") == {"a": 1}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_folder_that_vanished_meanwhile_is_not_begun_anew(tmp_path):
    record = Record.create(tmp_path / "run", CONFIG)
    shutil.rmtree(tmp_path / "run")
    for write in (partial(record.write_text, "report.html", ""), partial(record.log, "stage", stage="target")):
        with pytest.raises(RecordError, match="vanished; run the same command again"):
            write()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_where_another_process_writes_nothing_is_touched_until_it_ends(tmp_path):
    code = WRITER.format(folder=str(tmp_path), config=CONFIG)
    with subprocess.Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE) as other:
        other.stdout.readline()
        begun = left_by(other.pid, tmp_path)
        with pytest.raises(RecordError, match="another run is writing there; wait for it"):
            Record.create(tmp_path, CONFIG)
        assert begun.exists()
        other.kill()
    Record.create(tmp_path, CONFIG)
    assert visible(tmp_path) == {"config.toml"}
