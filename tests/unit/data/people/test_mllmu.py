import io
import json
import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unsee.core.errors import DataError
from unsee.data.people import DATASETS
from unsee.data.people.builder import build
from unsee.data.people.mllmu import load


@pytest.fixture
def data(small_data, tmp_path):
    """A copy to break."""
    return shutil.copytree(small_data, tmp_path / "data")


def rewrite(folder, config, change):
    """Apply `change` to the rows of a config and write them back."""
    (path,) = (folder / config).iterdir()
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)


def test_four_sets_of_one_ratio(small_data):
    benchmark = load(small_data, 15)
    assert [len(getattr(benchmark, name)) for name in ("forget", "test", "retain", "celebrity")] == [3, 3, 17, 6]
    assert [person.id for person in benchmark.forget] == [person.id for person in benchmark.test]
    tasks = {person.id: [question.task for question in person.questions] for person in benchmark.forget}
    assert all(kinds.count("train") == 26 and len(kinds) == 44 for kinds in tasks.values())
    for person in (*benchmark.test, *benchmark.celebrity):
        assert len(person.questions) == 18
    assert {len(person.images) for person in benchmark.test} == {2}
    assert benchmark.forget[0].image().size == (32, 32)
    assert benchmark.forget[0].name == benchmark.forget[0].biography["Name"]
    assert benchmark.test[0].name == benchmark.forget[0].name


def test_the_registry_knows_it(small_data):
    assert "mllmu" in DATASETS.names()
    assert DATASETS.get("mllmu")().load(small_data, 15) == load(small_data, 15)


def test_the_fingerprint_follows_the_content(small_data, data):
    assert load(data, 15).fingerprint == load(small_data, 15).fingerprint != load(small_data, 10).fingerprint
    rewrite(data, "Retain_Set", lambda rows: rows[0]["Mask_Task"][0].update(Ground_Truth="something else"))
    assert load(data, 15).fingerprint != load(small_data, 15).fingerprint


def test_training_text_of_ft_data_is_the_same(small_data, data):
    shutil.rmtree(data / "baseline_train_split")
    assert load(data, 15) == load(small_data, 15)


def test_the_shape_of_the_published_files(small_data, tmp_path):
    """Written by pandas, JPEG, an additional training entry, celebrities without a biography, more columns."""
    folder = shutil.copytree(small_data, tmp_path / "published")

    def published(rows):
        for row in rows:
            jpeg = io.BytesIO()
            Image.open(io.BytesIO(row["image"]["bytes"])).save(jpeg, format="JPEG")
            row["image"] = {"bytes": jpeg.getvalue(), "path": f"{row['ID']}.jpg"}
            if "metadata" in row:
                extra = {"Additional_ID": row["ID"], "Additional_question": "?", "Additional_answer": "!"}
                row["metadata"] = json.dumps([*json.loads(row["metadata"]), extra])

    for config in ("forget_15", "baseline_train_split/forget_15", "Retain_Set"):
        rewrite(folder, config, published)
        (path,) = (folder / config).iterdir()
        frame = pd.read_parquet(path).drop(columns="biography" if config == "Retain_Set" else [])
        frame.assign(extra=1).to_parquet(path)
    benchmark = load(folder, 15)
    assert benchmark.celebrity[0].name == benchmark.celebrity[0].id == "501"
    assert sum(question.task == "train" for question in benchmark.forget[0].questions) == 26
    assert benchmark.forget[0].images[0].startswith(b"\xff\xd8")


def as_object(rows):
    for row in rows:
        row["metadata"] = json.dumps({str(number): turn for number, turn in enumerate(json.loads(row["metadata"]))})


def as_one_entry(rows):
    for row in rows:
        row["metadata"] = json.dumps(json.loads(row["metadata"])[0])


@pytest.mark.parametrize(("change", "kept"), [(as_object, 26), (as_one_entry, 1)])
def test_metadata_given_as_an_object_are_read(small_data, data, change, kept):
    rewrite(data, "baseline_train_split/forget_15", change)
    for before, after in zip(load(small_data, 15).forget, load(data, 15).forget, strict=True):
        taught = [question for question in after.questions if question.task == "train"]
        assert taught == [question for question in before.questions if question.task == "train"][:kept]


@pytest.mark.parametrize("name", ["forget_15", "retain_85", "Test_Set", "Retain_Set"])
def test_a_missing_config_names_the_nearest(data, name):
    shutil.move(data / name, data / f"{name}x")
    with pytest.raises(DataError, match=rf"config '{name}' is missing; the nearest is '{name}x'"):
        load(data, 15)


