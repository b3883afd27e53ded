from functools import partial
from pathlib import Path

import pytest

from unsee.data.documents.builder import build as build_documents
from unsee.data.people.builder import build as build_people
from unsee.runtime.cache import make_folder


@pytest.mark.parametrize(
    "build",
    [
        partial(build_people, people=3, celebrities=1, percents=(40,), test_images=1, image_pixels=16),
        partial(build_documents, images=1),
    ],
)
@pytest.mark.parametrize("moment", ["before it looks", "before it moves"])
def test_a_folder_that_another_run_made_meanwhile_is_kept(tmp_path, monkeypatch, build, moment):
    folder, move = tmp_path / "made", Path.rename

    def theirs():
        folder.mkdir()
        (folder / "whose").write_text("theirs")

    def rename(self, target):
        theirs()
        return move(self, target)

    if moment == "before it looks":
        theirs()
    else:
        monkeypatch.setattr(Path, "rename", rename)
    make_folder(folder, build)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert [path.name for path in folder.iterdir()] == ["whose"]


def test_a_folder_that_nobody_made_is_an_error(tmp_path):
    def make(folder):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        make_folder(tmp_path / "made", make)
