import json
import re
import shutil

import pytest
from synthetic import CONTROLS, METHODS, NEVER_KNEW, Mind, Model, check_tables, make_answers, make_run

from unsee.core.errors import RecordError
from unsee.core.record import Record
from unsee.report.reports import write_report
from unsee.scoring.factuality import Factuality, FactualityCell
from unsee.scoring.table import rounded

pytestmark = pytest.mark.slow

FEW = (*CONTROLS, METHODS[0], METHODS[1], METHODS[-1])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), make_answers(FEW))


@pytest.fixture(scope="module")
def text(run, tmp_path_factory):
    return page(run, tmp_path_factory.mktemp("page"))


def page(run, tmp_path, **options):
    return write_report([run], tmp_path / "report.html", **options).read_text()


def test_the_page_is_one_small_file_that_names_no_other(text):
    assert len(text) < 1_000_000
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    assert "http:" not in text
    assert "https:" not in text
    assert "<title>synthetic</title>" in text


def test_the_verdict_names_the_best_method_and_what_it_cost(text):
    verdict = re.search(r'class="verdict">(.*?)</p>', text).group(1)
    assert verdict.startswith("NPO, unlearning from image and text questions, forgot best")
    assert "a second retrained model scores 0.9" in verdict
    assert "1 of 3 attempts broke the model: gradient ascent (image)." in verdict


def test_a_method_that_shares_its_rank_is_not_called_the_best(tmp_path):
    npo, idk = METHODS[-1], Model("idk", "both", METHODS[-1].mind)
    text = page(make_run(tmp_path / "run", make_answers((*CONTROLS, npo, idk))), tmp_path)
    verdict = re.search(r'class="verdict">(.*?)</p>', text).group(1)
    assert "has the highest score, but chance could explain its lead over" in verdict and "forgot best" not in verdict
    assert "NPO" in verdict and "IDK" in verdict


def test_a_redacted_page_holds_no_name_answer_or_portrait(run, text, tmp_path):
    answers = Record.open(run).read_table("answers.parquet")
    redacted = page(run, tmp_path, redact=True)
    assert "data:image" not in redacted
    assert "Ada Novak" in text
    for said in {*answers["question"], *answers["truth"]} - {""}:
        assert said not in redacted
    assert "left out" in redacted


def test_the_cost_of_each_model_comes_from_the_log(text):
    assert "oracle 1,234,567 148.0 1,054 54 2.50 12.3" in re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_answers_are_escaped(tmp_path):
    answers = make_answers(FEW)
    evil = "<script>alert(1)</script>"
    answers.loc[answers["method"] == "npo", "answer"] = evil
    text = page(make_run(tmp_path / "run", answers), tmp_path)
    assert evil not in text
    assert "&lt;script&gt;" in text


def test_without_signal_nothing_is_ranked(tmp_path):
    alike = (Model("target", mind=NEVER_KNEW), Model("oracle", mind=NEVER_KNEW), Model("npo", "both"))
    text = page(make_run(tmp_path / "run", make_answers(alike)), tmp_path)
    assert "No signal, so nothing is ranked: the target did not learn the people to forget (choices: target" in text
    assert "Nothing to plot" in text
    assert "best method" not in text


def test_if_all_methods_break_there_is_no_best(tmp_path):
    broken = Model("gradient_ascent", "both", Mind((0, 0), (0, 0), 0.0, manner="silent"))
    text = page(make_run(tmp_path / "run", make_answers((*CONTROLS, broken))), tmp_path)
    assert "No method made the model forget and kept it working. 1 of 1 attempts broke" in text


def test_several_runs_stand_on_one_page(run, tmp_path):
    other = make_run(tmp_path / "other", make_answers((*CONTROLS[:3], METHODS[-1]), 6, 8, 20, 3), 0, 0)
    text = write_report([run, other], tmp_path / "both.html").read_text()
    assert text.count("<h1>") == 2
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))


def test_runs_of_one_recipe_on_other_people_are_shown_together_too(tmp_path):
    few = (*CONTROLS[:3], METHODS[-1])
    runs = [make_run(tmp_path / str(draw), make_answers(few, 6, 8, 20, draw), draw, draw) for draw in range(2)]
    text = write_report(runs, tmp_path / "all.html").read_text()
    assert re.findall("<h1>(.*?)</h1>", text) == ["synthetic, 2 runs together", "synthetic", "synthetic"]
    assert "intervals are over runs, trainings and people together. 2 runs say little" in re.sub(r"\s+", " ", text)
    assert "2 trainings: 0." in text
    other = make_run(tmp_path / "other", make_answers(few, 6, 8, 20, 2), 0, 0)
    assert write_report([runs[0], other], tmp_path / "same.html").read_text().count("<h1>") == 2
    assert "# synthetic, 2 runs together" in write_report(runs, tmp_path / "all.md").read_text()


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_the_page_says_what_its_intervals_cover(tmp_path, seeds):
    models = (*CONTROLS[:3], *(Model("npo", "both", Mind((0.1, 0.1), (0.1, 0.1)), seed) for seed in seeds))
    page = write_report([make_run(tmp_path / "run", make_answers(models))], tmp_path / "page.md").read_text()
    assert ("Intervals are over people only. Another seed" in page) == (len(seeds) == 1)
    assert ("Rows with several trainings (NPO) are means over them" in page) == (len(seeds) == 2)


def test_the_page_says_what_teaching_cost(tmp_path):
    models = (*CONTROLS[:3], Model("base", mind=Mind((0, 0), (0, 0), 1.0)))
    answers = make_answers(models)
    lost = (answers["method"] == "target") & (answers["set"] == "celebrity") & (answers["task"] == "cloze")
    answers.loc[lost, "accuracy"] = 0.0
    run = make_run(tmp_path / "run", answers)
    for name in ("page.html", "page.md"):
        page = write_report([run], tmp_path / name).read_text()
        assert "Teaching cost the target some of what the base model could do: celebrity cloze by" in page
        assert "base model" in page


