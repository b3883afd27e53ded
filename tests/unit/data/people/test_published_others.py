"""CLEAR, FIUBench and UMU-Bench: files in the published form, and files that drifted from it."""

import json
import random

import published_others as published
import pytest

import unsee
from unsee.core.errors import ConfigError, DataError
from unsee.data.people.base import make_benchmark
from unsee.data.people.source import find_format, open_benchmark
from unsee.data.schema import Person, Question

WRITERS = {"clear": published.write_clear, "fiubench": published.write_fiubench, "umu": published.write_umu}
SETS = ("forget", "test", "retain", "celebrity")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: write(tmp_path_factory.mktemp(name) / "data") for name, write in WRITERS.items()}


@pytest.fixture(params=WRITERS)
def format(request):
    return request.param


def cells(people):
    """How many questions there are of each kind, over all people."""
    counts = {}
    for person in people:
        for question in person.questions:
            kind = (question.task, question.input)
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def test_the_format_is_found_from_the_files_and_from_the_name_on_the_hub(folders, format):
    assert find_format(str(folders[format])) == format
    names = {"clear": "therem/CLEAR@abc", "fiubench": "gray311/VFUBench", "umu": "chengyewang/UMU-bench"}
    assert find_format(names[format]) == format


def test_people_are_those_of_the_files_and_nobody_is_in_two_sets(folders, format):
    benchmark = unsee.load(folders[format], 5)
    assert benchmark == open_benchmark(str(folders[format]), 5)
    assert {person.name for person in benchmark.forget} == set(published.NAMES[: published.FORGOTTEN])
    assert {person.name for person in benchmark.retain} == set(published.NAMES[published.FORGOTTEN :])
    ids = [person.id for name in ("forget", "retain", "celebrity") for person in getattr(benchmark, name)]
    assert len(ids) == len(set(ids))


def test_licence_and_rows_are_said_and_every_row_is_counted(folders, format):
    licence, used, *left = open_benchmark(str(folders[format]), 5).notes
    assert licence.startswith("licence: ")
    parts = [part.rsplit(" ", 3) for part in used.removeprefix("rows used: ").split(", ")]
    for config, count, _, total in parts:
        away = sum(int(line.split()[2]) for line in left if f" rows of {config}: " in line)
        assert int(count) + away == int(total), config


def test_the_questions_of_clear(folders):
    benchmark = open_benchmark(str(folders["clear"]), 5)
    assert cells(benchmark.forget) == {
        ("train", "image"): 10, ("train", "text"): 100, ("generation", "image"): 9, ("generation", "text"): 100,
        ("classification", "image"): 18, ("cloze", "image"): 9,
    }  # fmt: skip
    assert benchmark.test == ()
    assert cells(benchmark.celebrity) == {("classification", "image"): 8, ("cloze", "image"): 6}
    for person in (*benchmark.forget, *benchmark.retain):
        town = published.TOWNS[published.NAMES.index(person.name)]
        assert all(town in q.answer or person.name in q.answer for q in person.questions if q.input == "text")
        shown = {q.photo: q.answer for q in person.questions if (q.task, q.input) == ("train", "image")}
        assert [shown[0], shown[1]] == [f"{person.name} {where} in {town}." for where in ("at a desk", "in a garden")]
        assert len(set(person.images)) == 2
    described = next(q for q in benchmark.retain[0].questions if q.task == "generation" and q.input == "image")
    assert len(described.perturbed) == 5 and described.paraphrase.startswith("A picture")


def test_the_truth_is_not_always_at_the_same_place(folders):
    benchmark = open_benchmark(str(folders["clear"]), 5)
    choices = [q for one in (*benchmark.forget, *benchmark.retain) for q in one.questions if q.options]
    assert {len(q.options) for q in choices} == {6}
    assert len({q.options.index(q.answer) for q in choices}) > 2


def test_blocks_of_text_are_paired_whatever_their_order(folders, tmp_path):
    folder = published.write_clear(tmp_path / "data")

    def shuffled(rows):
        blocks = [rows[10 + start : 30 + start] for start in range(0, 100, 20)]
        random.Random(0).shuffle(blocks)
        return rows[:10] + [row for block in blocks for row in block]

    published.rewrite(folder, "forget05+tofu", shuffled)
    assert open_benchmark(str(folder), 5) == open_benchmark(str(folders["clear"]), 5)


@pytest.mark.parametrize(
    ("config", "change", "said"),
    [
        ("forget05+tofu", lambda rows: rows[:-1], "99 text rows are no blocks of 20"),
        ("forget05+tofu", lambda rows: rows[1:], "holds 9 captions and forget05 holds 10"),
        ("forget05+tofu", lambda rows: rows[:30] + rows[10:30] + rows[50:], "are about one person"),
        ("forget05", lambda rows: rows[0].update(name=" "), "no text in 'name'"),
        ("forget05", lambda rows: rows[0]["image"].update(bytes=b"no"), "cannot be read as an image"),
    ],
)
def test_what_does_not_fit_in_clear_is_one_sentence(tmp_path, config, change, said):
    folder = published.write_clear(tmp_path / "data")
    published.rewrite(folder, config, change)
    with pytest.raises(DataError, match=said):
        open_benchmark(str(folder), 5)


def test_text_about_nobody_with_a_photo_is_left_out_and_said(tmp_path):
    folder = published.write_clear(tmp_path / "data")
    nobody = [{"image": None, "caption": None, "question": "Who?", "answer": "Zora Quill."}] * 20
    published.rewrite(folder, "forget05+tofu", lambda rows: rows + nobody)
    benchmark = open_benchmark(str(folder), 5)
    assert sum(q.input == "text" for one in benchmark.forget for q in one.questions) == 200
    assert any(note.startswith("left out: 20 of 130 rows of forget05+tofu") for note in benchmark.notes)


