import pytest

from unsee.core.journal import Journal

REPLIES = {"a": "Oslo", "b": None, "c": [1.5, {"text": "ä"}], "d": float("inf")}


def written(path):
    journal = Journal(path)
    for key, reply in REPLIES.items():
        journal.add(key, reply)
    return journal


def replies(path):
    journal = Journal(path)
    return {key: journal[key] for key in journal}


def test_replies_come_back(tmp_path):
    assert list(written(tmp_path / "journal")) == list(REPLIES)
    assert replies(tmp_path / "journal") == REPLIES
    written(tmp_path / "other")
    assert "c" in Journal(tmp_path / "new", [tmp_path / "other", tmp_path / "missing"])


@pytest.mark.parametrize("place", range(0, 60, 7))
def test_a_flipped_byte_loses_its_line_alone_and_is_named(tmp_path, caplog, place):
    path = tmp_path / "journal"
    written(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert replies(path) == {key: reply for key, reply in REPLIES.items() if key != "a"}
    assert f"{path}: damaged; put aside as journal.damaged, and 1 replies are asked for again" in caplog.text
    assert (tmp_path / "journal.damaged").read_bytes() == content
    caplog.clear()
    assert len(replies(path)) == 3
    assert not caplog.text


def test_a_line_that_a_kill_cut_short_goes_in_silence(tmp_path, caplog):
    path = tmp_path / "journal"
    written(path)
    path.write_bytes(path.read_bytes()[:-5])
    journal = Journal(path)
    assert list(journal) == ["a", "b", "c"]
    journal.add("e", 1)
    assert list(Journal(path)) == ["a", "b", "c", "e"]
    path.write_bytes(b"")
    assert not list(Journal(path))
    assert not caplog.text


def test_a_journal_of_an_earlier_version_is_read(tmp_path):
    (tmp_path / "journal").write_text('{"key": "a", "reply": 7}\n')
    assert replies(tmp_path / "journal") == {"a": 7}


def test_a_reply_that_was_added_twice_is_no_damage(tmp_path, caplog):
    written(tmp_path / "journal").add("a", "Lima")
    assert replies(tmp_path / "journal") == REPLIES | {"a": "Lima"}
    assert not caplog.text
