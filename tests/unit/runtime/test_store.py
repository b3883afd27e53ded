"""A store that machines share which share no disk: what one computed, the other takes."""

import fsspec
import pytest

from unsee.core.errors import RecordError
from unsee.core.files import CHECKSUM
from unsee.runtime.cache import Cache
from unsee.runtime.contents import clear
from unsee.runtime.store import VARIABLE

URLS = ("memory://unsee", "file")


@pytest.fixture(params=URLS)
def url(request, tmp_path):
    yield f"file://{tmp_path / 'store'}" if request.param == "file" else request.param
    files = fsspec.filesystem("memory")
    if files.exists("/unsee"):
        files.rm("/unsee", recursive=True)


@pytest.fixture
def machine(tmp_path, monkeypatch, url):
    """Opens the cache of a machine by its name; all have the same store."""
    monkeypatch.setenv(VARIABLE, url)

    def opened(name):
        monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / name))
        return Cache(tmp_path / f"run-{name}")

    return opened


def write_folder(path):
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "a.txt").write_text("of the first")


WRITES = {"answers.parquet": lambda path: path.write_bytes(b"of the first"), "folder": write_folder}


@pytest.mark.parametrize("name", WRITES)
def test_another_machine_finds_what_one_has_kept(machine, name):
    first = machine("first")
    first.keep(first.path("answers", name), WRITES[name])
    second = machine("second")
    path = second.path("answers", name)
    assert not path.exists() and second.holds(path)
    content = path / "deep" / "a.txt" if path.is_dir() else path
    assert content.read_bytes() == b"of the first" and second.holds(path)


def test_what_no_machine_has_is_not_there(machine):
    cache = machine("first")
    assert not cache.holds(cache.path("answers", "none.parquet"))


def test_a_copy_that_was_damaged_is_not_used(machine, url, caplog):
    first = machine("first")
    first.keep(first.path("answers", "a.parquet"), WRITES["answers.parquet"])
    files, root = fsspec.core.url_to_fs(url)
    files.pipe(f"{root}/answers/a.parquet", b"something else")
    second = machine("second")
    assert not second.holds(second.path("answers", "a.parquet"))
    assert not list((second.folder / "answers").glob("*")) and "damaged" in caplog.text


def test_a_copy_that_was_not_finished_is_not_used(machine, url):
    first = machine("first")
    first.keep(first.path("answers", "a.parquet"), WRITES["answers.parquet"])
    files, root = fsspec.core.url_to_fs(url)
    files.rm(f"{root}/answers/a.parquet{CHECKSUM}")
    second = machine("second")
    assert not second.holds(second.path("answers", "a.parquet"))


def test_what_belongs_to_a_run_is_deleted_from_the_store_too(machine, tmp_path):
    first = machine("first")
    for name in ("a.parquet", "b.parquet"):
        owner = first if name == "a.parquet" else Cache()
        owner.keep(owner.path("answers", name), WRITES["answers.parquet"])
    clear(tmp_path / "run-first")
    second = machine("second")
    assert [second.holds(second.path("answers", name)) for name in ("a.parquet", "b.parquet")] == [False, True]


def test_a_run_goes_on_if_the_store_fails(machine, url, tmp_path, monkeypatch, caplog):
    cache = machine("first")

    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(type(cache._store._files), "put", fail)
    for name in ("a.parquet", "b.parquet"):
        cache.keep(cache.path("answers", name), WRITES["answers.parquet"])
        assert cache.holds(cache.path("answers", name))
    assert caplog.text.count("no network") == 1


@pytest.mark.parametrize("url", ["nonsense://bucket", "nonsense", "file://relative"])
def test_a_store_that_cannot_be_used_is_one_sentence(tmp_path, monkeypatch, url):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path))
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(RecordError, match=VARIABLE) as caught:
        Cache()
    assert "\n" not in str(caught.value)