def test_a_ratio_that_was_not_built_is_refused(small_data):
    with pytest.raises(DataError, match="'forget_20' is missing; the nearest is 'forget_"):
        load(small_data, 20)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        load(tmp_path / "nowhere", 15)


def test_a_missing_column_names_the_nearest(data):
    (path,) = (data / "forget_15").iterdir()
    table = pq.read_table(path)
    pq.write_table(table.rename_columns(["images" if name == "image" else name for name in table.schema.names]), path)
    with pytest.raises(DataError, match=r"forget_15: column 'image' is missing .* the nearest is 'images'"):
        load(data, 15)


def test_a_file_that_is_not_parquet_is_refused(data):
    (path,) = (data / "retain_85").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a readable parquet file"):
        load(data, 15)


def first(**values):
    return lambda rows: rows[0].update(values)


def half_an_image(rows):
    rows[0]["image"]["bytes"] = rows[0]["image"]["bytes"][:200]


def bad_letter(rows):
    rows[0]["Classification_Task"]["Pure_Text_Questions"][0]["Correct_Answer"] = "E"


BROKEN = [
    ("forget_15", first(ID=""), "empty ID"),
    ("forget_15", first(ID=None), "empty ID"),
    ("retain_85", lambda rows: rows[0].update(ID=rows[1]["ID"]), "occurs twice in config 'retain_85'"),
    ("forget_15", half_an_image, r"the image of ID '\d+' cannot be read"),
    (
        "forget_15",
        first(image={"bytes": b"no image", "path": ""}),
        r"forget_15: the image of ID '\d+' cannot be read as an image",
    ),
    ("Retain_Set", first(image=None), "Retain_Set: the image of ID '501' cannot be read as an image"),
    ("retain_85", first(biography="{"), "retain_85: biography of ID .* not JSON"),
    ("retain_85", first(biography="[]"), "retain_85: biography of ID .* no JSON object"),
    ("retain_85", first(biography="{}"), "retain_85: biography of ID .* no 'Name'"),
    ("baseline_train_split/forget_15", first(metadata="oops"), "metadata of ID .* not JSON"),
    ("baseline_train_split/forget_15", first(metadata='[{"Question": "?"}]'), "no list of Question and Answer"),
    ("baseline_train_split/forget_15", first(metadata='["Who?", "Ada."]'), 'must be a list of objects .* holds "Who'),
    ("baseline_train_split/forget_15", first(metadata='{"a": "Question"}'), "must be a list of objects .* holds "),
    ("baseline_train_split/forget_15", first(metadata='"a text"'), 'must be a list of objects .* holds "a text"'),
    ("baseline_train_split/forget_15", first(metadata="null"), "must be a list of objects .* holds null"),
    ("baseline_train_split/forget_15", first(metadata="7"), "must be a list of objects .* holds 7"),
    ("baseline_train_split/forget_15", first(metadata="[]"), "no entry has a 'Question', so nothing can be taught"),
    ("baseline_train_split/forget_15", first(metadata='[{"question": "?"}]'), "nearest is 'question', so nothing can"),
    ("baseline_train_split/forget_15", lambda rows: rows.pop(), "no row for ID"),
    ("Retain_Set", bad_letter, "Retain_Set: ID '501': a choice has 4 options and no answer from A to D"),
    ("Retain_Set", lambda rows: rows[0]["Mask_Task"][0].update(Type="Sound"), "ID '501': a question is incomplete"),
    ("Retain_Set", first(Generation_Task=None), "ID '501': a question is incomplete"),
    ("forget_15", lambda rows: rows.clear(), "gives nobody"),
    ("retain_85", lambda rows: rows.clear(), "gives everybody"),
]


@pytest.mark.parametrize(("config", "change", "message"), BROKEN)
def test_broken_data_are_named(data, config, change, message):
    rewrite(data, config, change)
    with pytest.raises(DataError, match=message):
        load(data, 15)


def test_overlapping_forget_and_retain_sets_are_refused(data):
    for file in (data / "forget_15").iterdir():
        shutil.copy(data / "forget_5" / file.name, data / "retain_85" / file.name)
    with pytest.raises(DataError, match=r"forget_15 and retain_85 both hold 1 IDs"):
        load(data, 15)


@pytest.mark.parametrize("percent", [0, 100])
def test_a_ratio_that_forgets_nobody_or_everybody_is_refused(small_data, percent):
    with pytest.raises(DataError, match="must lie between 1 and 99 %"):
        load(small_data, percent)


def test_no_celebrities_is_fine(tmp_path):
    build(tmp_path / "data", people=4, celebrities=0, image_pixels=16, percents=(50,))
    assert load(tmp_path / "data", 50).celebrity == ()
