import re

import pytest
import synthetic_documents
from synthetic import CONTROLS, METHODS, make_answers, make_run

from unsee.core.errors import RecordError
from unsee.report.leaderboard import write_leaderboard

pytestmark = pytest.mark.slow
FEW = (*CONTROLS, METHODS[0], METHODS[-1])


def make_runs(folder):
    """Two draws of people in one setting, and a run with fewer people to forget."""
    runs = [make_run(folder / f"run-{draw}", make_answers(FEW, seed=draw), seed=draw, draw=draw) for draw in range(3)]
    config = runs[2] / "config.toml"
    config.write_text(config.read_text().replace("forget_percent = 15", "forget_percent = 5"))
    return runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def text(runs, tmp_path_factory):
    return write_leaderboard(runs, tmp_path_factory.mktemp("page") / "board.html").read_text()


FOUND = r'data-data="(.*?)" data-method="(.*?)".*?data-label="runs" data-value="(.*?)"'


def rows(text):
    """The number of runs behind each row of the board, by method and data."""
    board = text.partition('id="board"')[2].partition("</section>")[0]
    found = [re.search(FOUND, row, re.DOTALL).groups() for row in re.findall(r"<tr id=.*?</tr>", board, re.DOTALL)]
    return {(method, data): runs for data, method, runs in found}


def test_runs_that_differ_only_in_seeds_share_rows(text):
    found = rows(text)
    assert found["NPO", "60 invented, 15 %"] == "2" and found["NPO", "60 invented, 5 %"] == "1"
    assert {method for method, _ in found} >= {"second oracle", "do nothing"} and ("target" not in dict(found))


def test_every_row_leads_to_its_run_and_its_recipe(text):
    links = set(re.findall(r'href="#(run-\d+)-methods"', text.partition("</section>")[0] + text))
    assert all(f'id="{link}-methods"' in text and f'id="{link}"' in text for link in links)
    assert text.count("<summary>Config</summary>") == 3 and text.count('details class="run"') == 4


def test_a_filter_stands_for_what_differs(text):
    assert re.findall(r'data-filter="(.*?)"', text.partition("<script>")[0]) == [
        "run",
        "data",
        "method",
        "unlearned from",
    ]
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)


def test_redacted_it_holds_no_portrait(runs, tmp_path):
    text = write_leaderboard(runs[:1], tmp_path / "board.html", redact=True).read_text()
    assert "data:image" not in text


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Two draws of documents in one setting, and a run on others."""
    folder = tmp_path_factory.mktemp("documents")
    runs = [synthetic_documents.make_run(folder / f"run-{seed}", seed=seed) for seed in range(2)]
    return [*runs, synthetic_documents.make_run(folder / "other", seed=2, source="passports/")]


def test_runs_about_documents_have_their_own_numbers_and_plot(documents, tmp_path):
    text = write_leaderboard(documents, tmp_path / "board.html").read_text()
    board = text.partition('id="board"')[2].partition("</section>")[0]
    headings = re.findall(r'<button type="button">(.*?)</button>', board)
    assert headings[:8] == ["method", "run", "data", "EtA", "leaked", "over-refusal", "utility", "runs"]
    found = rows(text)
    assert found["Neural Gate", "invented, 6 pictures each"] == "2" and found["Neural Gate", "passports"] == "1"
    row = next(row for row in re.findall(r"<tr id=.*?</tr>", board, re.DOTALL) if ">do nothing<" in row)
    values = {name: float(value) for name, value in re.findall(r'data-label="(.*?)" data-value="(.*?)"', row)}
    assert (values["leaked"], values["over-refusal"], values["EtA"]) == (1, 0, 0.5)
    assert "EtA against utility" in board and board.count('class="point') > 2 * len(found) / 2
    assert text.count('id="run-1-methods"') == 1 and 'id="definitions"' in text


def test_redacted_it_holds_no_picture_of_a_document(documents, tmp_path):
    text = write_leaderboard(documents, tmp_path / "board.html", redact=True).read_text()
    assert "data:image" not in text and "421" not in text


def test_what_cannot_be_on_it_is_named(runs, documents, tmp_path):
    with pytest.raises(RecordError, match=r"run-0 is about people and .*run-0 is about documents"):
        write_leaderboard([runs[0], documents[0]], tmp_path / "board.html")
    with pytest.raises(RecordError, match="same run"):
        write_leaderboard([runs[0], runs[0]], tmp_path / "board.html")
    with pytest.raises(RecordError, match="html"):
        write_leaderboard(runs, tmp_path / "board.md")
    for missing in ([tmp_path], [*runs, tmp_path / "typo"]):
        with pytest.raises(RecordError, match="not a run"):
            write_leaderboard(missing, tmp_path / "board.html")


def test_a_run_that_is_not_finished_is_left_out_with_the_command_that_finishes_it(runs, text, tmp_path, caplog):
    (young := tmp_path / "young").mkdir()
    (young / "config.toml").write_text((runs[0] / "config.toml").read_text())
    assert rows(write_leaderboard([*runs, young, tmp_path], tmp_path / "board.html").read_text()) == rows(text)
    command = f"finish it: unsee run {young}/config.toml --out {young}; it is left out"
    assert [message.endswith(command) for message in caplog.messages] == [True, False]
    assert "not a run folder (no config.toml); it is left out" in caplog.messages[1]
