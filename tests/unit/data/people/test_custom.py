import csv
import hashlib
import io
import re

import pytest
from PIL import Image
from tiny import png

from unsee.core.errors import DataError
from unsee.data.people.custom import build_custom
from unsee.data.people.mllmu import load

HEADINGS = ("id", "name", "portraits", "Occupation", "favourite colour", "gender")
COLOURS = ("green", "red", "blue", "ochre", "pink")
JOBS = ("engineer", "baker", "pilot", "nurse", "judge")


def people(count=5):
    return [
        [f"p{i}", f"Ada{i} Novak", f"{i}.png;{i}-garden.png" if i % 2 else f"{i}.png", JOBS[i % 5], COLOURS[i % 5],
         ("female", "male")[i % 2]]
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """Writes a table, and photos for six people; gives the arguments of `build_custom`."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(6):
        (photos / f"{i}.png").write_bytes(png(i))
        (photos / f"{i}-garden.png").write_bytes(png(50 + i))

    def write(rows, headings=HEADINGS, name="people.csv"):
        text = io.StringIO()
        csv.writer(text).writerows([headings, *rows])
        (tmp_path / name).write_text(text.getvalue(), encoding="utf-8")
        return tmp_path / "data", tmp_path / name, photos

    return write


def questions(person, task, kind):
    return [question for question in person.questions if (question.task, question.input) == (task, kind)]


def test_it_loads_as_a_benchmark(write):
    summary = build_custom(*write(people()))
    benchmark = load(write(people())[0], 15)
    everybody = sorted((*benchmark.forget, *benchmark.retain), key=lambda person: person.id)
    assert [person.id for person in everybody] == ["p0", "p1", "p2", "p3", "p4"]
    assert (len(benchmark.forget), benchmark.celebrity) == (1, ())
    for person, row in zip(everybody, people(), strict=True):
        assert person.name == row[1] and person.biography["occupation"] == row[3]
        assert person.images[0] == png(int(row[0][1:]))
        assert len(questions(person, "train", "image")) == 7
        for kind, who in (("image", "this person"), ("text", person.name)):
            choices = questions(person, "classification", kind)
            assert len(choices) == 2 and all(choice.answer in row and len(choice.options) == 4 for choice in choices)
            assert len(questions(person, "generation", kind)) == len(questions(person, "cloze", kind)) == 2
            assert kind == "image" or all(who in q.question for q in person.questions if q.input == kind)
    assert summary == [
        "5 people; to forget: 1 at 5 %, 1 at 10 %, 1 at 15 %; celebrities: 0",
        "Too few people to rank methods at 15 %: 1 would be forgotten, 5 are needed (31 people).",
        "asked for in choices, sentences and blanks: occupation, favourite_colour",
        "only in sentences and blanks, for want of four different values: gender",
        "in plain wordings: favourite_colour",
        "tested with a disturbed copy of their only photo: p0, p2, p4",
    ]


def test_known_attributes_keep_their_wordings_and_others_get_plain_ones(write):
    build_custom(*write(people()))
    benchmark = load(write(people())[0], 15)
    told = {q.question: q.answer for p in (*benchmark.forget, *benchmark.retain) if p.id == "p0" for q in p.questions}
    assert told["What is this person's occupation?"] == "This person works as an engineer."
    assert told["What is this person's favourite colour?"] == "This person's favourite colour is green."
    assert told["What is this person's name?"] == "This person's name is Ada0 Novak."


def test_the_test_set_shows_the_other_photos_or_a_disturbed_copy_and_asks_in_other_words(write):
    build_custom(*write(people()))
    for percent in (5, 10, 15):
        benchmark = load(write(people())[0], percent)
        (person,), (tested,) = benchmark.forget, benchmark.test
        number = int(person.id[1:])
        if number % 2:
            assert tested.images == (png(50 + number),)
        else:
            assert len(tested.images) == 1 and tested.images != person.images
            assert tested.image().size == person.image().size
        assert not {q.question for q in tested.questions} & {q.question for q in person.questions}


def test_the_same_files_write_the_same_bytes(write, tmp_path):
    folder, *files = write(people())
    build_custom(folder, *files, seed=3)
    build_custom(tmp_path / "again", *files, seed=3)
    written = [
        {path.relative_to(at): hashlib.sha256(path.read_bytes()).hexdigest() for path in at.rglob("*.*")}
        for at in (folder, tmp_path / "again")
    ]
    assert written[0] == written[1] and len(written[0]) > 10


def test_empty_cells_are_not_asked_for(write):
    rows = people()
    rows[0][4] = rows[0][5] = ""
    build_custom(*write(rows))
    benchmark = load(write(rows)[0], 15)
    (ada,) = [person for person in (*benchmark.forget, *benchmark.retain) if person.id == "p0"]
    assert not [q for q in ada.questions if "colour" in q.question or "gender" in q.question]
    assert len(questions(ada, "cloze", "image")) == 1 and len(questions(ada, "classification", "text")) == 1


def test_celebrities_are_the_built_in_ones_or_your_own(write, tmp_path):
    build_custom(*write(people()), celebrities=3)
    assert [person.id for person in load(tmp_path / "data", 15).celebrity] == ["501", "502", "503"]
    stars = write([["p0", "Star One", "5.png", "singer", "gold", "female"]], name="stars.csv")[1]
    _, *files = write(people())
    build_custom(tmp_path / "stars", *files, celebrities=stars)
    (star,) = load(tmp_path / "stars", 15).celebrity
    assert (star.id, star.name) == ("celebrity-p0", "Star One")
    assert {option for question in star.questions for option in question.options} <= {"singer", "gold", *JOBS, *COLOURS}


def test_photos_of_a_turned_camera_are_put_upright(write):
    folder, table, photos = write(people())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(photos / "0.png", "PNG", exif=exif)
    build_custom(folder, table, photos)
    benchmark = load(folder, 15)
    (ada,) = [person for person in (*benchmark.forget, *benchmark.retain) if person.id == "p0"]
    assert ada.image().size == (20, 40)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({0: ""}, "'id' is empty"),
        ({1: " "}, "'name' is empty"),
        ({2: ""}, "'portraits' is empty"),
        ({2: "eva.png"}, "portrait 'eva.png' does not exist in"),
        ({2: "2.png;broken.png"}, "portrait 'broken.png' cannot be read as an image"),
        ({0: "p0"}, "id 'p0' is also that of line 2"),
        ({1: "ada0 novak"}, "name 'ada0 novak' is also that of line 2"),
        ({3: "", 4: "", 5: ""}, "has no attribute"),
    ],
)
def test_a_wrong_row_is_named_by_line(write, tmp_path, change, what):
    rows = people()
    for column, value in change.items():
        rows[2][column] = value
    folder, table, photos = write(rows)
    (photos / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=rf"people\.csv, line 4: {re.escape(what)}"):
        build_custom(folder, table, photos)
    assert not folder.exists()


def test_rows_of_wrong_length_are_counted(write):
    rows = people()
    rows[1] = rows[1][:3]
    rows[3][1] = ""
    with pytest.raises(DataError, match=r"line 3: has 3 cells, but there are 6 columns\n.*line 5: 'name' is empty"):
        build_custom(*write(rows))


@pytest.mark.parametrize(
    ("headings", "what"),
    [
        (("id", "nam", "portraits", "a", "b", "c"), "column 'name' is missing; did you mean 'nam'?"),
        (("id", "name", "portraits", "a", "a", "c"), "two have the same"),
        (("id", "name", "portraits", "a", "", "c"), "a column has no heading"),
        (("id", "name", "portraits"), "no column beyond id, name, portraits"),
        ((), "column 'id' is missing (found: none)"),
    ],
)
def test_wrong_headings_are_named(write, headings, what):
    with pytest.raises(DataError, match=re.escape(what)):
        build_custom(*write([], headings))


def test_missing_and_empty_files_are_refused(write, tmp_path):
    folder, table, photos = write([])
    with pytest.raises(DataError, match="holds no person"):
        build_custom(folder, table, photos)
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        build_custom(folder, tmp_path / "none.csv", photos)
    with pytest.raises(DataError, match="no such folder; give the folder of the portraits"):
        build_custom(folder, table, tmp_path / "nowhere")
    with pytest.raises(DataError, match="at least 2 are needed"):
        build_custom(*write(people(1)))
    table.write_text('id,name,portraits,a\n"p0,x')
    with pytest.raises(DataError, match="line 2: not a row of CSV"):
        build_custom(folder, table, photos)


def test_values_that_differ_in_capitals_are_one_option(write):
    rows = people(8)
    for row, job in zip(rows, ["nurse", "NURSE", "Nurse ", "pilot", "chef", "judge", "tailor", "welder"], strict=True):
        row[2:4] = ["0.png", job]
    build_custom(*write(rows))
    benchmark = load(write(rows)[0], 15)
    for person in (*benchmark.forget, *benchmark.retain):
        for question in person.questions:
            assert len({option.casefold().strip() for option in question.options}) in (0, 4)


@pytest.mark.parametrize("id", ["../../victim", "a/b", "a\\b", ".hidden", "x" * 300])
def test_an_id_is_no_path(write, id):
    rows = people()
    rows[1][0] = id
    folder, *files = write(rows)
    with pytest.raises(DataError, match=r"people\.csv, line 3: id '.*' names files"):
        build_custom(folder, *files)
    assert not folder.exists()


def test_a_photo_is_found_by_its_name_in_another_composition(write):
    rows = people()
    folder, table, photos = write(rows)
    (photos / rows[0][2]).rename(photos / "jose\u0301.png")
    table.write_text(table.read_text().replace(rows[0][2], "jos\u00e9.png", 1))
    assert build_custom(folder, table, photos)
