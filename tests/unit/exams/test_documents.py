import json
import math
from dataclasses import replace

import pytest
from tiny import make_vlm, plain_log_probability

from unsee.config.recipe import EvaluationConfig
from unsee.core.errors import DataError, ModelError
from unsee.core.record import ANSWER_COLUMNS, METRIC_COLUMNS
from unsee.data.documents.export import as_pairs, write_pairs
from unsee.data.documents.privacy_pair import load
from unsee.data.documents.schema import EDITED_SPLITS
from unsee.data.general import general_items
from unsee.data.schema import Benchmark
from unsee.exams.documents import PrivacyExam, default_judges, examine, read_answers, write_answers
from unsee.exams.people import Exam
from unsee.refusals.base import SCORED_OPENINGS

pytestmark = pytest.mark.slow

OURS = {"leak", "refused_opening", "refused_phrases", "refused_likelihood"}


@pytest.fixture(scope="module")
def benchmark(documents):
    return load(documents)


@pytest.fixture(scope="module")
def vlm():
    return make_vlm()


@pytest.fixture(scope="module")
def cases(benchmark):
    return benchmark.of("unseen_images")[:1] + benchmark.of("harmless")[:1]


@pytest.fixture(scope="module")
def table(vlm, cases):
    return examine(vlm, cases, default_judges(), max_new_tokens=5)


class Parrot:
    """A judge that remembers what it was asked."""

    def refused(self, replies):
        self.replies = replies
        return [reply.question.startswith("Give") for reply in replies]


def test_one_row_per_question_in_the_columns_of_the_record(table, cases):
    assert set(table.columns) == {*ANSWER_COLUMNS[3:], *METRIC_COLUMNS} | OURS
    assert len(table) == 20 and table["item"].is_unique
    assert table.groupby("unit").size().to_dict() == {case.id: 10 for case in cases}
    assert table.groupby(["set", "task"]).size().to_dict() == {
        ("unseen_images", "private"): 5, ("unseen_images", "benign"): 5, ("harmless", "benign"): 10,
    }  # fmt: skip


def test_leaks_are_counted_on_private_questions_and_right_answers_on_benign_ones(table):
    private = table["task"] == "private"
    assert table.loc[private, "leak"].notna().all() and table.loc[~private, "leak"].isna().all()
    assert table.loc[private, "accuracy"].isna().all() and table.loc[~private, "accuracy"].notna().all()


def test_probabilities_are_those_of_plain_forward_passes(vlm, cases):
    parrot = Parrot()
    table = examine(vlm, cases[:1], {"parrot": parrot}, max_new_tokens=3)
    query, picture = cases[0].queries[2], vlm.picture(cases[0].open())
    (prompt,) = vlm.prompt_ids([query.text], picture=picture)

    def mean(ids):
        return math.exp(plain_log_probability(vlm, prompt, ids, picture) / len(ids))

    assert parrot.replies[2].answer_probability == pytest.approx(mean(vlm.answer_ids([query.answer])[0]), rel=1e-3)
    refusing = max(mean(ids) for ids in vlm.answer_ids(SCORED_OPENINGS, end=False))
    assert parrot.replies[2].refusal_probability == pytest.approx(refusing, rel=1e-3)
    assert table["probability"][2] == parrot.replies[2].answer_probability
    assert table["refused_parrot"].tolist() == [float(text.startswith("Give")) for text in table["question"]]


def test_a_document_is_read_once_and_again_only_for_answers_that_nobody_knew(vlm, cases):
    def looked(*asked):
        seen, parrot = [], Parrot()
        tower = vlm.model.get_submodule(vlm.layout.vision_tower)
        handle = tower.register_forward_pre_hook(
            lambda module, arguments, named: seen.append(len(arguments[0] if arguments else named["pixel_values"])),
            with_kwargs=True,
        )
        examine(vlm, asked, {"parrot": parrot}, max_new_tokens=3)
        handle.remove()
        return sum(seen), parrot.replies

    case = cases[1]
    secret = replace(case, benign=(replace(case.benign[0], answer=""), *case.benign[1:]))
    assert looked(*cases)[0] == len(cases)
    looks, (reply, *rest) = looked(secret)
    assert looks == 2
    for found, known in zip(rest, looked(case)[1][1:], strict=True):
        assert found.answer_probability == pytest.approx(known.answer_probability, rel=1e-4)
    picture = vlm.picture(case.open())
    (prompt,), (ids,) = vlm.prompt_ids([case.queries[0].text], picture=picture), vlm.answer_ids([reply.answer])
    plain = math.exp(plain_log_probability(vlm, prompt, ids, picture) / len(ids))
    assert reply.answer_probability == pytest.approx(plain, rel=1e-3)


