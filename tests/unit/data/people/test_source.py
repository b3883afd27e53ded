"""A second format beside MLLMU-Bench's: what is fetched for it, and what is refused."""

import json

import huggingface_hub
import pytest
import tiny

from unsee.config.recipe import DataConfig, build_table
from unsee.core.errors import ConfigError, DataError, UnknownNameError
from unsee.data.people import DATASETS
from unsee.data.people.base import Dataset, make_benchmark
from unsee.data.people.source import open_benchmark, pin
from unsee.data.schema import Person, Question


class Names(Dataset):
    """One JSON file with the names of each set."""

    hub = "somebody/names"

    def files(self, percent, *, with_training_text):
        return [f"{percent}.json"]

    def load(self, folder, percent, training_text=None):
        names = json.loads((folder / f"{percent}.json").read_text())
        return make_benchmark(**{set_name: [person(name) for name in each] for set_name, each in names.items()})


class Apart(Names):
    """The same, with training text published apart."""

    training_hub = "somebody/texts"

    def load(self, folder, percent, training_text=None):
        assert training_text is not None and (training_text / "text.json").is_file()
        return super().load(folder, percent)


def person(name):
    question = Question(task="generation", input="text", question=f"Who is {name}?", answer=name)
    return Person(id=name, name=name, images=(tiny.png(),), questions=(question,))


@pytest.fixture(autouse=True)
def formats(monkeypatch):
    known = {"names": Names, "apart": Apart}
    get = DATASETS.get
    monkeypatch.setattr(DATASETS, "get", lambda name: known[name] if name in known else get(name))


@pytest.fixture
def folder(tmp_path):
    names = {"forget": ["Ada"], "test": ["Ada"], "retain": ["Bela"], "celebrity": ["Cleo"]}
    (tmp_path / "c0ffee").mkdir()
    (tmp_path / "c0ffee" / "5.json").write_text(json.dumps(names))
    (tmp_path / "c0ffee" / "text.json").write_text("[]")
    return tmp_path / "c0ffee"


@pytest.fixture
def hub(folder, monkeypatch):
    """A hub that has the folder under every name; keeps what it is asked."""
    asked = []

    def download(name, *, repo_type, revision, allow_patterns):
        asked.append((name, repo_type, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return asked


def test_a_folder_in_another_format_is_read_by_its_leaf(folder):
    benchmark = open_benchmark(str(folder), 5, format="names")
    assert [each[0].name for each in (benchmark.forget, benchmark.retain, benchmark.celebrity)] == [
        "Ada",
        "Bela",
        "Cleo",
    ]
    config = DataConfig(source=str(folder), format="names", forget_percent=5)
    assert pin(config) == config


def test_the_hub_is_asked_for_the_files_of_the_format(hub):
    config = pin(DataConfig(source="somebody/names", format="names", forget_percent=5))
    assert (config.source, config.format) == ("somebody/names@c0ffee", "names")
    assert hub == [("somebody/names", "dataset", ["5.json"])]


def test_training_text_apart_is_a_dataset_and_all_of_its_files_unless_the_format_says_otherwise(hub):
    text = "somebody/texts"
    assert open_benchmark("somebody/names", 5, text, "apart").forget[0].name == "Ada"
    assert hub[1] == (text, "dataset", ["*"])


def test_equal_content_has_equal_fingerprints_and_other_content_another(folder):
    before = open_benchmark(str(folder), 5, format="names").fingerprint
    assert open_benchmark(str(folder), 5, format="names").fingerprint == before
    (folder / "5.json").write_text((folder / "5.json").read_text().replace("Bela", "Dora"))
    assert open_benchmark(str(folder), 5, format="names").fingerprint != before


def test_what_cannot_be_is_one_sentence(folder):
    with pytest.raises(DataError, match=r"data\.training_text: data of this format hold their training text"):
        open_benchmark(str(folder), 5, str(folder), "names")
    with pytest.raises(DataError, match="no name on the hub such as somebody/names"):
        open_benchmark("no/such/folder", 5, format="names")
    with pytest.raises(UnknownNameError, match="dataset: unknown name 'mlmu'; did you mean 'mllmu'"):
        open_benchmark(str(folder), 5, format="mlmu")
    with pytest.raises(ConfigError, match="data: format = 'names' and its options belong to a source"):
        build_table(DataConfig, {"format": "names"}, "data")
