import errno
import os
import resource
import stat
import time

import numpy as np
import pandas as pd
import pytest
from damage import DAMAGES
from leftovers import ended_process, files_in, left_by
from PIL import Image
from safetensors import SafetensorError

from unsee.core import files
from unsee.core.errors import ModelError, RecordError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def model(folder):
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "model.safetensors").write_bytes(bytes(range(256)))
    (folder / "config.json").write_text("{}")


def document(path):
    path.write_bytes(bytes(range(256)))


@pytest.mark.parametrize("make", [document, model])
def test_what_is_written_is_private_and_so_are_the_folders_made_for_it(tmp_path, make):
    with files.replacing(tmp_path / "new" / "made") as path:
        make(path)
        assert mode(path.parent) == 0o700
    made = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert {mode(path) for path in made if path.is_dir()} == {0o700}
    assert {mode(path) for path in made if path.is_file()} == {0o600}
    files.append_line(tmp_path / "log.jsonl", b"{}")
    assert mode(tmp_path / "log.jsonl") == 0o600


def test_what_is_written_within_something_unfinished_has_one_temporary_folder_and_the_path_of_the_whole(tmp_path):
    seen = []

    def write(path):
        files.write(path / "parts" / "edit.safetensors", "new")
        seen.extend(files_in(tmp_path))
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RecordError, match=r"/kept: cannot be written: the disk is full"):
        files.keep(tmp_path / "kept", write)
    assert [name.count(".part") for name in seen] == [1] * len(seen)
    assert files_in(tmp_path) == set()


def test_a_failed_write_leaves_what_was_there(tmp_path):
    files.write(tmp_path / "made", "old")
    with pytest.raises(KeyError), files.replacing(tmp_path / "made") as path:
        path.write_text("new")
        raise KeyError
    assert (tmp_path / "made").read_text() == "old"
    assert files_in(tmp_path) == {"made"}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; free some space and run the same"),
        (OSError(errno.EFBIG, "File too large"), "larger than allowed"),
        (OSError(errno.EROFS, "Read-only file system"), "the disk is read-only; choose another place"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), "the path is too long; choose a shorter one"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "has vanished; run the same command again"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk is full"),
        (Exception("No space left on device (os error 28)"), "the disk is full"),
        (OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left"), "the disk is full"),
        (OSError("image file is truncated"), "cannot be written: image file is truncated"),
    ],
)
def test_an_error_of_the_disk_is_one_sentence_with_the_path_and_leaves_nothing(tmp_path, error, sentence):
    for write in (files.replacing, _keeping):
        with pytest.raises(RecordError, match=sentence) as caught, write(tmp_path / "made") as path:
            path.write_text("half")
            raise error
        assert str(caught.value).startswith(f"{tmp_path / 'made'}: cannot be written: ")
        assert files_in(tmp_path) == set()


def _keeping(path):
    class Keeping:
        def __enter__(self):
            return path.parent / "elsewhere"

        def __exit__(self, kind, error, trace):
            (path.parent / "elsewhere").unlink()

            def fail(made):
                made.write_text("half")
                raise error

            files.keep(path, fail)

    return Keeping()


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (ModelError("training changed nothing"), ZeroDivisionError("division by zero")):
        with pytest.raises(type(error)), files.replacing(tmp_path / "made"):
            raise error


def test_a_folder_that_is_not_empty_is_not_replaced(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "whose").write_text("theirs")
    with pytest.raises(RecordError, match="there already and not empty"), files.replacing(tmp_path / "made") as path:
        model(path)
    assert files_in(tmp_path) == {"made", "made/whose"}


def test_a_name_that_is_too_long_and_a_file_in_the_way_are_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for path, sentence in (
        (tmp_path / ("n" * 300), "too long"),
        (tmp_path / ("n" * 300) / "made", "too long"),
        (tmp_path / "file" / "made", "a file, not a folder"),
        (tmp_path / "file" / "deeper" / "made", "a file, not a folder"),
    ):
        with pytest.raises(RecordError, match=sentence):
            files.write(path, "")
        with pytest.raises(RecordError, match=sentence):
            files.append_line(path, b"")
    assert files_in(tmp_path) == {"file"}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("make", "part"), [(document, "."), (model, "parts/model.safetensors")])