def test_an_unfinished_run_is_refused_and_nothing_written(tmp_path):
    Record.create(tmp_path / "run", "seed = 0")
    with pytest.raises(RecordError, match=r"scores\.json: missing"):
        write_report([tmp_path / "run"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_page_of_a_deletion_request_is_said(tmp_path):
    Record.create(tmp_path / "request", "seed = 0").write_json("request.json", {})
    with pytest.raises(RecordError, match=r"request: a deletion request; its page is .*request/report\.html$"):
        write_report([tmp_path / "request"], tmp_path / "report.html")


@pytest.mark.parametrize("name", ["t.docx", "t.xlsx", "t", "t.HTML.gz", "t.CSV"])
def test_an_ending_that_would_hold_something_else_is_refused(run, tmp_path, name):
    with pytest.raises(RecordError, match=r"a report ends in \.html, \.md, \.csv, \.tex, \.json, \.svg or \.pdf"):
        write_report([run], tmp_path / name)
    assert not (tmp_path / name).exists()


def test_numbers_read_well():
    assert [rounded(value) for value in (-0.001, 0.5, 1)] == ["0.00", "0.50", "1.00"]


def test_markdown_holds_the_tables_and_nobodys_answers(run, tmp_path):
    text = write_report([run], tmp_path / "results.md").read_text()
    check_tables(text)
    assert "| NPO | both | 0." in text
    assert "unsee run" in text
    assert "Ada Novak" not in text


def test_the_page_compares_image_with_text_questions(tmp_path):
    answers = make_answers((*CONTROLS[:3], *METHODS[-3:]))
    text = page(make_run(tmp_path / "run", answers), tmp_path)
    assert "Image questions or text questions?" in text


def changed_answers(change):
    def odd(run):
        record = Record.open(run)
        record.write_table("answers.parquet", change(record.read_table("answers.parquet")))

    return odd


ODD = {
    "no column truth": changed_answers(lambda table: table.drop(columns="truth")),
    "no column options, accuracy": changed_answers(lambda table: table.drop(columns=["options", "accuracy"])),
    "holds no answer": changed_answers(lambda table: table[:0]),
    r"are about different models \(do_nothing, target\)": changed_answers(
        lambda table: table[~table["method"].isin(["target", "do_nothing"])]
    ),
    r"different models \(do_nothing, gradient_ascent-image, npo-both and 5 more\)": lambda run: (
        run / "scores.json"
    ).write_text(re.sub(r'"methods": \[.*?\n \]', '"methods": []', (run / "scores.json").read_text(), flags=re.DOTALL)),
    r"answers\.parquet: not a parquet table": lambda run: (run / "answers.parquet").write_text("x"),
}


@pytest.mark.parametrize("sentence", ODD)
@pytest.mark.parametrize("name", ["report.html", "report.md", "report.csv"])
def test_a_folder_that_was_changed_is_one_sentence_and_nothing_is_written(run, tmp_path, sentence, name):
    odd = shutil.copytree(run, tmp_path / "run")
    ODD[sentence](odd)
    with pytest.raises(RecordError, match=sentence):
        write_report([odd], tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_log_with_lines_of_others_is_no_reason_to_fail(run, tmp_path):
    odd = shutil.copytree(run, tmp_path / "run")
    (odd / "log.jsonl").write_text('[1]\n{"event": "trained"}\n{"a": 1}\n5\n')
    assert "What the models say" in page(odd, tmp_path)


def test_markdown_has_what_the_page_has_refused_leaked_and_factuality(run, tmp_path):
    judged = shutil.copytree(run, tmp_path / "run")
    cell = {"method": "npo", "modality": "both", "seed": 0, "set": "forget", "input": "text", "value": 7.5, "low": 6.0}
    cells = [FactualityCell(**cell, high=9.0, n_units=12, n_items=24, invalid=0.0)]
    Factuality(judge="offline", cases=9, invalid=1, cells=cells).save(Record.open(judged), "judge.json")
    text = write_report([judged], tmp_path / "results.md").read_text()
    assert "| score | refused | leaked | rank | verdict |" in text
    assert "from 1 (nothing) to 10 (all). Judge: offline; 9 different" in text
    assert "| NPO | both | - / 7.50 [6.00, 9.00] |" in text
    check_tables(text)


NAME = "[x](javascript:alert(1)) <b> | `c` *b*"
EVIL = "[x](javascript:alert(1)) <script>x</script> | `c` *b* https://a.b \n# heading"


def test_markdown_shows_foreign_names_as_they_are(tmp_path):
    answers = make_answers((*CONTROLS[:3], METHODS[0]))
    folder = make_run(tmp_path / "run", answers)
    (folder / "config.toml").write_text((folder / "config.toml").read_text().replace("synthetic", NAME))
    scores = json.loads((folder / "scores.json").read_text())
    scores["methods"][-1]["reason"] = EVIL
    (folder / "scores.json").write_text(json.dumps(scores))
    plain = make_run(tmp_path / "plain", answers)
    text = write_report([folder], tmp_path / "report.md").read_text()
    expected = write_report([plain], tmp_path / "plain.md").read_text()
    assert len(text.splitlines()) == len(expected.splitlines())
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()]
    assert bars == [len(re.findall(r"(?<!\\)\|", line)) for line in expected.splitlines()]
    outside = re.sub(r"```sh\n.*?```", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)(?:<script|`|\]\()|https:/", outside)
