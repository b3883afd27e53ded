"""Commands that run recipes and deletion requests, build their data, write their reports and list names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from unsee.cli.listing import lines_of
from unsee.cli.options import Changes, Workers
from unsee.cli.terminal import is_only_process, print_table, show_progress
from unsee.core.errors import ConfigError
from unsee.core.reading import is_file
from unsee.core.text import one_line
from unsee.runtime.workers import start_early

commands = typer.Typer()
NO_SIGNAL, NOT_DONE = 3, 4


@commands.command("run")
def run_recipe(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name (see `unsee list recipes`) or file, such as a run's config.toml.")
    ] = "quick",
    change: Changes = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run (default: one under runs/).")] = None,
    workers: Workers = "auto",
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Show the stages and which of them are in the cache; compute none, write no run."),
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            help="Send losses, rates and scores to a tracker: tensorboard, wandb, mlflow, trackio; repeatable."
        ),
    ] = None,
) -> None:
    """Train, unlearn, evaluate and report, as a recipe says.

    The same command resumes an interrupted run.
    """
    from unsee.config.recipe import load_recipe

    config = load_recipe(recipe, change or ())
    if plan:
        with show_progress() as progress:
            from unsee.runs.graph import crew_of
            from unsee.runs.run import plan as planned
            from unsee.runs.tracking import check_trackers

            check_trackers(track or ())
            crew_of(workers, config)
            rows = planned(config, progress)
        print_table(rows)
        return
    _start_early(workers)
    with show_progress() as progress:
        from unsee.runs.run import run
        from unsee.scoring.table import EXTRAS

        result = run(config, out, progress, workers, track or ())
    print_table(result.rows, EXTRAS)
    if result.scores.lost:
        print(result.scores.cost_of_teaching, file=sys.stderr)
    if result.verdict == "no signal":
        print(f"unsee: no signal, so nothing is ranked: {result.reason}", file=sys.stderr)
    print(result.report)
    if result.verdict == "no signal":
        raise typer.Exit(NO_SIGNAL)


@commands.command("attack")
def attack_run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run about people.")],
    attack: Annotated[
        list[str] | None,
        typer.Option(help="Attack (see `unsee list attacks`); repeatable (default: all)."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Attack this method of the run only; repeatable (default: all).")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set an option of an attack: attack.relearn.steps=32; repeatable."
        ),
    ] = None,
    workers: Workers = "auto",
) -> None:
    """Attack the models of a finished run.

    Has it really gone, or is it only hidden? Target, oracles and methods are attacked with the same questions and
    budget. What the run computed is used; scores and page of the run are written again. The same command goes on
    where it was interrupted.
    """
    with show_progress() as progress:
        from unsee.runs.attack import attack as attack_again
        from unsee.scoring.table import EXTRAS

        result = attack_again(folder, attack or (), method or (), change or (), progress, workers)
    print_table(result.rows, sorted(EXTRAS, key="robustness".__eq__))  # what was asked for is left out last
    if silent := result.scores.silent_attacks:
        print(
            f"unsee: {', '.join(silent)}: no signal, so left out of robustness: even the target does "
            "not give what it knows under them, or the oracle gives as much",
            file=sys.stderr,
        )
    print(result.report)
    if result.verdict == "no signal":
        print(f"unsee: no signal, so attacks say nothing: {result.reason}", file=sys.stderr)
        raise typer.Exit(NO_SIGNAL)


@commands.command("sweep")
def run_sweep(
    file: Annotated[
        Path,
        typer.Argument(help="TOML file: name, recipe, [set] with values for all runs, [vary] with lists of values."),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep (default: one under runs/).")] = None,
    workers: Workers = "auto",
) -> None:
    """Run a recipe with every combination of some values.

    Ends with one report on all runs. Stages that runs share are computed once. The same command resumes an
    interrupted sweep. Exit code 3: a run has no signal.
    """
    with show_progress() as progress:
        from unsee.runs.sweep import sweep as run_all

        result = run_all(file, out, progress, workers)
    for run in result.runs:
        print(f"{run.verdict:<9}  {run.report}")
        if run.verdict == "no signal":
            print(f"unsee: {run.folder}: no signal, so nothing is ranked: {run.reason}", file=sys.stderr)
    print(result.report)
    if any(run.verdict == "no signal" for run in result.runs):
        raise typer.Exit(NO_SIGNAL)


@commands.command("tune")
def tune_method(
    recipe: Annotated[str, typer.Argument(help="A recipe about people: its name or file.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="Method to search; repeatable (default: all of the recipe)."),
    ] = None,
    trials: Annotated[int, typer.Option(help="Number of trials for each method.")] = 20,
    change: Changes = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the search (default: one under runs/).")] = None,
    workers: Workers = "auto",
    given: Annotated[
        list[str] | None,
        typer.Option("--range", help="Range of an option in place of the declared one: steps=10:40; repeatable."),
    ] = None,
) -> None:
    """Search good options of methods, on people never reported.

    The people are those of data.seed = 1. Prints every trial, the best first, the file of the best options, and the
    page. The same command goes on with an interrupted search.
    """
    from unsee.config.recipe import load_recipe
    from unsee.config.search import Range

    config, ranges = load_recipe(recipe, change or ()), Range.read_all(given or ())
    _start_early(workers)
    with show_progress() as progress:
        from unsee.runs.tune import tune

        result = tune(config, method or (), trials, out, progress, workers, ranges)
    print_table(result.trials)
    print(result.table)
    print(result.page)


@commands.command()
def unlearn(
    model: Annotated[
        str, typer.Argument(help="A shipped model's name, a folder or a hub name; not with --after.")
    ] = "",
    *,
    forget: Annotated[
        Path, typer.Option(help="Questions to forget: JSON lines with image, question, answer and person.")
    ],
    retain: Annotated[Path, typer.Option(help="Questions to keep, in the same format.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, the scores and the report.")],
    method: Annotated[str, typer.Option(help="Unlearning method (see `unsee list methods`).")] = "ignorance",
    modality: Annotated[str, typer.Option(help="Form of the questions to unlearn from: image, text or both.")] = "both",
    reference: Annotated[str, typer.Option(help="Number or name under which the request is filed.")] = "",
    after: Annotated[
        Path | None, typer.Option(help="Folder of the request before this one: start from the model that it left.")
    ] = None,
    change: Changes = None,
) -> None:
    """Make a model forget one file of questions and keep another.

    Needs no benchmark and no oracle. Exit code 4: something still leaks, or the model broke.
    """
    from unsee.config.recipe import resolve

    if bool(model) == bool(after):
        raise ConfigError("unlearn: give a model, or --after and the folder of the request before; not both")
    for key in ("forget", "retain", "after", "content", "reference", "model.id", f"method.{method}.modality"):
        if given := [one for one in change or () if one.partition("=")[0].strip() == key]:
            option = {"model.id": "the model's name", f"method.{method}.modality": "--modality", "content": "the rows"}
            raise ConfigError(f"--set {given[0]}: {key} is given by {option.get(key, f'--{key}')}; change it there")

    with show_progress() as progress:
        from unsee.runs.deletion import RequestConfig
        from unsee.runs.deletion import unlearn as carry_out
        from unsee.runs.requests import start_of

        settings = {
            "forget": str(forget), "retain": str(retain), "reference": reference, "after": str(after or ""),
            "model": {"id": start_of(after) if after else model},
            "method": {method: {"modality": [modality]}},
        }  # fmt: skip
        result = carry_out(resolve(RequestConfig, settings, change or ()), out, progress)
    print_table(result.rows)
    for sentence in result.sentences:
        print(sentence)
    print(result.report)
    if result.is_failed:
        raise typer.Exit(NOT_DONE)


@commands.command("requests")
def list_requests(
    folder: Annotated[Path, typer.Argument(help="Folder of a deletion request.")],
) -> None:
    """List a deletion request and all before it.

    Checks that none was changed, and says how to undo the last one.
    """
    from unsee.runs.requests import ledger_rows, ledger_sentences

    print_table(ledger_rows(folder))
    for sentence in ledger_sentences(folder):
        print(sentence)


@commands.command()
def build(
    folder: Annotated[Path, typer.Argument(help="Folder to write; must be new or empty.")],
    people: Annotated[str, typer.Option(help="Number of invented people, or a CSV file of your own people.")] = "500",
    portraits: Annotated[Path | None, typer.Option(help="Folder of the photos that the CSV file names.")] = None,
    celebrities: Annotated[
        str | None,
        typer.Option(
            help="Number of public figures that nano knows (default: 153, or 0 with your own people), or a CSV file of "
            "people that your model knows."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
) -> None:
    """Build a benchmark of invented people or of your own.

    Writes people, portraits, questions and the forget, retain, test and celebrity sets in MLLMU-Bench's layout.
    """
    asked = _count_or_file("--people", people)
    known = None if celebrities is None else _count_or_file("--celebrities", celebrities)
    if isinstance(asked, int):
        from unsee.data.people.builder import build as write
        from unsee.data.people.enough import warnings

        if portraits or isinstance(known, Path):
            raise ConfigError("--portraits and a CSV file of celebrities go with a CSV file of --people")
        write(folder, people=asked, celebrities=153 if known is None else known, seed=seed)
        for line in warnings(asked):
            print(line)
    elif not portraits:
        raise ConfigError(f"--people {people}: needs --portraits, the folder of the photos it names")
    else:
        from unsee.data.people.custom import build_custom

        for line in build_custom(folder, asked, portraits, known or 0, seed):
            print(one_line(line))
    print(folder)


def _count_or_file(option: str, text: str) -> int | Path:
    """Return the number of people that an option asks for, or the file of them.

    Raises:
        ConfigError: it is neither.
    """
    if text.isascii() and text.isdecimal() and len(text) < 7:
        return int(text)
    if not is_file(Path(text)):
        raise ConfigError(f"{option} {text}: neither a number of people nor a CSV file that exists")
    return Path(text)


@commands.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or of one deletion request or audit.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write: .html or .md, the scores as .csv, .tex or .json, or the plot as .svg or .pdf "
            "(default: a page in the run's folder; for several runs, here)."
        ),
    ] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Leave out names, answers and pictures.")] = False,
    leaderboard: Annotated[
        bool,
        typer.Option("--leaderboard", help="One table over runs of any models and data of one kind, with filters."),
    ] = False,
) -> None:
    """Write a page, a file of scores or a plot about runs.

    A page is self-contained. It is about one run or several, a deletion request or an audit.
    """
    from unsee.report.leaderboard import write_leaderboard
    from unsee.report.reports import write_again, write_report

    if leaderboard:
        print(write_leaderboard(runs, out or Path("leaderboard.html"), redact=redact))
        return
    if len(runs) == 1 and (page := write_again(runs[0], out, redact=redact)):
        print(page)
        return
    name = "report-redacted.html" if redact else "report.html"
    print(write_report(runs, out or (runs[0] / name if len(runs) == 1 else Path(name)), redact=redact))


@commands.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    methods: Annotated[
        tuple[str, str],
        typer.Option(help="Two methods; npo-both chooses what one unlearned from.", metavar="FIRST SECOND"),
    ],
) -> None:
    """Compare two methods of one run or several.

    Prints the difference of each number, with an interval. The interval is paired over people, and over trainings
    and runs where there are several.
    """
    from unsee.scoring.comparison import compare_methods, compared_rows

    print_table(compared_rows(compare_methods(runs, *methods)))
    print(f"first: {methods[0]}, second: {methods[1]}; difference: first minus second, from low to high in 95%")


@commands.command()
def status(
    run: Annotated[Path, typer.Argument(help="Folder of a run, a sweep, a search, a deletion request or an audit.")],
) -> None:
    """Show how far a run has come.

    Also while another process works on it; of several runs, one line each.
    """
    from unsee.runs.status import status as read_status

    several = [] if (run / "config.toml").exists() else sorted(path.parent for path in run.rglob("config.toml"))
    found = [read_status(folder) for folder in several or [run]]
    if not several:
        print_table(found[0].rows)
    for line in (line for one in found for line in (one.sentences[:1] if several else one.sentences)):
        print(line)


@commands.command("list")
def list_names(
    kind: Annotated[
        str, typer.Argument(metavar="methods|attacks|metrics|models|datasets|privacy|judges|refusals|utility|recipes")
    ],
) -> None:
    """List available methods, models, recipes and other names.

    Each name has a line of its own and a short description.
    """
    lines = lines_of(kind)
    width = max((len(name) for name, _ in lines), default=0)
    for name, summary in lines:
        print(f"{name:<{width}}  {summary}".rstrip())


def _start_early(workers: str) -> None:
    """Let workers import the program while this process does."""
    if is_only_process():
        start_early(workers, "unsee.runs.graph")