def test_a_damaged_file_is_named_put_aside_and_made_again(tmp_path, caplog, make, part, damage):
    kept = tmp_path / "kept"
    for _ in range(2):  # the second time there is an older damaged one
        files.keep(kept, make)
        assert files.intact(kept)
        (kept / part).write_bytes(damage((kept / part).read_bytes()))
        assert not files.intact(kept)
        assert not kept.exists()
        assert f"{kept}: damaged; put aside as kept.damaged and computed again" in caplog.text
        assert {path.name for path in tmp_path.iterdir()} == {"kept.damaged"}
    files.keep(kept, make)
    assert files.intact(kept)


def test_a_file_more_or_less_is_damage_to_a_folder(tmp_path):
    for change in (lambda path: (path / "more").write_text(""), lambda path: (path / "config.json").unlink()):
        files.keep(tmp_path / "kept", model)
        change(tmp_path / "kept")
        assert not files.intact(tmp_path / "kept")


def test_a_checksum_that_is_damaged_or_lost_accepts_nothing(tmp_path):
    kept, checksum = tmp_path / "kept", tmp_path / "kept.sha256"
    for damage in (lambda: checksum.unlink(), lambda: checksum.write_bytes(b""), lambda: checksum.write_bytes(b"\xff")):
        files.keep(kept, document)
        damage()
        files._verified.clear()  # as in another process
        assert not files.intact(kept)
        assert not kept.exists()


def test_a_kill_between_checksum_and_content_leaves_the_old_content_intact(tmp_path, monkeypatch):
    kept, replace = tmp_path / "kept", os.replace
    files.keep(kept, lambda path: path.write_text("old"))

    def killed(source, target):
        if target == kept:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        files.keep(kept, lambda path: path.write_text("new"))
    files._verified.clear()
    assert files.intact(kept)
    assert kept.read_text() == "old"


def test_what_was_verified_is_read_again_only_after_a_change(tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    files.keep(kept, document)
    files._verified.clear()
    read, digest = [], files.sha256_of
    monkeypatch.setattr(files, "sha256_of", lambda path: read.append(path) or digest(path))
    assert files.intact(kept)
    assert files.intact(kept)
    assert read == [kept]
    kept.write_text("other")
    assert not files.intact(kept)
    assert read == [kept, kept]


def test_what_a_killed_process_left_goes_and_what_others_make_stays(tmp_path):
    stays = [left_by(os.getpid(), tmp_path), left_by(ended_process(), tmp_path, host="elsewhere")]
    old = left_by(ended_process(), tmp_path / "old", host="elsewhere")
    os.utime(old, (0, time.time() - 2 * 24 * 3600))
    reused = left_by(os.getpid(), tmp_path / "reused")
    os.utime(reused, (0, 0))
    killed = left_by(ended_process(), tmp_path)
    (tmp_path / "film.mkv.part").write_text("of another program")
    files.sweep(tmp_path, tmp_path / "old", tmp_path / "reused", tmp_path / "missing")
    assert not killed.exists()
    assert not old.exists()
    assert not reused.exists()
    assert all(path.exists() for path in stays)
    assert (tmp_path / "film.mkv.part").exists()


def test_writing_beside_what_a_killed_process_left_deletes_it(tmp_path):
    left_by(ended_process(), tmp_path)
    files.write(tmp_path / "report.html", "")
    assert files_in(tmp_path) == {"report.html"}


def test_a_line_that_a_kill_cut_short_goes(tmp_path):
    log = tmp_path / "log.jsonl"
    for before in ("", "1", "1\n2"):
        log.write_text(before)
        files.append_line(log, b"3")
    assert log.read_text() == "1\n3\n"


def save_tensors(path):
    from safetensors.numpy import save_file

    save_file({"weights": np.zeros(10_000)}, path)


def save_table(path):
    pd.DataFrame({"answer": np.random.default_rng(0).random(10_000)}).to_parquet(path)


def save_picture(path):
    Image.effect_noise((200, 200), 50).save(path, "PNG")


def save_tokenizer(path):
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({str(number): number for number in range(5000)}, "0")).save(str(path))


def save_text(path):
    path.write_text("answer\n" * 5000)


@pytest.fixture
def limited():
    """No file may become larger than this, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("save", [save_tensors, save_table, save_picture, save_tokenizer, save_text])
def test_what_libraries_raise_when_a_file_gets_too_large_is_one_sentence(tmp_path, limited, save):
    with pytest.raises(RecordError, match="made: cannot be written: the file would be larger than allowed"):
        files.keep(tmp_path / "made", save)
    with pytest.raises(RecordError, match="larger than allowed"), files.replacing(tmp_path / "made") as path:
        save(path)
    assert files_in(tmp_path) == set()
