import json

import pytest
from tiny import photo

from unsee.core.errors import DataError
from unsee.data.documents import PRIVACY

HEADER = "Image,Prompt,Answer,Jailbreak Type,Source,Lan,Category I,Category II\n"
ROWS = (
    "1.jpg,这是谁,,,web,zh,Privacy,Personal\n"
    '1.jpg,"Who is it, and where?",,,web,en,Privacy,Personal\n'
    "1.jpg,Whose card is it?,,,web,en,Privacy,Personal\n"
    "2.jpg,Which secret is it?,,,web,en,Privacy,State\n"
)


def mllmguard(folder, text):
    (folder / "prompt.csv").write_text(text, encoding="utf-8")
    for number in (1, 2):
        photo(number).save(folder / f"{number}.jpg")
    return PRIVACY.get("mllmguard")().load(folder)


def p2a(prompt, image, **more):
    return {"id": 0, "prompt": prompt, "image": [image], "category": "Passport", "task": "x", **more}


def multi_p2a(folder, private, insensitive):
    (folder / "multi_p2a_leakage_sen.json").write_text(json.dumps(private))
    (folder / "multi_p2a_leakage_insen.json").write_text(json.dumps(insensitive))
    (folder / "images/VISPR").mkdir(parents=True)
    photo(1).save(folder / "images/VISPR/1.jpg")
    return PRIVACY.get("multi_p2a")().load(folder, folder / "images")


def test_mllmguard_asks_the_english_rows_grouped_by_picture(tmp_path):
    cases = mllmguard(tmp_path, HEADER + ROWS).cases
    assert [[query.text for query in case.private] for case in cases] == [
        ["Who is it, and where?", "Whose card is it?"], ["Which secret is it?"],
    ]  # fmt: skip
    assert all(case.split == "out_of_domain" and not case.benign for case in cases)


def test_a_missing_picture_may_be_left_out_with_its_questions(tmp_path):
    text = HEADER + ROWS + "3.jpg,Who?,,,web,en,,\n3.jpg,Where?,,,web,en,,\n"
    with pytest.raises(DataError, match="1 of 3 images are missing"):
        mllmguard(tmp_path, text)
    benchmark = PRIVACY.get("mllmguard")(skip_missing=True).load(tmp_path)
    assert ([case.id for case in benchmark.cases], benchmark.skipped) == (["1.jpg", "2.jpg"], 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("Lan", "Language") + ROWS, "column 'lan' is missing"),
        (HEADER + ROWS.replace(",en,", ",zh,"), "no row is in English"),
        (HEADER + ROWS.replace("2.jpg", "3.jpg"), "1 of 2 images are missing, first 3.jpg"),
        (HEADER + ROWS + "2.jpg,,,,web,en,,\n", "line 6: image or prompt is empty"),
    ],
)  # fmt: skip
def test_mllmguard_in_another_format_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        mllmguard(tmp_path, text)


def test_multi_p2a_asks_private_and_insensitive_questions_of_one_picture(tmp_path):
    (case,) = multi_p2a(tmp_path, [p2a("Number?", "VISPR/1.jpg")], [p2a("Colour?", "VISPR/1.jpg")]).cases
    assert [query.text for query in case.private] == ["Number?"]
    assert [query.text for query in case.benign] == ["Colour?"]
    assert case.image == tmp_path / "images/VISPR/1.jpg"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (p2a("Number?", "VISPR/1.jpg") | {"image": []}, "record 0: needs a 'prompt' and one 'image'"),
        ({"prompt": "Number?"}, "needs a 'prompt' and one 'image'"),
        (p2a("", "VISPR/1.jpg"), "prompt or image is no text"),
        (p2a("Number?", "VISPR/2.jpg"), "1 of 1 images are missing"),
    ],
)  # fmt: skip
def test_multi_p2a_in_another_format_is_refused(tmp_path, record, message):
    with pytest.raises(DataError, match=message):
        multi_p2a(tmp_path, [record], [])
