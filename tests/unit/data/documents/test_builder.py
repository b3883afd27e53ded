import hashlib
import json
from collections import defaultdict

import pytest

from unsee.core.errors import DataError, RecordError
from unsee.data.documents.builder import build
from unsee.data.documents.export import as_pairs
from unsee.data.documents.invented import (
    CONTENTS,
    HARMLESS,
    HARMLESS_TO_LEARN,
    HARMLESS_UNSEEN,
    KINDS,
    LOOKS,
    MORE_HARMLESS_TO_LEARN,
    MORE_PRIVATE_TO_LEARN,
    PRIVATE_TO_LEARN,
    SUBJECTS,
    TEMPLATES,
    VALUES,
    answer,
    attribute_name,
    is_private,
)
from unsee.data.documents.privacy_pair import load
from unsee.data.documents.schema import VALIDATION


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("privacy") / "data"
    build(folder, images=4, seed=1)
    return folder


@pytest.fixture(scope="module")
def benchmark(folder):
    return load(folder)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def asked(cases, private):
    """(attribute, wording) of every question."""
    found = set()
    for case in cases:
        for query in case.private if private else case.benign:
            before = query.text[: query.text.rindex(case.subject)]
            names = {
                attribute_name(case.subject, attribute): attribute for attribute in (CONTENTS if private else VALUES)
            }
            name = max((name for name in names if f"the {name} of the " in before), key=len)
            found.add((names[name], query.text.replace(f"{name} of the {case.subject}", "{}")))
    return found


@pytest.mark.slow
def test_same_arguments_same_files(documents, tmp_path):
    for name, seed in (("again", 0), ("other", 1)):
        build(tmp_path / name, images=1, seed=seed)
    assert contents(documents) == contents(tmp_path / "again") != contents(tmp_path / "other")


@pytest.mark.slow
def test_each_test_split_differs_in_one_respect(benchmark):
    of = {name: benchmark.of(name) for name in ("seen", "unseen_images", "unseen_attributes", "unseen_templates")}
    for private, attributes in ((True, CONTENTS), (False, LOOKS)):
        seen = asked(of["seen"], private)
        names, wordings = {name for name, _ in seen}, {wording for _, wording in seen}
        assert len(names) == len(attributes) - 2 and len(wordings) == 8
        for case in ("unseen_images", "unseen_attributes", "unseen_templates"):
            other = asked(of[case], private)
            assert ({name for name, _ in other} & names == set()) == (case == "unseen_attributes")
            assert ({wording for _, wording in other} & wordings == set()) == (case == "unseen_templates")


def test_pictures_and_documents_differ_everywhere(benchmark):
    pictures = [hashlib.sha256(case.image.read_bytes()).hexdigest() for case in benchmark.cases]
    assert len(set(pictures)) == len(pictures) == 5 * 4 * 4 + 4 + 4 + 2 * 4 + 60 + 6 * 4 + 40 + 42 + 57


def test_pairs_share_a_wording_and_no_question_comes_twice(benchmark):
    for case in benchmark.cases:
        assert len({query.text for query in case.queries}) == 10
        for private, benign in zip(case.private, case.benign, strict=False):
            assert private.text.split(" of the ")[1] == benign.text.split(" of the ")[1]
        assert case.request.private == is_private(case.subject, "name")
        assert all(case.subject in query.text for query in (*case.queries, case.request))


def test_truths_and_chances_are_known(benchmark):
    numbers = defaultdict(set)
    for case in benchmark.cases:
        for query in case.queries:
            attribute = next(a for a in VALUES if f"{attribute_name(case.subject, a)} of the" in query.text)
            assert query.value in VALUES[attribute] and query.answer == answer(attribute, query.value)
            assert query.chance == 1 / len(VALUES[attribute])
            numbers[case.id, attribute].add(query.value)
    assert all(len(values) == 1 for values in numbers.values())


def test_nothing_harmless_is_private(benchmark):
    for split, kinds in (
        ("harmless", HARMLESS), ("seen_harmless", HARMLESS_TO_LEARN),
        ("further_harmless", MORE_HARMLESS_TO_LEARN), ("unseen_harmless", HARMLESS_UNSEEN),
    ):  # fmt: skip
        cases = benchmark.of(split)
        assert {case.subject for case in cases} == {*kinds}
        assert not any(case.private for case in cases) and {len(case.benign) for case in cases} == {10}
    assert not {*HARMLESS_TO_LEARN, *MORE_HARMLESS_TO_LEARN, *HARMLESS_UNSEEN} & {*KINDS}
    assert {case.subject for case in benchmark.of(VALIDATION)}.isdisjoint(SUBJECTS)


def test_further_private_kinds_share_no_word_with_the_subjects_and_everything_in_them_is_to_be_refused(benchmark):
    kinds = {**PRIVATE_TO_LEARN, **MORE_PRIVATE_TO_LEARN}
    cases = benchmark.of("seen_private", "further_private")
    assert {case.subject for case in cases} == {*kinds} and len(cases) == len(kinds) == 82
    pairs = as_pairs(cases)
    assert len(pairs) == 410 and all(pair.sensitive and pair.request and pair.refusal for pair in pairs)
    words = {word for kind, person in kinds.items() for word in f"{kind} {person}".split()}
    tested = {word for kind in SUBJECTS for word in kind.split()}
    assert not words & (tested | {"holder", "student", "buyer", "owner", "author", "driver"})
    assert not {*kinds} & {*KINDS, *HARMLESS_TO_LEARN, *MORE_HARMLESS_TO_LEARN, *HARMLESS_UNSEEN}


def test_harmless_pairs_have_nothing_to_refuse_and_share_no_name_with_the_kinds_for_testing(benchmark):
    pairs = as_pairs(benchmark.of("seen_harmless", "further_harmless"))
    assert len(pairs) == 1170 and not any(pair.sensitive or pair.request for pair in pairs)
    assert all(pair.benign_answer and pair.requested() == pair for pair in pairs)
    learned = {word for pair in pairs for word in pair.benign.replace("'s", "").replace("?", "").split()}
    names = {word for kind, hero in HARMLESS_UNSEEN.items() for word in (*kind.split(), hero)}
    assert not names & learned


def test_files_are_in_the_published_schema(folder):
    record = json.loads((folder / "passport.json").read_text())[0]
    assert {"case_id", "image", "requested_rewrite", "paraphrase_prompts", "neighborhood_prompts"} <= record.keys()
    assert record["requested_rewrite"].keys() == {"prompt", "target_new", "subject"}
    assert record["requested_rewrite"]["prompt"].count("{}") == 1
    assert len(record["paraphrase_prompts"]) == len(record["neighborhood_prompts"]) == 5
    assert len(set(TEMPLATES)) == 12


@pytest.mark.parametrize("arguments", [{"images": 0}, {"images": 1001}, {"unseen_subject": "ticket"}])
def test_bad_arguments_leave_nothing_behind(tmp_path, arguments):
    with pytest.raises(DataError):
        build(tmp_path / "data", **arguments)
    assert not any(tmp_path.iterdir())


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RecordError, match="not empty"):
        build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
