"""Runs: recipes, requests, their data and reports; and the lists of what they can use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from unsee.cli.listing import lines_of
from unsee.cli.options import Changes, ModelName
from unsee.cli.terminal import print_table, show_progress
from unsee.core.errors import ConfigError

commands = typer.Typer()
NO_SIGNAL = 3


@commands.command("run")
def run_recipe(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name, or the path of one (a run's config.toml too).")
    ] = "quick",
    change: Changes = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default one under runs/.")] = None,
) -> None:
    """Teach, forget, evaluate and report, as the recipe says; continues where an interrupted run stopped."""
    from unsee.config.recipe import load_recipe

    config = load_recipe(recipe, change or ())
    with show_progress() as progress:
        from unsee.runs.people import run

        result = run(config, out, progress)
    print_table(result.rows)
    if result.verdict == "no signal":
        print(f"unsee: no signal: {result.reason}, so nothing is ranked", file=sys.stderr)
    print(result.report)
    if result.verdict == "no signal":
        raise typer.Exit(NO_SIGNAL)


@commands.command()
def unlearn(
    model: ModelName,
    forget: Annotated[Path, typer.Option(help="JSON lines with image, question, answer, person: what to forget.")],
    retain: Annotated[Path, typer.Option(help="The same: what to keep.")],
    method: Annotated[str, typer.Option(help="How; `unsee list methods`.")],
    out: Annotated[Path, typer.Option(help="The folder for the model, the figures and the report.")],
    modality: Annotated[str, typer.Option(help="Unlearn from questions with the image, in text, or both.")] = "both",
    change: Changes = None,
) -> None:
    """Make a model forget what one file says and keep what another does; needs no benchmark and no oracle."""
    from unsee.config.recipe import resolve

    with show_progress() as progress:
        from unsee.runs.deletion import RequestConfig
        from unsee.runs.deletion import unlearn as carry_out

        settings = {
            "forget": str(forget), "retain": str(retain), "model": {"id": model},
            "method": {method: {"modality": [modality]}},
        }  # fmt: skip
        result = carry_out(resolve(RequestConfig, settings, change or ()), out, progress)
    print_table(result.rows)
    print(result.report)


@commands.command()
def build(
    folder: Annotated[Path, typer.Argument(help="Where the data goes.")],
    people: Annotated[str, typer.Option(help="How many invented people, or a CSV file of your own.")] = "500",
    portraits: Annotated[Path | None, typer.Option(help="The folder of your own people's photos.")] = None,
    celebrities: Annotated[
        str | None, typer.Option(help="How many public figures nano knows (153; none beside your own), or a CSV file.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="What everything is drawn from.")] = 0,
) -> None:
    """Write people, portraits, questions and the four sets to a folder, in the published layout."""
    if people.isdecimal():
        from unsee.data.people.builder import build as write

        if portraits or not (celebrities or "0").isdecimal():
            raise ConfigError("--portraits and a CSV file of celebrities go with a CSV file of --people")
        write(folder, people=int(people), celebrities=int(celebrities or 153), seed=seed)
    else:
        from unsee.data.people.custom import build_custom

        if not portraits:
            raise ConfigError(f"--people {people}: needs --portraits, the folder of the photos it names")
        known = celebrities or "0"
        figures = int(known) if known.isdecimal() else Path(known)
        for line in build_custom(folder, Path(people), portraits, figures, seed):
            print(line)
    print(folder)


@commands.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    out: Annotated[
        Path | None, typer.Option(help="The file, .html or .md; by default in the run's folder, or here for several.")
    ] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Leave out names, answers and portraits.")] = False,
) -> None:
    """Write one self-contained page about one run or several."""
    from unsee.report.people import write_report

    name = "report-redacted.html" if redact else "report.html"
    print(write_report(runs, out or (runs[0] / name if len(runs) == 1 else Path(name)), redact=redact))


@commands.command("list")
def list_names(
    kind: Annotated[
        str, typer.Argument(metavar="methods|metrics|models|datasets|privacy|judges|refusals|utility|recipes")
    ],
) -> None:
    """List what can be used, one per line with what it is."""
    lines = lines_of(kind)
    width = max((len(name) for name, _ in lines), default=0)
    for name, summary in lines:
        print(f"{name:<{width}}  {summary}".rstrip())
