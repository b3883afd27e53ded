import os
import shutil
from functools import partial

import pytest
from leftovers import files_in

from unsee.core.errors import RecordError
from unsee.data.people.builder import build as build_people
from unsee.runtime.cache import make_folder


@pytest.mark.parametrize("kind", ["people", "documents"])
@pytest.mark.parametrize("moment", ["before it looks", "before it moves"])
def test_a_folder_that_another_run_made_meanwhile_is_kept(tmp_path, monkeypatch, documents, kind, moment):
    people = partial(build_people, people=3, celebrities=1, percents=(40,), test_images=1, image_pixels=16)
    build = people if kind == "people" else partial(shutil.copytree, documents)
    folder, move = tmp_path / "made", os.replace

    def theirs():
        folder.mkdir()
        (folder / "whose").write_text("theirs")

    def replace(source, target):
        if target == folder:
            theirs()
        move(source, target)

    if moment == "before it looks":
        theirs()
    else:
        monkeypatch.setattr(os, "replace", replace)
    make_folder(folder, build)
    assert files_in(tmp_path) == {"made", "made/whose", "made.sha256"}
    assert [path.name for path in folder.iterdir()] == ["whose"]


def test_a_folder_that_nobody_made_is_an_error(tmp_path):
    def make(folder):
        raise OSError("no space left")

    with pytest.raises(RecordError, match="no space left"):
        make_folder(tmp_path / "made", make)