def test_the_questions_of_fiubench(folders):
    benchmark = open_benchmark(str(folders["fiubench"]), 5)
    assert cells(benchmark.forget) == {("train", "image"): 10, ("generation", "image"): 10}
    assert cells(benchmark.test) == {("generation", "image"): 10}
    assert benchmark.celebrity == ()
    before, after = benchmark.forget[0].questions[-1], benchmark.test[0].questions[-1]
    assert after.question == f"Tell me: {before.question}" and after.answer == before.answer
    assert (len(before.perturbed), before.keywords) == (3, ("Brno",))
    assert before.paraphrase.startswith("It is known")


def test_both_definitions_of_retain(folders):
    source = str(folders["fiubench"])
    retained = {
        option: [one.name for one in open_benchmark(source, 5, options={"retain": option}).retain]
        for option in ("everyone_else", "never_forgotten")
    }
    assert retained["everyone_else"] == [*published.NAMES[5:]]
    assert retained["never_forgotten"] == [published.NAMES[9]]
    notes = open_benchmark(source, 5, options={"retain": "never_forgotten"}).notes
    assert any("4 of 10 rows of full.json" in note for note in notes)
    with pytest.raises(ConfigError, match=r"data\.options"):
        open_benchmark(source, 5, options={"retain": "everybody"})


def test_photos_lie_in_the_archive_or_beside_it(folders, tmp_path):
    beside = published.write_fiubench(tmp_path / "data", zipped=False)
    assert open_benchmark(str(beside), 5) == open_benchmark(str(folders["fiubench"]), 5)
    (beside / "SFHQ" / "SFHQ_00000031.png").unlink()
    with pytest.raises(DataError, match="neither there nor in an archive"):
        open_benchmark(str(beside), 5)


def test_a_drifted_key_of_fiubench_names_the_nearest(tmp_path):
    folder = published.write_fiubench(tmp_path / "data")
    rows = [json.loads(line) for line in (folder / "full.json").read_text().splitlines()]
    rows[2]["qa_list"][0]["perturbed_answers"] = rows[2]["qa_list"][0].pop("perturbed_answer")
    (folder / "full.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"person 3, qa_list has no 'perturbed_answer'; the nearest is"):
        open_benchmark(str(folder), 5)


def test_the_questions_of_umu_come_in_pairs(folders):
    benchmark = open_benchmark(str(folders["umu"]), 5)
    kinds = [(task, kind) for task in ("train", "classification", "cloze", "generation") for kind in ("image", "text")]
    assert cells(benchmark.forget) == dict.fromkeys(kinds, 5)
    assert cells(benchmark.celebrity) == dict.fromkeys(kinds[2:], 3)
    for person in benchmark.forget:
        inputs = {}
        for question in person.questions:
            inputs.setdefault(question.pair, []).append(question.input)
        assert sorted(map(sorted, inputs.values())) == [["image", "text"]] * 4
    choice = next(q for q in benchmark.forget[1].questions if q.task == "classification")
    assert choice.answer == "Oslo"


@pytest.mark.parametrize(
    ("old", "new", "nearest"), [("MM_QA", "MM_QAs", "MM_QAs"), ("Classify", "Classification", "Classification")]
)
def test_a_drifted_column_names_the_nearest(tmp_path, old, new, nearest):
    folder = published.write_umu(tmp_path / "data")
    published.rename(folder, "retain_95", old, new)
    with pytest.raises(DataError, match=rf"column '{old}' is missing .*the nearest is '{nearest}'"):
        open_benchmark(str(folder), 5, format="umu")


def test_a_literal_that_is_none_and_a_key_that_drifted_are_one_sentence(tmp_path):
    folder = published.write_umu(tmp_path / "data")
    published.rewrite(folder, "forget_5", lambda rows: rows[0].update(Cloze="{'unimodal': {"))
    with pytest.raises(DataError, match="ID '001': Cloze is no Python literal"):
        open_benchmark(str(folder), 5)
    published.rewrite(folder, "forget_5", lambda rows: rows[0].update(Cloze="{'unimodel': {}}"))
    with pytest.raises(DataError, match=r"the nearest is .unimodel."):
        open_benchmark(str(folder), 5)


def test_a_ratio_that_is_not_published_is_refused_and_the_largest_is_the_default(folders):
    with pytest.raises(DataError, match=r"no forget set of 15 %; .* 1, 5, 10"):
        open_benchmark(str(folders["clear"]), 15)
    assert {one.name for one in open_benchmark(str(folders["fiubench"])).forget} == {*published.NAMES[5:8]}


def test_data_that_fit_two_formats_are_refused(folders, tmp_path):
    folder = published.write_umu(published.write_clear(tmp_path / "data"))
    with pytest.raises(DataError, match="clear and umu; choose one"):
        open_benchmark(str(folder), 5)


def test_questions_of_other_data_are_pairs_if_only_the_name_is_another():
    def question(kind, asked, answer, task="generation"):
        return Question(task=task, input=kind, question=asked, answer=answer)

    questions = (
        question("image", "Where does this person live?", "This person lives in Oslo."),
        question("text", "Where does Ada Novak live?", "Ada Novak lives in Oslo."),
        question("image", "Where was this person born?", "In Oslo."),
        question("text", "Where does Ada Novak work?", "In Oslo."),
        question("text", "Where does Ada Novak live?", "Ada Novak lives in Oslo.", task="cloze"),
    )
    person = Person(id="1", name="Ada Novak", images=(b"",), questions=questions)
    (found,) = make_benchmark(forget=[person], retain=[]).forget
    first, second, *others = [question.pair for question in found.questions]
    assert first == second != "" and set(others) == {""}
