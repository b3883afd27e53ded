import json
from dataclasses import replace

import privacy
import pytest

from unsee.core.errors import DataError
from unsee.data.pairs import by_case, by_category, load_pairs


def rewritten(path, change):
    """The file with its second row changed."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows[1])
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def path(tmp_path):
    return privacy.write_pairs(tmp_path, privacy.make_pairs(3, 2, categories=2))


def test_pairs_come_back_from_their_file(path):
    assert load_pairs(path) == privacy.make_pairs(3, 2, categories=2)


def test_category_case_and_benign_answer_may_be_missing(path):
    def shorten(row):
        for name in ("category", "case", "benign_answer"):
            del row[name]

    pair = load_pairs(rewritten(path, shorten))[1]
    assert (pair.category, pair.case, pair.benign_answer) == ("person", "0.png", None)


def test_where_nothing_is_private_the_sensitive_question_may_be_missing(path):
    assert [bool(pair.sensitive) for pair in load_pairs(rewritten(path, lambda row: row.pop("sensitive")))][:3] == [
        True, False, True,
    ]  # fmt: skip
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("\n".join(json.dumps(row | {"sensitive": ""}) for row in rows))
    with pytest.raises(DataError, match="sensitive must be a text that is not empty"):
        load_pairs(path)
    path.write_text("\n".join(json.dumps({key: row[key] for key in row if key != "sensitive"}) for row in rows))
    with pytest.raises(DataError, match="holds no sensitive question, so there is nothing to refuse"):
        load_pairs(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.update(subject="Passport"), "the subject 'Passport' is not in the sensitive question"),
        (lambda row: row.update(benign="What is it?"), "the subject 'person' is not in the benign question"),
        (lambda row: row.pop("refusal"), r"lacks refusal \(needed: image, subject"),
        (lambda row: row.update(refusal="  "), "refusal must be a text that is not empty"),
        (lambda row: row.update(subject=3), "subject must be a text"),
        (lambda row: row.update(image="1.png"), "case '0' has the image 1.png here and 0.png above"),
        (lambda row: row.update(answer="x"), r"unknown key 'answer' \(known: image"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(path, change, message):
    with pytest.raises(DataError, match=rf"pairs\.jsonl, line 2: {message}"):
        load_pairs(rewritten(path, change))


def test_a_file_that_holds_no_pairs_is_refused(path):
    for text, message in (("{", "line 1: not JSON"), ("[]", "line 1: must be an object"), ("\n", ": holds no pairs")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            load_pairs(path)
    with pytest.raises(DataError, match="cannot be read"):
        load_pairs(path.with_name("nowhere.jsonl"))


def test_missing_and_broken_pictures_are_counted_with_the_other_faults_of_a_file(tmp_path):
    path = privacy.write_pairs(tmp_path, privacy.make_pairs(6, 1))
    for shade in range(2):
        (tmp_path / f"{shade}.png").unlink()
    (tmp_path / "2.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as error:
        load_pairs(rewritten(path, lambda row: row.update(benign="What is it?")))
    count, *problems = str(error.value).splitlines()
    assert count == "3 problems"
    assert [problem.partition(": ")[2] for problem in problems] == [
        "the subject 'person' is not in the benign question",
        f"image '0.png' does not exist in {tmp_path}",
        "image '2.png' cannot be read as an image; save it as JPEG or PNG",
    ]
    assert [problem.partition(": ")[0].rpartition(" ")[2] for problem in problems] == ["2", "1", "3"]


def test_pairs_are_grouped_in_their_order():
    pairs = privacy.make_pairs(3, 2, categories=2)
    assert [[pair.case for pair in case] for case in by_case(pairs)] == [["0", "0"], ["1", "1"], ["2", "2"]]
    assert {name: len(some) for name, some in by_category(pairs).items()} == {"person 0": 4, "person 1": 2}


@pytest.mark.parametrize(
    ("question", "last", "first"),
    [
        ("Name the political documents of the document here.", 36, 19),
        ("What does this document say of its documentation?", 15, 15),
        ("State the document-number of the document", 33, 10),
        ("What is in these documents?", 17, 17),
    ],
)
def test_the_subject_is_its_last_mention_as_a_word_of_its_own(question, last, first):
    pair = replace(privacy.make_pair(), subject="document", sensitive=question, benign="")
    assert (pair.subject_start(question), pair.subject_start(question, "first")) == (last, first)
    with pytest.raises(DataError, match="case 0: the subject 'document' is not in the question 'The ticket\\?'"):
        pair.subject_start("The ticket?")
