"""Whatever names a picture looks at it with the same eyes: when it is read, before a model is loaded."""

import json
import re
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pictures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from benchmark_files import llava_bench
from pictures import ORIENTATION, encoded, grey, png16
from PIL import Image

import unsee
from unsee.core.errors import DataError, ModelError
from unsee.core.record import Record
from unsee.data.deletion import read_request
from unsee.data.documents import PRIVACY
from unsee.data.pairs import load_pairs
from unsee.data.people import layout as layout_module
from unsee.data.people.base import make_benchmark
from unsee.data.people.custom import build_custom
from unsee.data.people.mllmu import load
from unsee.data.schema import Person
from unsee.runs.people import _show_portraits
from unsee.utility import UTILITY
from unsee.utility.evaluate import examine

ROW = {"question": "Where was this person born?", "answer": "In Brno.", "person": "Ada Novak"}
PAIR = {"subject": "Passport", "sensitive": "Number of the Passport?", "benign": "Colour of the Passport?"}
RECORD = {
    "case_id": 0, "image": "x.png", "paraphrase_prompts": ["Number of the Passport?"],
    "requested_rewrite": {"prompt": "Number of the {}?", "subject": "Passport", "target_new": {"str": "No."}},
    "neighborhood_prompts": ["Colour of the Passport?"],
}  # fmt: skip


def request(folder):
    (folder / "y.png").write_bytes(tiny.png(9))
    (folder / "forget.jsonl").write_text(json.dumps(ROW | {"image": "x.png"}))
    (folder / "retain.jsonl").write_text(json.dumps(ROW | {"image": "y.png", "person": "Bela Okafor"}))
    return read_request(folder / "forget.jsonl", folder / "retain.jsonl").forget[0].image()


def people(folder):
    (folder / "y.png").write_bytes(tiny.png(9))
    rows = ["id,name,portraits,job", "1,Ada Novak,x.png,pilot", "2,Bela Okafor,y.png,nurse"]
    (folder / "people.csv").write_text("\n".join(rows))
    build_custom(folder / "data", folder / "people.csv", folder, percents=(50,))
    benchmark = load(folder / "data", 50)
    (ada,) = [person for person in (*benchmark.forget, *benchmark.retain) if person.id == "1"]
    assert ada.images[0] == (folder / "x.png").read_bytes()
    return ada.image()


def pairs(folder):
    (folder / "pairs.jsonl").write_text(json.dumps(PAIR | {"refusal": "I do not tell.", "image": "x.png"}))
    return load_pairs(folder / "pairs.jsonl")[0].picture()


def layout(folder, small_data):
    shutil.copytree(small_data, folder / "data")
    path = folder / "data/forget_15/train-00000-of-00001.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["image"]["bytes"] = (folder / "x.png").read_bytes()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return load(folder / "data", 15).forget[0].image()


def privacy_pair(folder):
    (folder / "Passport.json").write_text(json.dumps([RECORD]))
    return PRIVACY.get("privacy_pair")().load(folder).cases[0].open()


def multi_p2a(folder):
    (folder / "multi_p2a_leakage_sen.json").write_text(json.dumps([{"prompt": "Who?", "image": ["x.png"]}]))
    (folder / "multi_p2a_leakage_insen.json").write_text("[]")
    return PRIVACY.get("multi_p2a")().load(folder).cases[0].open()


def utility(folder):
    llava_bench(folder / "llava")
    image = next((folder / "llava/images").iterdir())
    image.write_bytes((folder / "x.png").read_bytes())
    benchmark = UTILITY.get("llava_bench")()
    (found, *_) = [item for item in benchmark.items(folder / "llava") if item.images[0] == image.read_bytes()]
    try:
        examine(str(folder / "no-model"), "llava_bench", str(folder / "llava"))
    except ModelError:  # the pictures were looked at before, and nothing was wrong with them
        return found.pictures()[0]
    raise AssertionError("a model that is not there was asked")


DOORS = {"request": request, "people": people, "pairs": pairs, "layout": layout, "privacy_pair": privacy_pair,
         "multi_p2a": multi_p2a, "utility": utility}  # fmt: skip


@pytest.fixture(params=DOORS)
def door(request, tmp_path, small_data):
    """Gives the content of a picture file to a reader, and gives back what a model would see of it."""

    def read(content):
        (tmp_path / "x.png").write_bytes(content)
        more = [small_data] if request.param == "layout" else []
        return DOORS[request.param](tmp_path, *more)

    return read


def _odd() -> dict[str, tuple[bytes, np.ndarray]]:
    """Files, and what is to be seen of each."""
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    half = np.where(np.arange(16)[None, :, None] < 8, 255, grey()[..., None]).repeat(3, 2)
    upright = Image.fromarray(half.astype(np.uint8))
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 4), dtype=np.uint8)
    noise[..., :3] = np.where(np.arange(16)[None, :, None] < 8, noise[..., :3], half)
    noise[..., 3] = np.where(np.arange(16)[None] < 8, 0, 255)
    return {
        "turned": (encoded(upright.transpose(Image.Transpose.ROTATE_90), exif=turned), half),
        "16 bits": (png16(grey().astype(np.uint16) * 257), grey()[..., None].repeat(3, 2)),
        "transparent": (encoded(Image.fromarray(noise)), half),
    }  # fmt: skip


@pytest.mark.parametrize("kind", _odd())
def test_every_reader_sees_a_picture_upright_in_8_bits_and_on_white(door, kind):
    content, seen = _odd()[kind]
    assert np.array_equal(np.asarray(door(content)), seen)


