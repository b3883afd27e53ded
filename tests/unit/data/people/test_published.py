"""The published data as they are, and every trap in them."""

import shutil

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published import CELEBRITIES, FORGET, NAMES, PEOPLE, write_benchmark, write_training_text

from unsee.config.recipe import DataConfig
from unsee.core.errors import DataError
from unsee.data.people.mllmu import load
from unsee.data.people.source import open_benchmark, pin

CONFIGS = ("Full_Set", "ft_Data", "Test_Set", "Retain_Set", "forget_5", "retain_95")
HUB = "MLLMMU/MLLMU-Bench"


@pytest.fixture
def published(tmp_path):
    return write_benchmark(tmp_path / "MLLMU-Bench")


@pytest.fixture
def training(tmp_path):
    return write_training_text(tmp_path / "baseline_train_split")


def file_of(folder, config):
    return sorted((folder / config).iterdir())[0]


def told(benchmark):
    return [question.answer for question in benchmark.forget[0].questions if question.task == "train"]


@pytest.mark.parametrize("percent", [5, 10, 15])
def test_every_ratio_reads(published, percent):
    benchmark = load(published, percent)
    assert [person.id for person in benchmark.forget] == [person.id for person in benchmark.test]
    assert tuple(person.id for person in benchmark.forget) == FORGET[percent]
    assert sorted(person.id for person in (*benchmark.forget, *benchmark.retain)) == list(PEOPLE)
    assert benchmark.forget[0].name == NAMES[benchmark.forget[0].id]
    assert all(len(person.images) == 2 for person in benchmark.test)
    for person in (*benchmark.forget, *benchmark.retain):
        kinds = [question.task for question in person.questions]
        assert (len(kinds), kinds.count("train"), kinds.count("classification")) == (21, 3, 10)


def test_training_text_is_in_ft_data_or_in_the_other_repository(published, training):
    assert told(load(published, 5))[1].endswith("told once.")
    assert told(load(published, 5, training))[1].endswith("told again.")
    shutil.rmtree(published / "ft_Data")
    assert told(load(published, 5, training))[1].endswith("told again.")
    with pytest.raises(DataError, match="config 'ft_Data' is missing"):
        load(published, 5)


def test_two_repositories_with_equal_folders_are_told_apart(published, training):
    with pytest.raises(DataError, match="holds training text, so this is MLLMMU/baseline_train_split"):
        load(training, 5)
    with pytest.raises(DataError, match="no training text, so this is MLLMMU/MLLMU-Bench"):
        load(published, 5, published)


def test_celebrities_never_share_an_id_with_the_others(published):
    benchmark = load(published, 5)
    assert [person.id for person in benchmark.celebrity] == [f"celebrity-{identity}" for identity in CELEBRITIES]
    assert benchmark.celebrity[1].name == "Star 010" != benchmark.forget[0].name
    rows = pq.read_table(file_of(published, "Retain_Set"))
    ids = pa.array(["601", "602", "603"])
    pq.write_table(rows.set_column(rows.column_names.index("ID"), "ID", ids), file_of(published, "Retain_Set"))
    assert [person.id for person in load(published, 5).celebrity] == ["601", "602", "603"]


def test_numbers_as_ids_get_their_zeros_back(published):
    path = file_of(published, "ft_Data")
    rows = pq.read_table(path)
    ids = pa.array([int(identity) for identity in PEOPLE])
    pq.write_table(rows.set_column(rows.column_names.index("ID"), "ID", ids), path)
    assert load(published, 5).forget[0].id == "010"


@pytest.mark.parametrize("config", ["forget_5", "ft_Data", "Test_Set", "Retain_Set"])
def test_a_git_lfs_pointer_is_named(published, config):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 249561087\n"
    file_of(published, config).write_text(pointer)
    with pytest.raises(DataError, match=rf"a git-LFS pointer instead of the data; run `git lfs pull` in .*{config}"):
        load(published, 5)


