import hashlib
import json

import pyarrow.parquet as pq
import pytest

from unsee.core.errors import DataError, RecordError
from unsee.data.people.builder import build
from unsee.data.people.layout import SCHEMAS, forget_sets

CONFIGS = {
    "Full_Set": ("full", 20), "ft_Data": ("train", 20), "Test_Set": ("test", 20), "Retain_Set": ("subset", 6),
    "forget_5": ("subset", 1), "forget_10": ("subset", 2), "forget_15": ("subset", 3),
    "retain_95": ("subset", 19), "retain_90": ("subset", 18), "retain_85": ("subset", 17),
}  # fmt: skip


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows(folder, config):
    return pq.read_table(folder / config).to_pylist()


def test_ten_configs_in_the_published_layout(small_data):
    for config, (schema, count) in CONFIGS.items():
        files = sorted((small_data / config).iterdir())
        number = 2 if config == "Test_Set" else 1
        assert [file.name for file in files] == [f"train-{i:05}-of-{number:05}.parquet" for i in range(number)]
        assert all(pq.read_schema(file).equals(SCHEMAS[schema]) for file in files)
        assert len(rows(small_data, config)) == count
    for config in ("forget_5", "forget_10", "forget_15", "retain_95", "retain_90", "retain_85"):
        ids = [row["ID"] for row in rows(small_data, config)]
        assert ids == [row["ID"] for row in rows(small_data, f"baseline_train_split/{config}")]


def test_rows_have_the_published_shape(small_data):
    row = rows(small_data, "Full_Set")[0]
    assert row["ID"] == "001" and row["Directory"] == "Full_Set/data_original/001.png"
    biography = json.loads(row["biography"])
    assert {"Name", "Born", "Employment", "appearance_detail"} <= biography.keys()
    assert biography["appearance_detail"] == {"question": row["question"], "answer": row["answer"]}
    assert {key: len(value) for key, value in row["Classification_Task"].items()} == {
        "Image_Textual_Questions": 5,
        "Pure_Text_Questions": 5,
    }
    for column in ("Generation_Task", "Mask_Task"):
        assert [item["Type"] for item in row[column]] == ["Image_Textual"] * 2 + ["Pure_Text"] * 2
    turns = json.loads(rows(small_data, "ft_Data")[0]["metadata"])
    assert len(turns) == 26 and all(set(turn) == {"ID", "Question", "Answer"} for turn in turns)
    assert [row["ID"] for row in rows(small_data, "Retain_Set")] == [str(number) for number in range(501, 507)]


def test_test_photos_are_other_photos(small_data):
    originals = {row["ID"]: row["image"]["bytes"] for row in rows(small_data, "Full_Set")}
    for row in rows(small_data, "Test_Set"):
        assert len({originals[row["ID"]], *(image["bytes"] for image in row["images"])}) == 3


def test_same_arguments_same_bytes(small_data, tmp_path):
    arguments = {"people": 20, "celebrities": 6, "seed": 1, "image_pixels": 32}
    build(tmp_path / "again", **arguments)
    assert contents(tmp_path / "again") == contents(small_data)
    build(tmp_path / "other", **arguments | {"seed": 2})
    assert contents(tmp_path / "other") != contents(small_data)


def test_forget_sets_are_nested_and_never_empty():
    sets = forget_sets(60, (5, 10, 15), seed=0)
    assert [len(sets[percent]) for percent in (5, 10, 15)] == [3, 6, 9]
    assert sets[5] < sets[10] < sets[15]
    assert forget_sets(60, (15,), seed=0)[15] == sets[15] != forget_sets(60, (15,), seed=1)[15]
    assert len(forget_sets(3, (5,), seed=0)[5]) == 1


@pytest.mark.parametrize(
    "arguments",
    [{"people": 1}, {"people": 0}, {"people": 501}, {"people": 4, "percents": (99,)}, {"people": 4, "percents": (0,)},
     {"people": 4, "celebrities": 154}, {"people": 4, "test_images": 0}, {"people": 4, "image_pixels": 1}],
)  # fmt: skip
def test_bad_numbers_leave_nothing_behind(tmp_path, arguments):
    with pytest.raises(DataError):
        build(tmp_path / "data", **{"celebrities": 0, "image_pixels": 16} | arguments)
    assert not any(tmp_path.iterdir())


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RecordError, match="not empty"):
        build(tmp_path, people=4, celebrities=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise OSError("disk full")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    with pytest.raises(RecordError, match="disk full"):
        build(tmp_path / "data", people=2, celebrities=0, image_pixels=16)
    assert not any(tmp_path.iterdir())
