import pytest

from unsee.cache import make_folder


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    def make(folder):
        folder.mkdir()
        (folder / "first").write_text("1")
        assert not (tmp_path / "made").exists()
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        make_folder(tmp_path / "made", make)
    assert not list(tmp_path.iterdir())


def test_what_another_run_made_meanwhile_stays(tmp_path):
    def make(folder):
        folder.mkdir()
        (folder / "whose").write_text("ours")
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "whose").write_text("theirs")

    make_folder(tmp_path / "made", make)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert (tmp_path / "made" / "whose").read_text() == "theirs"
