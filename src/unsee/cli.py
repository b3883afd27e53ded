"""The command line: the only place that prints, sets up logging and decides the exit code.

0 done, 1 crash (traceback), 2 an error of the user (one sentence), 3 no signal, 130 interrupted. Everything heavy is
imported inside the command that needs it, so that `unsee list` answers at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

import unsee
from unsee.allocator import settle
from unsee.errors import UnknownNameError, UnseeError

if TYPE_CHECKING:
    import rich.progress
    import rich.table

    from unsee.progress import Advance, Progress
    from unsee.registry import Registry

USER_ERROR, NO_SIGNAL, INTERRUPTED = 2, 3, 130
WIDTH = 140  # where stdout is no terminal
STYLES = {"collapsed": "red", "no signal": "yellow"}

models = typer.Typer(help="Look into models.", no_args_is_help=True)
app = typer.Typer(
    name="unsee",
    help="Makes vision-language models forget people, and measures how far that is from never having seen them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

privacy = typer.Typer(no_args_is_help=True, help="Private questions about pictures: data, answers, refusals and leaks.")
app.add_typer(privacy, name="privacy")

DataFolder = Annotated[Path, typer.Option(help="The benchmark's folder.")]
ImageFolder = Annotated[Path | None, typer.Option(help="Where its image paths start; the same folder by default.")]


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
        print(f"unsee: no signal: {result.reason}, so nothing is ranked", file=sys.stderr)
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


@privacy.command("build")
def build_privacy(
    folder: Annotated[Path, typer.Argument(help="Where the data go.")],
    images: Annotated[int, typer.Option(min=1, max=1000, help="Pictures per subject and split.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="What everything is drawn from.")] = 0,
    unseen_subject: Annotated[str | None, typer.Option(help="The subject left for testing; drawn by default.")] = None,
) -> None:
    """Write pictures of invented documents with private and benign questions, in PrivacyPair's format."""
    from unsee.data.privacy.builder import build as write

    write(folder, images=images, seed=seed, unseen_subject=unseen_subject)
    print(folder)


@privacy.command("answers")
def answer_benign(
    model: Annotated[str, typer.Argument(help="The unedited model: a shipped name, a folder, or a hub name.")],
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    images: ImageFolder = None,
) -> None:
    """Let the unedited model answer the benign questions an edit uses; private ones are not asked."""
    from unsee.data.privacy.privacy_pair import load
    from unsee.privacy import write_answers

    benchmark = load(data, images)
    with _progress() as progress:
        from unsee.models.vlm import VLM

        write_answers(VLM.load(model), benchmark, out, progress=progress)
    print(out)


@privacy.command("pairs")
def write_pairs(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The JSON Lines file to write.")],
    images: ImageFolder = None,
    answers: Annotated[Path | None, typer.Option(help="What `unsee privacy answers` wrote.")] = None,
    split: Annotated[str, typer.Option(help="Whose pairs: seen or validation.")] = "seen",
) -> None:
    """Write the pairs of PrivacyPair that an edit learns from, one per line, as `unsee edit` reads them."""
    from unsee.data.privacy.export import write_pairs as write
    from unsee.data.privacy.privacy_pair import load
    from unsee.privacy import read_answers

    benchmark = load(data, images)
    write(read_answers(benchmark, answers) if answers else benchmark, out, split)
    print(out)


@privacy.command("eval")
def evaluate_privacy(
    model: Annotated[str, typer.Argument(help="A shipped model's name, a folder, or a hub name.")],
    data: DataFolder,
    images: ImageFolder = None,
    benchmark: Annotated[str, typer.Option(help="The data's format: see `unsee list privacy`.")] = "privacy_pair",
    classifier: Annotated[Path | None, typer.Option(help="A local text classifier as a further judge.")] = None,
) -> None:
    """Ask one model everything; print what it refuses and gives away, by each judge, and how far the judges agree."""
    from unsee.data.privacy import PRIVACY
    from unsee.privacy import default_judges, examine
    from unsee.refusals import REFUSALS
    from unsee.report.privacy import agreement_rows, score_rows

    cases = PRIVACY.get(benchmark)(data, images).cases
    judges = default_judges() | ({"classifier": REFUSALS.get("classifier")(classifier)} if classifier else {})
    with _progress() as progress:
        from unsee.models.vlm import VLM

        answers = examine(VLM.load(model), cases, judges, name=model, progress=progress)
    _print_table(score_rows(answers))
    _print_table(agreement_rows(answers))


@models.command("check")
def check_model(
    model: Annotated[str, typer.Argument(help="A shipped model's name, a folder, or a hub name.")],
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of a recipe's [model] table; may be repeated."),
    ] = None,
) -> None:
    """Load a model as a run would, show its parts, and let it read, write and learn once."""
    from unsee.config import load_model_config

    config = load_model_config(model, change or ())
    _hush()
    from unsee.check import check

    for what, found in check(config):
        print(f"{what:<16}  {found}", flush=True)


@app.command("list")
def list_names(
    kind: Annotated[str, typer.Argument(metavar="methods|metrics|models|datasets|privacy|refusals|recipes")],
) -> None:
    """List what can be used, one per line with what it is."""
    if kind not in LISTS:
        raise UnknownNameError("list", kind, LISTS)
    lines = LISTS[kind]()
    width = max((len(name) for name, _ in lines), default=0)
    for name, summary in lines:
        print(f"{name:<{width}}  {summary}".rstrip())


def _models() -> list[tuple[str, str]]:
    from unsee.models import MODELS, shipped

    return [(name, "Shipped with unsee.") for name in shipped()] + [
        (name, f"Family, from a folder or the hub: {summary}") for name, summary in _leaves(MODELS)
    ]


def _recipes() -> list[tuple[str, str]]:
    from unsee.config import RECIPES, recipe_names

    def first_comment(name: str) -> str:
        return (RECIPES / f"{name}.toml").read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")

    return [(name, first_comment(name)) for name in recipe_names()]


def _registered(module: str, registry: str) -> Callable[[], list[tuple[str, str]]]:
    """The listing of a registry, which is imported when it is wanted."""
    return lambda: _leaves(getattr(import_module(module), registry))


def _leaves(registry: Registry) -> list[tuple[str, str]]:
    return [(leaf.name, leaf.summary + (f" ({leaf.paper})" if leaf.paper else "")) for leaf in registry.leaves()]


app.add_typer(models, name="models")
LISTS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "methods": _registered("unsee.methods", "METHODS"),
    "metrics": _registered("unsee.metrics", "METRICS"),
    "models": _models,
    "datasets": _registered("unsee.data", "DATASETS"),
    "privacy": _registered("unsee.data.privacy", "PRIVACY"),
    "refusals": _registered("unsee.refusals", "REFUSALS"),
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
    import warnings

    from transformers.utils import logging

    warnings.simplefilter("ignore", FutureWarning)
    logging.set_tqdm_hook(lambda bar, arguments, options: bar(*arguments, **options | {"disable": True}))
    logging.set_verbosity_error()


if __name__ == "__main__":
    sys.exit(main())
