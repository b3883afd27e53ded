"""The command line: the only place that prints, sets up logging and decides the exit code.

0 done, 1 crash (traceback), 2 an error of the user (one sentence), 3 no signal, 130 interrupted. Everything heavy is
imported inside the command that needs it, so that `unsee list` answers at once.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

import unsee
from unsee.allocator import settle
from unsee.errors import ConfigError, UnknownNameError, UnseeError

if TYPE_CHECKING:
    import rich.progress
    import rich.table

    from unsee.judge.base import Costs
    from unsee.progress import Advance, Progress
    from unsee.registry import Registry

USER_ERROR, NO_SIGNAL, INTERRUPTED = 2, 3, 130
WIDTH = 140  # where stdout is no terminal
STYLES = {"collapsed": "red", "no signal": "yellow"}

app = typer.Typer(
    name="unsee",
    help="Makes vision-language models forget people, and measures how far that is from never having seen them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after the program's name; the process's own by default.

    Returns:
        The exit code.
    """
    settle()
    try:
        app(arguments)
    except UnseeError as error:
        print(f"unsee: {error}", file=sys.stderr)
        return USER_ERROR
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("unsee: interrupted; resumable: run the same command again", file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else 0
    return 0


@app.callback(invoke_without_command=True)
def show_version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Answer what needs no command."""
    if version:
        print(f"unsee {unsee.__version__}")
        raise typer.Exit


@app.command("run")
def run_recipe(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name, or the path of one (a run's config.toml too).")
    ] = "quick",
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default one under runs/.")] = None,
) -> None:
    """Teach, forget, evaluate and report, as the recipe says; continues where an interrupted run stopped."""
    from unsee.config import load_recipe

    config = load_recipe(recipe, change or ())
    with _progress() as progress:
        from unsee.run import run

        result = run(config, out, progress)
    _print_table(result.rows)
    if result.verdict == "no signal":
        print("unsee: no signal: target and oracle do not differ, so nothing is ranked", file=sys.stderr)
    print(result.report)
    if result.verdict == "no signal":
        raise typer.Exit(NO_SIGNAL)


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="Where the data goes.")],
    people: Annotated[int, typer.Option(min=2, max=500, help="Fictitious people.")] = 500,
    celebrities: Annotated[int, typer.Option(min=1, max=153, help="Public figures.")] = 153,
    seed: Annotated[int, typer.Option(min=0, help="What everything is drawn from.")] = 0,
) -> None:
    """Write people, portraits, questions and the four sets to a folder, in the published layout."""
    from unsee.data.builder import build as write

    write(folder, people=people, celebrities=celebrities, seed=seed)
    print(folder)


@app.command("eval")
def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model's name, a folder, or a hub name.")],
    data: Annotated[Path, typer.Option(help="A data folder, as `unsee build` writes it.")],
    forget_percent: Annotated[int, typer.Option(help="Which forget set: 5, 10 or 15.")] = 15,
) -> None:
    """Ask one model everything and print its value in each cell."""
    with _progress() as progress:
        from unsee.run import evaluate_model

        rows = evaluate_model(model, data, forget_percent, progress)
    _print_table(rows)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    out: Annotated[
        Path | None, typer.Option(help="The file; by default in the run's folder, or here for several.")
    ] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Leave out names, answers and portraits.")] = False,
) -> None:
    """Write one self-contained page about one run or several."""
    from unsee.report.html import write_report

    name = "report-redacted.html" if redact else "report.html"
    print(write_report(runs, out or (runs[0] / name if len(runs) == 1 else Path(name)), redact=redact))


@app.command()
def judge(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    judge: Annotated[str, typer.Option(help="Who judges: a name of `unsee list judges`.")] = "offline",
    model: Annotated[str | None, typer.Option(help="The judging model; else UNSEE_JUDGE_MODEL.")] = None,
    base_url: Annotated[str | None, typer.Option(help="The endpoint; else OPENAI_BASE_URL.")] = None,
    price_in: Annotated[float | None, typer.Option(min=0, help="Price of a million tokens sent.")] = None,
    price_out: Annotated[float | None, typer.Option(min=0, help="Price of a million tokens received.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Requests under way at once.")] = None,
    requests_per_minute: Annotated[float | None, typer.Option(help="Requests started, at most.")] = None,
    timeout_seconds: Annotated[float | None, typer.Option(help="How long the endpoint may be silent.")] = None,
    body: Annotated[str | None, typer.Option(metavar="JSON", help="Merged into every request; null removes.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking; answers leave this machine.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent and stop.")] = False,
) -> None:
    """Score how true every generated sentence of a run is, 1 to 10; the report shows it from then on."""
    from unsee.config import build_dataclass
    from unsee.judge import JUDGES
    from unsee.judge.base import RemoteJudge
    from unsee.judge.judging import judge_run, open_docket, table

    given = {
        "model": model, "base_url": base_url, "price_in": price_in, "price_out": price_out, "concurrency": concurrency,
        "requests_per_minute": requests_per_minute, "timeout_seconds": timeout_seconds, "body": _json_object(body),
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    judging = build_dataclass(JUDGES.get(judge), options, f"judge.{judge}")
    docket = open_docket(run)
    if isinstance(judging, RemoteJudge):
        _consent(judging.costs(docket), yes=yes or dry_run)
    if dry_run:
        return
    with _progress() as progress:
        factuality = judge_run(docket, judging, progress)
    _print_table(table(factuality))
    if factuality.invalid:
        print(f"unsee: {factuality.invalid} of {factuality.cases} answers got no score", file=sys.stderr)
    print(run / "report.html")


def _json_object(text: str | None) -> dict[str, object] | None:
    import json

    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--body: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError('--body: must be a JSON object, such as {"max_tokens": 8}')
    return value


def _consent(costs: Costs, *, yes: bool) -> None:
    """Say what would be sent and ask for consent, unless it was given; without it nothing happens."""
    print(costs.sentence, file=sys.stderr)
    if yes or not costs.calls:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nothing was sent: this needs your consent, and there is no terminal to ask on; add --yes")
    if not typer.confirm(f"Send them to {costs.receiver}?", err=True):
        raise ConfigError("nothing was sent: you did not consent")


@app.command()
def utility(
    model: Annotated[str, typer.Argument(help="A shipped model's name, a folder, or a hub name.")],
    benchmark: Annotated[str, typer.Option(help="A name of `unsee list utility`.")],
    data: Annotated[str | None, typer.Option(help="A folder, or a name on the hub; else the benchmark's own.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask at most so many questions, drawn evenly.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what --limit draws.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A folder for the numbers and the answers.")] = None,
    review: Annotated[bool, typer.Option("--review", help="Have UNSEE_JUDGE_MODEL grade the answers.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking; answers leave this machine.")] = False,
) -> None:
    """Ask a model the questions of a published benchmark and print the published numbers."""
    from unsee.judge.asking import Asking
    from unsee.utility import UTILITY
    from unsee.utility.evaluate import Review, check_reviewed, sit

    if review:
        from unsee.config import build_dataclass

        check_reviewed(benchmark, UTILITY.get(benchmark)())
        asking = build_dataclass(Asking, {}, "--review")
        if out is None:
            raise ConfigError("--review: keeps a journal, so that nothing is asked twice; give --out a folder")
        out.mkdir(parents=True, exist_ok=True)
    with _progress() as progress:
        sitting = sit(model, benchmark, data, limit=limit, seed=seed, progress=progress)
    grades = None
    if review and out:
        reviewing = Review(sitting, asking, out)
        _consent(reviewing.costs, yes=yes)
        with _progress() as progress:
            grades = reviewing.grades(progress)
    taken = sitting.score(grades)
    if out:
        taken.save(out)
    _print_table(taken.rows)
    print(f"{taken.result.n_items} questions, {taken.result.invalid:.1%} of the answers not in the form asked for")


@app.command("list")
def list_names(
    kind: Annotated[str, typer.Argument(metavar="methods|metrics|models|datasets|judges|utility|recipes")],
) -> None:
    """List what can be used, one per line with what it is."""
    if kind not in LISTS:
        raise UnknownNameError("list", kind, LISTS)
    lines = LISTS[kind]()
    width = max((len(name) for name, _ in lines), default=0)
    for name, summary in lines:
        print(f"{name:<{width}}  {summary}".rstrip())


def _registered(package: str, name: str) -> list[tuple[str, str]]:
    registry: Registry = getattr(importlib.import_module(package), name)
    return [(leaf.name, leaf.summary + (f" ({leaf.paper})" if leaf.paper else "")) for leaf in registry.leaves()]


def _models() -> list[tuple[str, str]]:
    from unsee.models import shipped

    return [(name, "Shipped with unsee.") for name in shipped()] + [
        (name, f"Family, from a folder or the hub: {summary}")
        for name, summary in _registered("unsee.models", "MODELS")
    ]


def _recipes() -> list[tuple[str, str]]:
    from unsee.config import RECIPES, recipe_names

    def first_comment(name: str) -> str:
        return (RECIPES / f"{name}.toml").read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")

    return [(name, first_comment(name)) for name in recipe_names()]


LISTS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "methods": partial(_registered, "unsee.methods", "METHODS"),
    "metrics": partial(_registered, "unsee.metrics", "METRICS"),
    "models": _models,
    "datasets": partial(_registered, "unsee.data", "DATASETS"),
    "judges": partial(_registered, "unsee.judge", "JUDGES"),
    "utility": partial(_registered, "unsee.utility", "UTILITY"),
    "recipes": _recipes,
}


def _print_table(rows: Sequence[NamedTuple]) -> None:
    """Print rows of text on stdout; the headings are the names of their fields.

    A terminal too narrow for the intervals gets the values alone.
    """
    from rich.console import Console

    if not rows:
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    table = _table([[str(value) for value in row] for row in rows], rows[0]._fields)
    if console.measure(table, options=console.options.update(max_width=1000)).maximum > console.width:
        table = _table([[str(value).partition(" [")[0] for value in row] for row in rows], rows[0]._fields)
    console.print(table)


def _table(rows: Sequence[Sequence[str]], headings: Sequence[str]) -> rich.table.Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*row, style=STYLES.get(row[-1]))
    return table


class TerminalProgress:
    """Bars on a terminal: one for each open task, and a line with its time for each finished one."""

    def __init__(self, bars: rich.progress.Progress) -> None:
        self._bars = bars

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        """Show a bar until the task ends."""
        bar = self._bars.add_task(name, total=total)
        started = time.monotonic()
        try:
            yield lambda steps: self._bars.advance(bar, steps)
        finally:
            self._bars.remove_task(bar)
            self._bars.refresh()
        self._bars.console.print(f"[dim]{name}  {time.monotonic() - started:.0f} s[/dim]", highlight=False)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Bars and log lines on stderr for long work; without a terminal only the log's warnings."""
    import logging

    from rich.console import Console
    from rich.logging import RichHandler
    from rich.progress import Progress as Bars

    from unsee.progress import Silent

    console = Console(stderr=True)
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    _hush()
    if not console.is_terminal:
        yield Silent()
        return
    with Bars(console=console) as bars:
        yield TerminalProgress(bars)


def _hush() -> None:
    """Leave the terminal to unsee: no bars and no advice of transformers; downloads from the hub still show."""
    from transformers.utils import logging

    logging.set_tqdm_hook(lambda bar, arguments, options: bar(*arguments, **options | {"disable": True}))
    logging.set_verbosity_error()


if __name__ == "__main__":
    sys.exit(main())
