"""Several runs from one command: a sweep, a plan, a search."""

from __future__ import annotations

from collections import Counter

from integration.command import unsee
from leftovers import files_in

from unsee.core.record import Record


def test_a_sweep_is_one_graph_whose_runs_share_their_stages(recipe, finished, cache, tmp_path):
    shared, varied = dict(setting.split("=", 1) for setting in recipe[3::2]), "method.gradient_difference.learning_rate"
    lines = [f'"{key}" = {value if value[0] in "[0123456789" else repr(value)}' for key, value in shared.items()]
    file = tmp_path / "sweep.toml"
    text = ['name = "rates"', 'recipe = "tiny"', "[set]", *lines, "[vary]", f'"{varied}" = [8e-4, 9e-4]']
    file.write_text("\n".join(text))
    words = ["sweep", file, "--out", tmp_path / "sweep", "--workers", "1"]
    command = unsee(words, cache)
    assert command.code == 0, command.err
    folders = [tmp_path / "sweep" / name for name in ("1-learning_rate-0.0008", "2-learning_rate-0.0009")]
    assert command.out.splitlines()[-3:] == [
        *(f"ok         {folder / 'report.html'}" for folder in folders), str(tmp_path / "sweep" / "report.html"),
    ]  # fmt: skip
    trained = Counter(
        event["model"] for folder in folders for event in Record.open(folder).events() if event["event"] == "trained"
    )
    assert trained == {"gradient_difference-both": 2}
    told = unsee(["status", tmp_path / "sweep"], cache)
    assert told.code == 0 and [line.partition(";")[0] for line in told.out.splitlines()] == [
        f"{folder}: finished" for folder in folders
    ]
    assert "1-learning_rate-0.0008: 1 of 12: " in command.err
    rates = [Record.open(folder).read_toml("config.toml")["method"]["gradient_difference"] for folder in folders]
    assert [rate["learning_rate"] for rate in rates] == [8e-4, 9e-4]
    again = unsee([*words[:-1], "2"], cache)  # on workers, if there were anything to do
    assert (again.code, again.out) == (0, command.out), again.err


def test_a_sweep_with_an_option_that_no_run_takes_begins_no_run(recipe, tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('name = "s"\nrecipe = "tiny"\n[vary]\n"method.gradient_difference.retain_weight" = [1.0, "x"]\n')
    command = unsee(["sweep", file, "--out", tmp_path / "sweep"], tmp_path / "cache")
    assert (command.code, command.out) == (2, "")
    assert f"{file}: run 2-retain_weight-x: method.gradient_difference.retain_weight: must be a number" in command.err
    assert not (tmp_path / "sweep").exists()


def test_a_plan_says_what_is_in_the_cache_and_leaves_nothing(recipe, finished, cache, tmp_path):
    before = files_in(cache)
    command = unsee([*recipe, "--set", "method.gradient_difference.steps=7", "--plan"], cache)
    assert command.code == 0, command.err
    states = ["in the cache" in line for line in command.out.splitlines() if line.strip()[:1].isdigit()]
    assert states == [*[True] * 9, False, False, True]
    assert files_in(cache) == before
    assert unsee([*recipe, "--plan", "--workers", "x"], cache).code == 2


def test_a_search_ends_with_the_best_options_and_done_again_it_computes_nothing(recipe, finished, cache, tmp_path):
    words = ["tune", *recipe[1:], "--method", "gradient_difference", "--trials", "2", "--out", tmp_path / "search"]
    command = unsee(words, cache)
    assert command.code == 0, command.err
    assert "report figures of other people than these" in " ".join(command.err.split())
    best = tmp_path / "search" / "best.toml"
    page = tmp_path / "search" / "report.html"
    assert command.out.splitlines()[-2:] == [str(best), str(page)]
    assert "steps" in best.read_text() and "<svg" in page.read_text()
    folders = [tmp_path / "search" / "gradient_difference" / f"trial-{number}" for number in (0, 1)]
    events = [event for folder in folders for event in Record.open(folder).events()]
    assert [event["model"] for event in events if event["event"] == "trained"] == ["gradient_difference-both"]
    again = unsee(words, cache)
    assert (again.code, again.out) == (0, command.out)