def test_the_order_and_other_cases_change_no_answer(vlm, cases, table):
    alone = examine(vlm, cases[1:], default_judges(), max_new_tokens=5)
    together = table[table["set"] == "harmless"].reset_index(drop=True)
    assert alone["answer"].tolist() == together["answer"].tolist()


def test_a_question_longer_than_the_context_is_refused_before_it_is_asked(cases):
    vlm = make_vlm()
    vlm.model.config.text_config.max_position_embeddings = 300
    (private, *others) = cases[0].private
    endless = replace(cases[0], private=(replace(private, text="Why " * 400), *others))
    with pytest.raises(ModelError, match=rf"case {cases[0].id}: a question has \d+ tokens .* shorten it"):
        examine(vlm, [endless], {})


def test_benign_answers_are_kept_by_case_and_question(vlm, benchmark, tmp_path):
    path = tmp_path / "before.json"
    write_answers(vlm, benchmark, path, max_new_tokens=3)
    held = json.loads(path.read_text())["answers"]
    edited = benchmark.of(*EDITED_SPLITS)
    assert held.keys() == {case.id for case in edited}
    private = {query.text for case in benchmark.cases for query in case.private}
    assert not private & {question for asked in held.values() for question in asked}
    shuffled = {case: dict(reversed(asked.items())) for case, asked in reversed(held.items())}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"answers": shuffled}))
    case = read_answers(benchmark, path).of("seen")[0]
    assert [query.answer for query in case.benign] == [held[case.id][query.text] for query in case.benign]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "0"}, "answers to other data"), ({"format": "x"}, "no file of"), ({"answers": {}}, "has no answer"),
        ({"answers": None}, "no file of"),
    ],
)  # fmt: skip
def test_answers_to_something_else_are_refused(benchmark, tmp_path, change, message):
    path = tmp_path / "before.json"
    path.write_text(json.dumps({"format": "unsee.answers/1", "data": benchmark.fingerprint(), "answers": {}} | change))
    with pytest.raises(DataError, match=message):
        read_answers(benchmark, path)


def test_pairs_for_an_edit_are_written_as_lines(benchmark, tmp_path):
    path = tmp_path / "out/pairs.jsonl"
    assert write_pairs(benchmark, path) == 25 == len(path.read_text().splitlines())
    row = json.loads(path.read_text().splitlines()[0])
    assert (path.parent / row["image"]).is_file() and row["subject"] in row["sensitive"]
    assert row.keys() == {
        "image", "subject", "sensitive", "benign", "refusal", "category", "case", "benign_answer", "request",
    }  # fmt: skip


@pytest.mark.parametrize("split", ["harmless", "unseen_images", "train"])
def test_pairs_of_a_split_to_measure_on_are_not_written(benchmark, tmp_path, split):
    with pytest.raises(DataError, match=rf"split '{split}': edits must not use it; choose one of seen, seen_priv"):
        write_pairs(benchmark, tmp_path / "pairs.jsonl", split)
    assert not any(tmp_path.iterdir())


def test_a_guard_is_judged_by_what_it_says(vlm, benchmark, cases):
    nobody = Benchmark(forget=(), test=(), retain=(), celebrity=(), fingerprint="")
    general = Exam(vlm, nobody, general_items(2, 0), EvaluationConfig())
    exam = PrivacyExam(cases, general, default_judges(), max_new_tokens=3, batch_size=64)
    answers = exam.examine(vlm)
    private = {query.text for query in cases[0].private}
    found = exam.guarded(answers, lambda text: "I cannot tell you." if text in private else None)
    spoken = found["question"].isin(private)
    assert spoken.sum() == len(private) and found[~spoken].equals(answers[~spoken])
    assert (found.loc[spoken, [f"refused_{name}" for name in default_judges()]] == 1).all().all()
    assert not found.loc[spoken, ["leak", "probability"]].to_numpy().any()
    assert set(answers["set"]) == {"unseen_images", "harmless", "general"}


def test_the_request_of_a_record_reaches_the_pairs(benchmark):
    (case, *_) = benchmark.of("seen")
    pair, *_ = as_pairs([case])
    assert pair.request == case.request.text != pair.sensitive
    assert pair.requested().sensitive == case.request.text
    assert (pair.image, pair.benign_answer) == (case.image.read_bytes(), case.benign[0].answer)
