import json
import shutil
from collections import Counter

import pytest
from published_pairs import record, write_published

from unsee.core.errors import DataError
from unsee.data.documents import PRIVACY
from unsee.data.documents.privacy_pair import FACTS, load

SMALL = {"neural_gate_Passport": ("Passport", 6, "p2_org/images")}
TRAINING = {"phone number": 6, "Student ID": 4, "Receipts": 10, "Passport": 10, "military vehicles": 4, "document": 10}


@pytest.fixture
def folder(tmp_path):
    return write_published(tmp_path / "data", tmp_path / "images", SMALL)


def change(folder, **changes):
    path = folder / "neural_gate_Passport.json"
    records = json.loads(path.read_text())
    records[2] |= changes
    path.write_text(json.dumps(records))


def test_the_published_files_and_their_split(tmp_path):
    benchmark = load(write_published(tmp_path / "data", tmp_path / "images"), tmp_path / "images")
    assert len(benchmark.cases) == 185
    assert Counter(case.subject for case in benchmark.of("seen")) == TRAINING
    assert len(benchmark.of("unseen_images")) == 141
    case = next(case for case in benchmark.cases if case.id == "neural_gate_documents_en/3")
    assert case.split == "seen" and case.refusal == "I do not" and case.image.is_file()
    assert case.image == tmp_path / "images/documents_en/neural_gate_documents_en_3.jpg"
    assert len(case.private) == len(case.benign) == 5 and all(query.private for query in case.private)
    for query in (*case.queries, case.request):
        assert "document" in query.text
        assert query.answer == query.value == "" and query.chance != query.chance


def test_the_first_records_of_a_file_are_those_edited_on(folder):
    cases = load(folder, folder.parent / "images").cases
    assert [case.split for case in cases] == ["seen"] * 2 + ["unseen_images"] * 4


def test_missing_images_are_counted_before_anything_is_done(folder):
    for path in sorted((folder.parent / "images/VISPR").iterdir())[1:4]:
        path.unlink()
    with pytest.raises(DataError, match=r"3 of 6 images are missing, first p2_org/images/neural_gate_Passport_1\.jpg"):
        load(folder, folder.parent / "images")


@pytest.mark.parametrize("gone", [(1,), (0, 4), (1, 2, 3)])
def test_missing_images_are_left_out_and_counted_where_that_is_wanted(folder, gone):
    images = folder.parent / "images"
    whole = load(folder, images).cases
    for number in gone:
        whole[number].image.unlink()
    benchmark = load(folder, images, skip_missing=True)
    assert benchmark.cases == tuple(case for number, case in enumerate(whole) if number not in gone)
    assert benchmark.skipped == len(gone)
    assert PRIVACY.get("privacy_pair")(skip_missing=True).load(folder, images) == benchmark
    with pytest.raises(DataError, match=r"are missing, first .* with --images, or leave them out with --skip-missing"):
        load(folder, images)


def test_nothing_is_left_of_data_without_any_image(folder):
    with pytest.raises(DataError, match="6 of 6 images are missing"):
        load(folder, folder, skip_missing=True)


def test_images_outside_the_root_are_refused(folder):
    change(folder, image="../secret.jpg")
    with pytest.raises(DataError, match="not a path below the image root"):
        load(folder, folder.parent / "images")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paraphrase_prompts": ["Name the number."] * 5}, "'Passport' is not in the question"),
        ({"paraphrase_prompts": ["Passport?"] * 4}, "4 private and 5 benign"),
        ({"neighborhood_prompts": None}, "'neighborhood_prompts' must be a list"),
        ({"image": ""}, "record 2: 'image' is missing or empty"),
        ({"requested_rewrite": {}}, "'requested_rewrite'"),
        (record(2, "Passport", "p2_org/images/neural_gate_Passport_2.jpg") | {"split": "train"}, "unknown split"),
        ({"case_id": 1}, "occurs twice"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_used_is_named(folder, changes, message):
    change(folder, **changes)
    with pytest.raises(DataError, match=message):
        load(folder, folder.parent / "images")


def test_no_files_no_json_and_an_empty_refusal(tmp_path, folder):
    with pytest.raises(DataError, match="no JSON file"):
        load(tmp_path / "nowhere")
    rewrite = record(2, "Passport", "x")["requested_rewrite"]
    change(folder, requested_rewrite=rewrite | {"target_new": {"str": " "}})
    with pytest.raises(DataError, match="'str' is missing or empty"):
        load(folder, folder.parent / "images")
    (folder / "neural_gate_Passport.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        load(folder, folder.parent / "images")


@pytest.mark.slow
def test_the_unseen_subject_is_chosen_when_loading(documents):
    built_for = json.loads((documents / FACTS).read_text())["unseen_subject"]
    for chosen in {None, "passport", "receipt"} - {built_for}:
        cases = load(documents, unseen_subject=chosen).cases
        held = {case.subject for case in cases if case.split == "unseen_subjects"}
        assert held == {chosen or built_for}
        assert not any(case.subject in held for case in cases if case.split != "unseen_subjects")
        assert len({case.subject for case in cases if case.split == "seen"}) == 5
    with pytest.raises(DataError, match="not among those edited on"):
        load(documents, unseen_subject="parcel label")


@pytest.mark.slow
def test_one_picture_in_two_splits_is_refused(documents, tmp_path):
    images = shutil.copytree(documents, tmp_path / "data") / "images/passport"
    (images / "0000.png").write_bytes((images / "0002.png").read_bytes())
    with pytest.raises(DataError, match="show the same picture"):
        load(tmp_path / "data")


def test_a_broken_picture_is_named(folder):
    case = load(folder, folder.parent / "images").cases[0]
    case.image.write_bytes(b"no picture")
    with pytest.raises(DataError, match=f"the picture of case {case.id} cannot be read as an image"):
        case.open()
    with pytest.raises(DataError, match=f"^image '{case.image}' cannot be read as an image"):
        load(folder, folder.parent / "images")
