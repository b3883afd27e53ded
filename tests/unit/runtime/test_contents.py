import shutil

import pytest
from leftovers import ended_process, files_in, left_by

from unsee.cli import main
from unsee.core.errors import RecordError, UnknownNameError
from unsee.core.files import keep
from unsee.runtime.cache import Cache
from unsee.runtime.contents import clear, entries


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs: each has answers of its own, and both share the features."""
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / "cache"))
    folders = [tmp_path / "quick", tmp_path / "request"]
    for folder in folders:
        folder.mkdir()
        cache = Cache(folder)
        for kind, name in (("answers", f"{folder.name}.parquet"), ("features", "both.safetensors")):
            keep(cache.path(kind, name), lambda path: path.write_bytes(b"0" * 1000))
    keep(Cache().path("moments", "nobody.safetensors"), lambda path: path.write_bytes(b""))
    keep(Cache(folders[0]).path("data", "people"), lambda path: path.mkdir() or (path / "a").write_text("0" * 500))
    return folders


def names():
    return {entry.name for entry in entries()}


def test_the_list_says_what_belongs_to_whom(runs, tmp_path, capsys):
    left_by(ended_process(), tmp_path / "cache" / "answers")
    quick, request = map(str, runs)
    assert main(["cache", "list"]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["answers", "1", "0.0", "MB", quick] in shown
    assert ["answers", "1", "0.0", "MB", request] in shown
    assert ["features", "1", "0.0", "MB", f"{quick},", request] in shown
    assert ["moments", "1", "0.0", "MB", "no", "run", "or", "request"] in shown
    assert [f"{tmp_path / 'cache'}:", "5", "entries,", "0.0", "MB"] in shown
    assert not any("part" in name for name in files_in(tmp_path / "cache"))
    assert next(entry.num_bytes for entry in entries() if entry.kind == "data") > 500


def test_what_belongs_to_one_request_is_deleted_and_nothing_else(runs, capsys):
    _, request = runs
    (request.parent / "cache" / "answers" / "request.0.journal").write_text("")
    (request.parent / "cache" / "answers" / "request.parquet.damaged").write_text("x" * 300_000)
    shared = names() - {"answers/request"}
    assert main(["cache", "clear", str(request)]) == 0
    assert "deleted 1 entries, 0.3 MB; 4 entries, 0.0 MB are left" in capsys.readouterr().out
    assert names() == shared
    assert not any("request" in name for name in files_in(request.parent / "cache"))


def test_what_belonged_to_a_deleted_run_belongs_to_the_others(runs):
    quick, request = runs
    shutil.rmtree(quick)
    clear(request)
    assert names() == {"answers/quick", "data/people", "moments/nobody"}
    clear(quick)
    assert names() == {"moments/nobody"}


def test_everything_is_deleted_except_what_is_not_the_caches(runs, tmp_path):
    (tmp_path / "cache" / "thesis.tex").write_text("")
    assert main(["cache", "clear"]) == 0
    assert {name for name in files_in(tmp_path / "cache") if "/" in name} == set()
    assert (tmp_path / "cache" / "thesis.tex").exists()
    assert all(run.exists() for run in runs)


def test_a_folder_of_which_the_cache_knows_nothing_is_refused(runs, tmp_path):
    with pytest.raises(UnknownNameError, match=r"did you mean '.*/request'"):
        clear(tmp_path / "reqest")
    assert len(names()) == 5


def test_a_cache_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=r"file: not a folder; set UNSEE_CACHE to another folder"):
        Cache()
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(RecordError, match=r"cannot be created: .*/file is no folder one can write to; set UNSEE_CACHE"):
        Cache()


def test_a_new_command_deletes_what_killed_ones_left_in_the_cache(runs, tmp_path):
    for kind in ("answers", "weights"):
        left_by(ended_process(), tmp_path / "cache" / kind)
    Cache()
    assert not any("part" in name for name in files_in(tmp_path / "cache"))