@pytest.mark.parametrize("fault", pictures.broken())
def test_every_reader_refuses_a_broken_picture_in_one_sentence(door, fault):
    with pytest.raises(DataError) as error:
        door(pictures.broken()[fault])
    sentence = str(error.value)
    assert len(sentence.splitlines()) == 1
    assert re.search("image|portrait", sentence)
    assert re.search("cannot be read as an image|20,000 x 20,000 pixels|5,000 x 20 pixels|1 x 1 pixels", sentence)


def test_the_broken_pictures_of_a_table_or_request_are_counted(tmp_path):
    for number, content in enumerate(pictures.broken().values()):
        (tmp_path / f"{number}.png").write_bytes(content)
    rows = [ROW | {"image": f"{number}.png"} for number in range(len(pictures.broken()))]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(DataError) as error:
        read_request(tmp_path / "rows.jsonl", tmp_path / "rows.jsonl")
    count, *problems = str(error.value).splitlines()
    assert count == f"{2 * len(rows)} problems"
    for number, problem in enumerate(problems):
        assert f"rows.jsonl, line {1 + number % len(rows)}: image '{number % len(rows)}.png' " in problem


def test_an_id_that_is_a_path_is_refused_in_data_of_any_format():
    for id in ("../x", "a/b", "..\\x", ".hidden", "a\0b", ""):
        person = Person(id=id, name="Ada", images=(tiny.png(),), questions=())
        with pytest.raises(DataError, match=r"^forget: ID .* names files; it must be short and hold no slash$"):
            make_benchmark(forget=[person], test=(), retain=(), celebrity=())


def test_portraits_for_the_page_are_what_their_name_says_small_and_without_notes(tmp_path, small_data):
    exif = Image.Exif()
    exif[0x010F] = "Camera of Ada"
    content = encoded(Image.new("RGB", (1200, 900), "red"), "JPEG", exif=exif)
    benchmark = load(small_data, 15)
    person = Person(id="7", name="Ada", images=(content,), questions=())
    record = Record.create(tmp_path / "run", "")
    _show_portraits(record, make_benchmark(forget=[person], test=(), retain=benchmark.retain[:1], celebrity=()))
    saved = tmp_path / "run/portraits/7.png"
    with Image.open(saved) as shown:
        assert (shown.format, shown.size) == ("PNG", (512, 384))
    assert b"Camera" not in saved.read_bytes()
    kept = benchmark.retain[0]
    assert (tmp_path / f"run/portraits/{kept.id}.png").read_bytes() == kept.images[0]


def test_a_benchmark_names_its_pictures_in_their_formats(tmp_path):
    kinds = ("JPEG", "PNG", "WEBP", "GIF")
    lines = ["id,name,portraits,job"]
    for number, kind in enumerate(kinds):
        for place in ("", "b"):
            (tmp_path / f"{number}{place}.jpg").write_bytes(encoded(tiny.photo(number), kind))
        lines.append(f"{number},Ada{number} Novak,{number}.jpg;{number}b.jpg,pilot{number}")
    (tmp_path / "people.csv").write_text("\n".join(lines))
    build_custom(tmp_path / "data", tmp_path / "people.csv", tmp_path)
    rows = pq.read_table(tmp_path / "data/Full_Set").to_pylist()
    assert [row["image"]["path"] for row in rows] == ["0.jpg", "1.png", "2.webp", "3.gif"]
    assert [row["Directory"].rpartition("/")[2] for row in rows] == ["0.jpg", "1.png", "2.webp", "3.gif"]
    tests = pq.read_table(tmp_path / "data/Test_Set").to_pylist()
    assert [[image["path"] for image in row["images"]] for row in tests] == [
        ["0_0.jpg"], ["1_0.png"], ["2_0.webp"], ["3_0.gif"],
    ]  # fmt: skip


def _table(folder, count):
    """A table of people with one noisy photo each, of about 120 kB."""
    rng = np.random.default_rng(0)
    lines = ["id,name,portraits,job"]
    for number in range(count):
        noise = rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)
        (folder / f"{number}.png").write_bytes(encoded(Image.fromarray(noise)))
        lines.append(f"{number},Ada{number} Novak,{number}.png,pilot{number}")
    (folder / f"{count}.csv").write_text("\n".join(lines))
    return folder / f"{count}.csv"


@pytest.mark.slow
def test_building_takes_no_more_memory_for_more_photos(tmp_path, monkeypatch):
    monkeypatch.setattr(layout_module, "_ROW_GROUP_BYTES", 300_000)
    peaks = []
    for count in (4, 4, 12):  # the first warms up
        table = _table(tmp_path, count)
        tracemalloc.start()
        build_custom(tmp_path / f"data{len(peaks)}", table, tmp_path, percents=(50,))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 4 * 120_000


@pytest.mark.slow
def test_rows_are_the_same_in_one_group_or_in_many(tmp_path, monkeypatch):
    table = _table(tmp_path, 5)
    build_custom(tmp_path / "one", table, tmp_path)
    monkeypatch.setattr(layout_module, "_ROW_GROUP_BYTES", 200_000)
    build_custom(tmp_path / "many", table, tmp_path)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.parquet")]
    groups = [pq.ParquetFile(tmp_path / "many" / path).num_row_groups for path in files]
    assert max(groups) == 3 and all(pq.ParquetFile(tmp_path / "one" / path).num_row_groups == 1 for path in files)
    for path in files:
        assert pq.read_table(tmp_path / "one" / path).equals(pq.read_table(tmp_path / "many" / path))


def test_pictures_are_opened_in_one_place_only():
    root = Path(unsee.__file__).parent
    files = [path for path in root.rglob("*.py") if "Image.open" in path.read_text(encoding="utf-8")]
    assert files == [root / "data" / "images.py"]