def test_a_missing_part_of_a_config_is_named(published):
    file_of(published, "Test_Set").unlink()
    with pytest.raises(DataError, match="Test_Set: only 1 of 2 parquet files"):
        load(published, 5)


def renamed(config, old, new):
    def change(folder):
        path = file_of(folder, config)
        table = pq.read_table(path)
        pq.write_table(table.rename_columns([new if name == old else name for name in table.column_names]), path)

    return change


def reshaped(config, column, change):
    """Rewrite one column's values under the type that follows from them."""

    def apply(folder):
        path = file_of(folder, config)
        table = pq.read_table(path)
        values = pa.array([change(value) for value in table[column].to_pylist()])
        pq.write_table(table.set_column(table.column_names.index(column), column, values), path)

    return apply


def with_key(old, new):
    return lambda value: {new if key == old else key: content for key, content in value.items()}


def in_rows(change):
    return lambda rows: [change(row) for row in rows]


def in_choices(value):
    rename = with_key("Correct_Answer", "Answer")
    return {key: [rename(row) for row in rows] for key, rows in value.items()}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (renamed("forget_5", "Mask_Task", "Cloze_Task"), r"forget_5: column 'Mask_Task' is missing .*'Cloze_Task'"),
        (renamed("Test_Set", "images", "image"), "Test_Set: column 'images' is missing .*the nearest is 'image'"),
        (renamed("ft_Data", "metadata", "meta_data"), "ft_Data: column 'metadata' is missing .*nearest is 'meta_data'"),
        (
            reshaped("retain_95", "Classification_Task", with_key("Pure_Text_Questions", "Text_Questions")),
            r"retain_95: column 'Classification_Task' has no 'Pure_Text_Questions' .*nearest is 'Text_Questions'",
        ),
        (
            reshaped("Retain_Set", "Classification_Task", in_choices),
            r"'Classification_Task'\.Image_Textual_Questions\[\] has no 'Correct_Answer' .*nearest is 'Answer'",
        ),
        (
            reshaped("forget_5", "Generation_Task", in_rows(with_key("Ground_Truth", "Truth"))),
            r"forget_5: column 'Generation_Task'\[\] has no 'Ground_Truth' .*the nearest is 'Truth'",
        ),
        (reshaped("forget_5", "image", lambda value: value["path"]), "forget_5: column 'image' is string"),
        (reshaped("forget_5", "biography", lambda value: {"Name": "Ada"}), "column 'biography' is struct<Name"),
        (
            reshaped("forget_5", "biography", lambda value: value.replace('"Name"', '"Full_Name"')),
            "biography of ID '010' has no 'Name'; the nearest is 'Full_Name'",
        ),
        (
            reshaped("forget_5", "Mask_Task", in_rows(lambda row: row | {"Ground_Truth": " "})),
            "forget_5: ID '010': a question is incomplete .*'Ground_Truth' is empty",
        ),
    ],
)
def test_another_column_name_gives_config_column_and_nearest(published, damage, sentence):
    damage(published)
    with pytest.raises(DataError, match=sentence):
        load(published, 5)


@pytest.fixture
def cache(published, tmp_path):
    """The hub's cache of the repository: snapshots of links to blobs."""
    cache = tmp_path / "datasets--MLLMMU--MLLMU-Bench"
    (cache / "blobs").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("c0ffee")
    for number, path in enumerate(sorted(published.rglob("*.parquet"))):
        link = cache / "snapshots" / "c0ffee" / path.relative_to(published)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, cache / "blobs" / f"{number:040}")
        link.symlink_to(f"../../../blobs/{number:040}")
    return cache


def test_a_cache_of_the_hub_is_a_source(published, cache):
    expected = load(published, 5)
    assert open_benchmark(str(cache), 5) == open_benchmark(str(cache / "snapshots" / "c0ffee"), 5) == expected
    (cache / "refs" / "main").unlink()
    assert open_benchmark(str(cache), 5) == expected
    (cache / "snapshots" / "decade").mkdir()
    with pytest.raises(DataError, match="2 versions, none of them marked as main; give one of them"):
        open_benchmark(str(cache), 5)


