import pytest
import synthetic_documents
from synthetic import CONTROLS, NEVER_KNEW, Mind, Model, make_answers, make_run

from unsee.core.errors import ConfigError, RecordError, UnknownNameError
from unsee.scoring.comparison import compare_methods, compared_rows
from unsee.scoring.schema import Scores

pytestmark = pytest.mark.slow
FRAME = (*CONTROLS[:2], CONTROLS[3])
GOOD, BAD = Mind((0.05, 0.05), (0.05, 0.05), 0.95), Mind((0.6, 0.6), (0.6, 0.6), 0.95)


def run(folder, draw=0, seed=0, good=GOOD, bad=BAD, seeds=(0,)):
    pairs = [(Model("npo", "both", good, own), Model("kl_minimisation", "both", bad, own)) for own in seeds]
    models = (*FRAME, *(model for pair in pairs for model in pair), Model("npo", "text", BAD), Model("prompting"))
    return make_run(folder, make_answers(models, people=8, kept_people=8, items=20, seed=draw), seed, draw)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(tmp_path_factory.mktemp("alone") / "run")


def found(folders, first="npo", second="kl_minimisation"):
    return {(one.modality, one.number): one for one in compare_methods(folders, first, second)}


def test_a_difference_is_that_of_the_table_and_paired_over_people(alone):
    scores = {(m.method, m.modality): m.score for m in Scores.load(alone, "scores.json").methods}
    one = found([alone])["both", "score"]
    assert (one.first, one.second) == (scores["npo", "both"], scores["kl_minimisation", "both"])
    assert one.difference.value == pytest.approx(one.first.value - one.second.value)
    assert one.difference.low > 0
    same = found([alone], "npo-both", "npo-both")["both", "score"].difference
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_one_method_may_be_compared_with_itself_from_other_questions(alone):
    assert {modality for modality, _ in found([alone], "npo-both", "npo-text")} == {"both / text"}
    assert {modality for modality, _ in found([alone], "prompting", "npo")} == {"both", "text"}
    (row, *_) = compared_rows(compare_methods([alone], "npo-both", "npo-text"))
    assert float(row.low) <= float(row.difference) <= float(row.high)


def test_several_runs_are_compared_run_by_run(alone, tmp_path):
    draws = [alone, run(tmp_path / "1", 1)]
    single = [found([folder])["both", "score"].difference.value for folder in draws]
    together = found(draws)["both", "score"].difference
    assert together.value == pytest.approx(sum(single) / 2)
    assert together.low <= min(single) + 0.1 and together.high >= max(single) - 0.1


def test_runs_that_disagree_show_no_difference(alone, tmp_path):
    other = run(tmp_path / "other", 1, good=BAD, bad=GOOD)
    both = found([alone, other])["both", "score"].difference
    assert both.low < 0 < both.high


@pytest.mark.parametrize(
    ("methods", "error", "message"),
    [
        (("npo", "kl"), UnknownNameError, "--methods: unknown name 'kl' .known: do_nothing, kl_minimisation"),
        (("npo-image", "npo"), UnknownNameError, "unknown name 'npo-image'"),
    ],
)
def test_a_method_that_the_run_does_not_have_is_said(alone, methods, error, message):
    with pytest.raises(error, match=message):
        compare_methods([alone], *methods)


def test_of_several_runs_the_one_without_the_method_is_named(alone, tmp_path):
    other = make_run(
        tmp_path / "other", make_answers((Model("target"), Model("oracle", mind=NEVER_KNEW), Model("rmu")))
    )
    with pytest.raises(UnknownNameError, match=r"--methods: .*other: unknown name 'npo' \(known: .*rmu"):
        compare_methods([alone, other], "npo", "npo")


def test_what_cannot_be_compared_is_one_sentence(alone, tmp_path):
    models = [Model("target", mind=NEVER_KNEW), Model("oracle", mind=NEVER_KNEW), Model("npo"), Model("rmu")]
    empty = make_run(tmp_path / "empty", make_answers(tuple(models)))
    with pytest.raises(RecordError, match=r"empty: no signal, so no method is ranked: the "):
        compare_methods([empty], "npo", "rmu")
    with pytest.raises(UnknownNameError, match=r"--methods: unknown name 'npoo'; did you mean 'npo'"):
        compare_methods([empty], "rmu", "npoo")
    with pytest.raises(RecordError, match=r"holds the same run as .*; name each run once"):
        compare_methods([alone, alone], "npo", "rmu")
    with pytest.raises(RecordError, match="give runs of one kind"):
        compare_methods([alone, synthetic_documents.make_run(tmp_path / "documents")], "npo", "rmu")
    apart = (*FRAME, *(Model("npo", kind) for kind in ("image", "text")), *(Model("rmu", k) for k in ("a", "b")))
    with pytest.raises(ConfigError, match="name one kind of each, such as npo-image"):
        compare_methods([make_run(tmp_path / "apart", make_answers(apart))], "npo", "rmu")


def test_documents_are_compared_by_what_is_refused_leaked_and_kept(tmp_path):
    folder = synthetic_documents.make_run(tmp_path / "documents")
    first, second = [m.method for m in Scores.load(folder, "scores.json").methods if m.eta][-2:]
    compared = {one.number: one for one in compare_methods([folder], first, second)}
    assert {"eta", "rta", "leak_rate"} <= compared.keys()
    assert compared["eta"].difference.value == pytest.approx(compared["eta"].first.value - compared["eta"].second.value)
