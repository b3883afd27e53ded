"""The section on attacks of the page, its Markdown and its files."""

import json
import re
import shutil

import pytest
from synthetic import CONTROLS, KNOWS, NEVER_KNEW, Mind, Model, attacked_run, make_answers, make_attacks, make_run

from unsee.core.record import Record
from unsee.report.attacks import attack_views
from unsee.report.reports import write_report
from unsee.scoring.comparison import attack_tables, scored_runs
from unsee.scoring.intervals import Estimate
from unsee.scoring.schema import AttackResult, Scores

pytestmark = pytest.mark.slow

SMALL = {"people": 8, "kept_people": 6, "items": 8}
HIDES = Mind((0, 0), (0, 0), 0.95)
METHODS = (Model("npo", "both", HIDES), Model("npo", "image", HIDES))
ATTACKED = (CONTROLS[3], CONTROLS[1], CONTROLS[2])
BROKEN = tuple(Model(one.method, one.modality, NEVER_KNEW, one.seed) for one in ATTACKED)
WAYS = {
    ("relearn", "half of the facts", 1): (*ATTACKED, METHODS[0]),
    ("relearn", "half of the facts", 2): (*ATTACKED, Model("npo", "both", Mind((0.5, 0.5), (0, 0)))),
    ("relearn", "half of the facts", 4): (*ATTACKED, Model("npo", "both", KNOWS)),
    ("prompt", "role", 0): (*ATTACKED, Model("npo", "image", KNOWS)),
    ("picture", "noise", 0): (*BROKEN, METHODS[0]),
}
TITLE = "Has it really gone?"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "plain", make_answers((*CONTROLS, *METHODS), **SMALL))


@pytest.fixture(scope="module")
def run(plain):
    return attacked_run(shutil.copytree(plain, plain.parent / "attacked"), make_attacks(WAYS, **SMALL))


@pytest.fixture(scope="module")
def pages(run, plain):
    return {
        (name, form): write_report([folder], plain.parent / f"{name}.{form}").read_text()
        for name, folder in (("plain", plain), ("attacked", run))
        for form in ("html", "md")
    }


def section(page):
    (found,) = re.findall(r'<section id="[^"]*attacks">.*?</section>', page, re.DOTALL)
    return found


def rows(table):
    """The texts of each row of a table."""
    cells = re.findall(r"<tr.*?>(.*?)</tr>", table, re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "|", row)).strip() for row in cells]


@pytest.mark.parametrize("form", ["html", "md"])
def test_the_section_is_there_only_where_there_were_attacks(pages, form):
    for name, count in (("plain", 0), ("attacked", 1)):
        page = pages[name, form]
        assert page.count(TITLE) == count
        assert page.count('<button type="button">robustness</button>') == (2 * count if form == "html" else 0)
        assert ("| model | robustness |" in page) == (form == "md" and count == 1)
    assert ('href="#run-1-attacks"' in pages["attacked", form]) == (form == "html")


def test_every_attacked_model_has_a_row_but_the_oracle(pages):
    summary, *_ = re.findall(r"<tbody>.*?</tbody>", section(pages["attacked", "html"]), re.DOTALL)
    names = [re.split(r"\|+", row.strip("|"))[0].strip() for row in rows(summary)]
    found = [re.sub(r"^\W*", "", name) for name in (row.split("</th>")[0] for row in summary.split('scope="row">')[1:])]
    assert len(names) == len(found) == 4  # do_nothing, the second oracle, and both ways of NPO
    assert summary.count("NPO") == 2 and "oracle" in summary and "random" not in summary
    table = pages["attacked", "md"].partition(TITLE)[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 4
    assert len({line.count("|") for line in lines}) == 1
    text = re.search(r"(?:^\|.*\n)+", table.lstrip("\n") + "\n", re.MULTILINE)[0]
    assert text.count("\n") == 2 + 4, "a blank line would end the table"


def test_an_attack_without_signal_says_so_and_counts_for_nothing(pages):
    found = section(pages["attacked", "html"])
    summaries = dict(re.findall(r"<summary><span>(.*?)</span>(.*?)</summary>", found))
    assert {name: "no signal" in tag for name, tag in summaries.items()} == {
        "relearn": False, "prompt": False, "picture": True,
    }  # fmt: skip
    assert found.count("no, left out") == 1


def test_curves_are_drawn_of_attacks_that_train_and_have_signal(pages, run):
    found = section(pages["attacked", "html"])
    assert found.count("<svg") >= 1 and len(re.findall(r'<svg class="panel"', found)) == 1
    (view, *others) = attack_views(Scores.load(run, "scores.json"))
    (panel,) = view.panels
    assert not any(other.panels for other in others)
    assert [text for _, text in panel.ticks] == ["1", "2", "4"]
    curve = next(curve for curve in panel.curves if curve.model == ("npo", "both"))
    heights = [float(point.split()[1]) for point in curve.path.removeprefix("M").split("L")]
    assert heights == sorted(heights, reverse=True) and heights[0] > heights[-1]
    assert curve.ends[1] == heights[-1]
    places = [place for place, _ in panel.ticks]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.11)