def test_a_cache_without_its_blobs_is_refused(cache):
    shutil.rmtree(cache / "blobs")
    with pytest.raises(DataError, match="a link to a file that is not here; copy the cache with its folder 'blobs'"):
        open_benchmark(str(cache), 5)


def test_a_cache_unpacked_with_links_as_text_is_refused(cache):
    path = file_of(cache / "snapshots" / "c0ffee", "forget_5")
    target = path.readlink()
    path.unlink()
    path.write_text(str(target))
    with pytest.raises(DataError, match="a link of the hub's cache that was unpacked as text"):
        open_benchmark(str(cache), 5)


def test_the_hubs_parquet_conversion_reads(published):
    for path in sorted(published.rglob("*.parquet")):
        (path.parent / "train").mkdir(exist_ok=True)
        path.rename(path.parent / "train" / f"{path.name[9:11]}00.parquet")
    assert len(load(published, 5).retain) == 5


@pytest.fixture
def hub(cache, training, monkeypatch):
    """A hub that has both repositories; keeps what it is asked."""
    asked = []

    def download(name, *, repo_type, revision, allow_patterns):
        asked.append((name, repo_type, revision, allow_patterns))
        if revision == "gone":
            raise huggingface_hub.errors.LocalEntryNotFoundError("No revision gone.\nmore words")
        return str(cache / "snapshots" / "c0ffee" if repo_type == "dataset" else training)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return asked


def test_the_hub_is_asked_for_what_is_needed_and_pinned(hub, published):
    config = pin(DataConfig(source=HUB, forget_percent=5))
    assert (config.source, config.training_text) == (f"{HUB}@c0ffee", "")
    needed = ["forget_5/*", "retain_95/*", "Test_Set/*", "Retain_Set/*", "ft_Data/*"]
    assert hub == [(HUB, "dataset", None, needed)]
    assert open_benchmark(config.source, 5) == load(published, 5)
    assert hub[1] == (HUB, "dataset", "c0ffee", needed)


def test_training_text_from_the_hub_is_a_model_there(hub):
    config = pin(DataConfig(source=HUB, training_text="MLLMMU/baseline_train_split@v1", forget_percent=5))
    assert config.training_text == "MLLMMU/baseline_train_split@baseline_train_split"
    assert [(name, kind, revision) for name, kind, revision, _ in hub] == [
        (HUB, "dataset", None), ("MLLMMU/baseline_train_split", "model", "v1"),
    ]  # fmt: skip
    assert hub[0][3][-1] == "Retain_Set/*" and hub[1][3] == ["forget_5/*", "retain_95/*"]


def test_a_folder_is_pinned_by_its_content_alone(published):
    config = DataConfig(source=str(published), forget_percent=5)
    assert pin(config) == config.model_copy(update={"format": "mllmu"})
    assert pin(DataConfig()) == DataConfig()


def test_a_name_that_is_not_on_the_hub_is_one_sentence(hub):
    with pytest.raises(DataError) as error:
        open_benchmark(f"{HUB}@gone", 5)
    assert "no such folder, and it cannot be fetched from the hub (No revision gone)" in str(error.value)
    assert f"`hf download {HUB} --repo-type dataset --revision gone --local-dir DIR`" in str(error.value)


def test_without_a_connection_the_error_names_the_command(monkeypatch):
    """The real client, offline: no fetch, one sentence."""
    with pytest.raises(
        DataError, match=r"it cannot be fetched from the hub \(.*\); on a machine with a connection, run"
    ):
        open_benchmark(HUB, 5)
    with pytest.raises(DataError, match="no such folder, and no name on the hub such as MLLMMU/MLLMU-Bench"):
        open_benchmark("no/such/folder", 5)
