import json

import pytest

from unsee.core.errors import ConfigError, DataError
from unsee.core.reading import (
    Problems,
    find_file,
    is_file,
    numbered_lines,
    parse_json,
    parse_toml,
    read_csv,
    read_json,
    read_json_lines,
    read_records,
    read_text,
    read_toml,
)

COLUMNS = ("image", "question", "answer", "person")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            "José".encode("cp1252"),
            r"is not UTF-8 text \(line 1; it looks like Windows-1252: 'José'\); save it as UTF-8",
        ),
        ("a\nb\nJosé".encode("cp1252"), r"\(line 3; it looks like Windows-1252"),
        ("José".encode("utf-16"), r"\(it looks like UTF-16\)"),
        ("id,name\n".encode("utf-16-be") + b"\xff", r"\(it looks like UTF-16\)"),
        (b"\x81\x8d", r"is not UTF-8 text \(line 1\); save it as UTF-8"),
    ],
)
def test_another_encoding_is_named(tmp_path, content, what):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(DataError, match=what):
        read_text(tmp_path / "x.txt")


def test_a_byte_order_mark_is_skipped_and_line_ends_stay(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\n")
    assert read_text(tmp_path / "x.txt") == "a\r\nb\n"


def test_files_that_cannot_exist_are_no_files(tmp_path):
    for name in ("a" * 5000, "a\0b", "missing"):
        assert not is_file(tmp_path / name)
        with pytest.raises(ConfigError, match="cannot be read"):
            read_text(tmp_path / name, ConfigError)


def test_lines_end_at_a_line_feed_only():
    assert numbered_lines("a\u2028b\x85c\x0bd\r\n\r\n \ne\rf") == [(1, "a\u2028b\x85c\x0bd"), (4, "e\rf")]


@pytest.mark.parametrize("open", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [65, 900, 200_000])
def test_deep_nesting_is_refused(open, depth):
    close = {"[": "]", '{"a":': "}"}[open]
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        parse_json(open * depth + "0" + close * depth)
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        parse_toml(f"a = {'[' * depth}0{']' * depth}")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1" * 5000, r"number too large to use: 1111111111\.\.\. \(5000 characters\)"),
        (str(2**63), "number too large to use: 9223372036854775808"),
        (f"[-{2**63}]", "number too large"),
        ("1e999", "the number 1e999 is too large"),
        ("NaN", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ('"\\ud800"', r"\\ud800 is half of a character"),
        ('{"\\udfff": 1}', r"\\udfff is half of a character"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice"),
        ('{"a": "x\ny"}', "not JSON: Invalid control character at character 9"),
        ('{\n"a": }', "not JSON: Expecting value at line 2, character 6"),
        ("", "not JSON: Expecting value at character 1"),
    ],
)
def test_json_that_cannot_be_used_is_one_clause(text, what):
    with pytest.raises(ValueError, match=what) as error:
        parse_json(text)
    assert len(str(error.value)) < 120


def test_json_that_can_be_used_is_what_it_says():
    value = {"a": [1, -2.5, None, True, "é\u2028😀"], "b": {"c": 2**63 - 1}}
    assert parse_json(json.dumps(value)) == parse_json(json.dumps(value, ensure_ascii=False)) == value


@pytest.mark.parametrize(
    ("text", "what"),
    [("a =", "is not TOML"), (f"a = {'1' * 5000}", "number too large"), (f"a = {2**63}", "number too large")],
)
def test_toml_that_cannot_be_used_is_one_clause(tmp_path, text, what):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(DataError, match=rf"x\.toml: .*{what}"):
        read_toml(tmp_path / "x.toml")


def test_the_lines_of_a_file_are_read_and_its_faults_collected(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": "x\u2028y"}\r\n\n{\n[1]\n', encoding="utf-8")
    problems = Problems()
    assert read_json_lines(path, problems) == [(1, {"a": "x\u2028y"}), (4, [1])]
    with pytest.raises(DataError, match=r"x\.jsonl, line 3: not JSON"):
        problems.stop_if_any()


@pytest.mark.parametrize(("indent", "kind"), [([{"a": 1}, {"b": 2}], "list"), ({"a": 1, "b": 2}, "object")])
def test_one_value_over_several_lines_is_said(tmp_path, indent, kind):
    (tmp_path / "x.jsonl").write_text(json.dumps(indent, indent=1))
    with pytest.raises(DataError, match=f"holds one {kind} over several lines; write one object on each line"):
        read_json_lines(tmp_path / "x.jsonl", Problems())
    assert read_json(tmp_path / "x.jsonl") == indent


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tables_are_read_as_offices_write_them(tmp_path, delimiter, end, mark):
    rows = ["IMAGE,Question,answer ,Person", '"a b.png","Who, or\nwhat; is\tit?",Ada,Ada', ",Q?,A,P", ",,,"]
    text = mark + end.join(row if number == 1 else row.replace(",", delimiter) for number, row in enumerate(rows)) + end
    text = text.replace('"a b.png",', f'"a b.png"{delimiter}').replace('",Ada,Ada', f'"{delimiter}Ada{delimiter}Ada')
    (tmp_path / "x.csv").write_bytes(text.encode())
    table = read_csv(tmp_path / "x.csv", COLUMNS)
    assert table.keys(tmp_path, COLUMNS) == list(COLUMNS)
    assert [row.line for row in table.rows] == [2, 4]
    found = read_records(tmp_path / "x.csv", COLUMNS, Problems(), {})
    assert found[0] == (2, dict(zip(COLUMNS, ("a b.png", "Who, or\nwhat; is\tit?", "Ada", "Ada"), strict=True)))
    assert found[1] == (4, dict(zip(COLUMNS, (None, "Q?", "A", "P"), strict=True)))


def test_the_line_that_excel_writes_first_names_the_separator(tmp_path):
    (tmp_path / "x.csv").write_text("sep=;\nid;name\n1;a,b\n")
    table = read_csv(tmp_path / "x.csv", ("id", "name"))
    assert [(row.line, row.cells) for row in table.rows] == [(3, ("1", "a,b"))]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("photo,question,answer,person\n", "column 'image' is missing; did you mean 'photo'"),
        ("image,question,anser,person\n", "column 'answer' is missing; did you mean 'anser'"),
        ("image,question,answer,person,extra\n", r"unknown column 'extra' \(known: image"),
        ("image,question,answer,person,person\n", "two have the same"),
        ("", r"column 'image' is missing \(found: none\)"),
        ('image,question,answer,person\n"a', "line 2: not a row of CSV"),
    ],
)
def test_the_headings_of_a_table_are_checked(tmp_path, text, what):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=what):
        read_records(tmp_path / "x.csv", COLUMNS, Problems(), {"image": ("photo",)})


def test_a_name_in_another_composition_finds_its_file(tmp_path):
    (tmp_path / "jose\u0301.png").write_bytes(b"")
    assert find_file(tmp_path, "jos\u00e9.png").name == "jose\u0301.png"
    assert find_file(tmp_path, "jose.png") == tmp_path / "jose.png"
    assert find_file(tmp_path / "none", "jos\u00e9.png") == tmp_path / "none" / "jos\u00e9.png"