def test_files_of_scores_hold_robustness_where_there_were_attacks(run, plain, tmp_path):
    csv = write_report([run], tmp_path / "t.csv").read_text().splitlines()
    assert "robustness" in csv[0]
    assert "& robustness &" in write_report([run], tmp_path / "t.tex").read_text()
    assert "robustness" not in write_report([plain], tmp_path / "t.tex").read_text()
    written = json.loads(write_report([run], tmp_path / "t.json").read_text())
    assert "recovered" in json.dumps(written)


def test_a_redacted_page_of_an_attacked_run_holds_nobodys_text(run, tmp_path):
    answers = make_answers((*CONTROLS, *METHODS), **SMALL)
    page = write_report([run], tmp_path / "report.html", redact=True).read_text()
    assert TITLE in page
    for said in {*answers["question"], *answers["truth"], *answers["answer"]} - {""}:
        if len(said) > 5:
            assert said not in page
    assert not any(name in page for name in ("Ada Novak", "Bela Okafor"))


def test_names_of_attacks_and_ways_are_shown_as_they_are(run, tmp_path):
    evil = "<script>x</script> | `c` [x](javascript:alert(1))"
    odd = shutil.copytree(run, tmp_path / "run")
    (odd / "scores.json").write_text((odd / "scores.json").read_text().replace('"prompt"', json.dumps(evil)))
    page = write_report([odd], tmp_path / "t.html").read_text()
    assert "<script>x" not in page and "&lt;script&gt;x" in page
    text = write_report([odd], tmp_path / "t.md").read_text().partition(TITLE)[2]
    assert not re.search(r"(?<!\\)(?:<script|`|\]\()", text.partition("\n## ")[0])


def test_runs_are_pooled_only_if_all_were_attacked_and_people_of_other_draws_are_others(run, plain, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    (other / "config.toml").write_text((other / "config.toml").read_text().replace("seed = 0", "seed = 1"))
    records = [Record.open(folder) for folder in (run, other, plain)]
    assert attack_tables(records) == []
    first, second = attack_tables(records[:2])
    assert {unit[:2] for unit in first["unit"]} == {"0/"} and {unit[:2] for unit in second["unit"]} == {"1/"}
    assert not set(attack_tables(records[:1])[0]["unit"]) & set(first["unit"])
    asked = [set(run.bootstrap.answers["unit"]) for run in scored_runs(records[:2])]
    assert set(first["unit"]) < asked[0] and set(second["unit"]) < asked[1]


def result(variant, budget, method, signal=True, value=0.5):
    estimate = Estimate(value=value, low=value, high=value)
    return AttackResult(
        attack="relearn", variant=variant, budget=budget, method=method, modality="", knows=estimate,
        recovered=estimate, signal=signal, n_units=5, n_items=9,
    )  # fmt: skip


def test_the_worst_way_with_signal_counts_and_one_budget_is_no_curve():
    found = [result("a", 1, "npo", value=0.2), result("a", 2, "npo", signal=False, value=0.9)]
    found.append(result("b", 1, "npo", value=0.4))
    (view,) = attack_views(Scores(kind="people", cells=[], methods=[], attacks=found))
    assert view.worst["npo", ""].value == 0.4
    assert view.panels == []
    assert {title: [way.name for way in ways] for title, ways in view.tables.items()} == {
        "a": ["1 step", "2 steps"], "b": ["1 step"],
    }  # fmt: skip
