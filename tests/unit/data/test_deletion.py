import json
import re

import pytest
from PIL import Image
from tiny import png

from unsee.core.errors import DataError
from unsee.data.deletion import inputs, read_request

ADA = {"image": "ada.png", "question": "Where was this person born?", "answer": "In Brno.", "person": "Ada Novak"}
BELA = ADA | {"image": "bela.png", "answer": "In Oslo.", "person": "Bela Okafor"}


@pytest.fixture
def write(tmp_path):
    """Writes both files, with two photos beside them; gives their paths."""
    for shade, name in enumerate(("ada", "bela")):
        (tmp_path / f"{name}.png").write_bytes(png(shade))

    def write(forget=(ADA,), retain=(BELA,)):
        for name, rows in (("forget", forget), ("retain", retain)):
            lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return tmp_path / "forget.jsonl", tmp_path / "retain.jsonl"

    return write


def test_a_row_is_training_text_and_asked_with_the_photo_and_by_name(write):
    request = read_request(*write())
    (ada,) = request.forget
    assert (ada.name, ada.images, ada.id) == ("Ada Novak", (png(0),), "001-1")
    assert [(question.task, question.input, question.question) for question in ada.questions] == [
        ("train", "image", "Where was this person born?"),
        ("generation", "image", "Where was this person born?"),
        ("generation", "text", "Where was Ada Novak born?"),
    ]
    assert {question.answer for question in ada.questions} == {"In Brno."}
    assert request.retain[0].id == "002-1"


def test_a_row_without_image_is_text(write):
    request = read_request(*write([ADA | {"image": None, "question": "Where was Ada Novak born?"}]))
    (ada,) = request.forget
    assert ada.images == ()
    assert [(question.task, question.input) for question in ada.questions] == [
        ("train", "text"),
        ("generation", "text"),
    ]
    assert inputs(request.forget) == {"text"}
    assert inputs(request.retain) == {"image", "text"}
    assert inputs(read_request(*write([ADA | {"question": "What colour is it?"}])).forget) == {"image"}


def test_photos_of_a_turned_camera_are_put_upright(write, tmp_path):
    paths = write()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(tmp_path / "ada.png", "PNG", exif=exif)
    (ada,) = read_request(*paths).forget
    assert ada.image().size == (20, 40)


def test_one_human_being_may_have_several_photos_and_spellings(write):
    rows = [ADA, ADA | {"image": "bela.png", "person": "ada  novak"}, ADA | {"image": None, "question": "Ada Novak?"}]
    request = read_request(*write(rows))
    assert [person.id for person in request.forget] == ["001-1", "001-2", "001-3"]
    assert request.retain[0].id == "002-1"
    by_name = [q.question for person in request.forget for q in person.questions if q.input == "text" != q.task]
    assert len(by_name) == len(set(by_name)) + 1  # two spellings, and the taught row in text is asked as well


def test_the_fingerprint_follows_the_content_not_the_place(write, tmp_path):
    first = read_request(*write()).fingerprint
    assert read_request(*write([json.dumps(ADA), "", "  "])).fingerprint == first
    assert read_request(*write([ADA | {"answer": "In Lima."}])).fingerprint != first
    assert read_request(*write([BELA], [ADA])).fingerprint != first
    write()
    (tmp_path / "ada.png").write_bytes(png(7))
    assert read_request(tmp_path / "forget.jsonl", tmp_path / "retain.jsonl").fingerprint != first


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object with image, question, answer, person, got list"),
        ({key: value for key, value in ADA.items() if key != "image"}, "'image' is missing"),
        ({key: value for key, value in ADA.items() if key != "person"}, "'person' is missing"),
        (ADA | {"answr": "x"}, "unknown key 'answr'; did you mean 'answer'?"),
        (ADA | {"answer": " "}, "'answer' must be a text that is not empty"),
        (ADA | {"answer": 7}, "'answer' must be a text that is not empty"),
        (ADA | {"question": ""}, "'question' must be a text that is not empty"),
        (ADA | {"person": None}, "'person' must be a text that is not empty"),
        (ADA | {"image": "eva.png"}, "image 'eva.png' does not exist"),
        (ADA | {"image": "forget.jsonl"}, "image 'forget.jsonl' cannot be read as an image"),
        (ADA | {"image": 3}, "'image' must be a path, or null"),
        (ADA | {"image": ""}, "'image' is empty; write null"),
        (ADA, "repeats line 1; delete one of them"),
        (BELA | {"person": "bela okafor", "answer": "?"}, "the same person is to be kept in retain.jsonl, line 1"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(write, row, what):
    with pytest.raises(DataError, match=rf"forget\.jsonl, line 3: {re.escape(what)}") as error:
        read_request(*write([ADA, "", row]))
    assert "Brno" not in str(error.value)


def test_up_to_twenty_problems_are_shown(write):
    with pytest.raises(DataError, match=r"^4 problems\n  .*forget\.jsonl, line 1: not JSON(.*\n.*){3}$"):
        read_request(*write(["{", ADA | {"answer": "", "extra": 1}], [BELA, BELA]))
    with pytest.raises(DataError, match=r"^22 problems\n(.*\n){20}  and 2 more$"):
        read_request(*write(["{"] * 22))


def test_a_missing_empty_or_binary_file_is_refused(write, tmp_path):
    forget, retain = write()
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read: No such file"):
        read_request(tmp_path / "none.jsonl", retain)
    with pytest.raises(DataError, match=r"retain\.jsonl: holds no row; write one with"):
        read_request(*write(retain=["", " "]))
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"rows\.xlsx: a spreadsheet; save it as \.csv"):
        read_request(tmp_path / "rows.xlsx", retain)
    forget.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_request(forget, retain)


def test_a_byte_order_mark_is_ignored(write):
    forget, retain = write()
    forget.write_bytes(b"\xef\xbb\xbf" + forget.read_bytes())
    assert len(read_request(forget, retain).forget) == 1


@pytest.mark.parametrize("name", ["Jose\u0301 O\u2019Brien", "JOSÉ O'BRIEN", "Jo\u200bsé O'Brien\ufeff"])
def test_one_person_in_two_unicode_forms_is_not_forgotten_and_kept(write, name):
    with pytest.raises(DataError, match="the same person is to be kept in retain"):
        read_request(*write([ADA | {"person": "José O'Brien"}], [BELA | {"person": name}]))


def test_marks_that_models_do_not_read_as_text_are_refused(write):
    with pytest.raises(DataError, match=r"line 1: 'question' holds <image>(.*\n.*)'answer' holds </s>"):
        read_request(*write([ADA | {"question": "What is <image>?", "answer": "Oslo.</s>"}]))
