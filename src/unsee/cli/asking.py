"""Commands that ask a model questions, and that judge answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from unsee.cli.options import DataName, ModelName, Processor
from unsee.cli.terminal import ask_consent, is_main_process, print_table, show_progress
from unsee.core.errors import ConfigError
from unsee.core.reading import parse_json

commands = typer.Typer()
OFF = 1
Yes = Annotated[bool, typer.Option("--yes", help="Send without asking for consent; answers leave this machine.")]


@commands.command("eval")
def evaluate(
    model: ModelName,
    data: DataName,
    format: Annotated[str, typer.Option(help="Format of the data (see `unsee list datasets`).")] = "auto",
    forget_percent: Annotated[
        int | None,
        typer.Option(help="Forget set to use, in per cent of the people (default: 15, or the largest there is)."),
    ] = None,
    protocol: Annotated[str, typer.Option(help="Evaluation protocol: clean or published.")] = "clean",
    processor: Processor = "",
    out: Annotated[
        Path | None,
        typer.Option(help="File for every metric of every cell: .csv or .json, or .md for the printed table."),
    ] = None,
) -> None:
    """Ask a model a benchmark's questions and print its scores.

    The table shows one metric per task; give --out for all, so that two models can be compared.
    """
    from unsee.config.recipe import EvaluationConfig, build_table
    from unsee.core.record import check_writable
    from unsee.report.tables import CELL_ENDINGS, check_ending, write_cells
    from unsee.scoring.table import cell_rows, too_few

    if out:
        check_ending(out, CELL_ENDINGS, "a table of cells")
        check_writable(out.parent)
    config = build_table(EvaluationConfig, {"protocol": protocol})
    with show_progress() as progress:
        from unsee.data.people.source import percent_of
        from unsee.runs.ask import evaluate_model

        forget_percent = percent_of(data, format, forget_percent)
        cells = evaluate_model(model, data, forget_percent, progress, config, processor, format)
    print_table(cell_rows(cells))
    if few := too_few(cells):
        print(few)
    if out and is_main_process():
        write_cells(cells, out, model=model, data=data, protocol=protocol, forget_percent=forget_percent)
        print(out)


@commands.command()
def conformance(
    model: ModelName,
    data: DataName,
    expected: Annotated[
        Path | None, typer.Option(help="TOML file of stored scores (default: those of the released LLaVA-1.5-7B).")
    ] = None,
    processor: Processor = "",
) -> None:
    """Compare a model's scores with stored ones.

    Asks as the published protocol does. Of data in another format, the number of people in each set is compared
    instead. The exit code is 1 if anything is off.
    """
    with show_progress() as progress:
        from unsee.runs.conformance import EXPECTED, check_conformance

        rows = check_conformance(model, data, expected or EXPECTED, progress, processor)
    print_table(rows)
    if any(row.verdict == "fail" for row in rows):
        raise typer.Exit(OFF)


@commands.command()
def judge(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    judge: Annotated[str, typer.Option(help="Name of the judge (see `unsee list judges`).")] = "offline",
    model: Annotated[str | None, typer.Option(help="Judging model (default: UNSEE_JUDGE_MODEL).")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Endpoint of the judging model (default: OPENAI_BASE_URL).")
    ] = None,
    price_in: Annotated[float | None, typer.Option(min=0, help="Price of a million sent tokens.")] = None,
    price_out: Annotated[float | None, typer.Option(min=0, help="Price of a million received tokens.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Maximum number of requests at once.")] = None,
    requests_per_minute: Annotated[float | None, typer.Option(help="Maximum number of new requests a minute.")] = None,
    timeout_seconds: Annotated[float | None, typer.Option(help="Give up a request after this time.")] = None,
    body: Annotated[
        str | None, typer.Option(metavar="JSON", help="Merge this object into every request; null removes a key.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the judge; may be repeated."),
    ] = None,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent and exit.")] = False,
) -> None:
    """Score the truth of a run's generated sentences from 1 to 10.

    Adds the scores to the report of the run.
    """
    from unsee.config.recipe import build_dataclass, parse_options
    from unsee.judge import JUDGES
    from unsee.judge.base import Judge
    from unsee.judge.judging import SCALE, judge_run, open_docket, rows

    settings = {
        "model": model, "base_url": base_url, "price_in": price_in, "price_out": price_out, "concurrency": concurrency,
        "requests_per_minute": requests_per_minute, "timeout_seconds": timeout_seconds, "body": _json_object(body),
    }  # fmt: skip
    options = {name: value for name, value in settings.items() if value is not None} | parse_options(change or ())
    judging: Judge = build_dataclass(JUDGES.get(judge), options, f"judge.{judge}")
    docket = open_docket(run)
    if costs := judging.costs(docket):
        ask_consent(costs, yes=yes or dry_run)
    if dry_run:
        return
    with show_progress() as progress:
        factuality = judge_run(docket, judging, progress)
    print_table(rows(factuality))
    print(SCALE)
    if factuality.invalid:
        _say_unread(factuality.invalid, factuality.cases)
    print(run / "report.html")


def _say_unread(unread: int, answers: int) -> None:
    again = "run the same command again to ask for them"
    print(f"unsee: {unread} of {answers} answers got no score; {again}", file=sys.stderr)


def _json_object(text: str | None) -> dict[str, object] | None:
    if text is None:
        return None
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ConfigError(f"--body: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError('--body: must be a JSON object, such as {"max_tokens": 8}')
    return value


@commands.command()
def utility(
    model: ModelName,
    benchmark: Annotated[str, typer.Option(help="Name of the benchmark (see `unsee list utility`).")],
    data: Annotated[
        str | None, typer.Option(help="Folder or hub name of the data (default: the published data).")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of questions to ask, drawn evenly.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed for drawing these questions.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the scores and the answers.")] = None,
    review: Annotated[bool, typer.Option("--review", help="Have UNSEE_JUDGE_MODEL grade the answers.")] = False,
    yes: Yes = False,
    processor: Processor = "",
) -> None:
    """Test a model on a published utility benchmark."""
    from unsee.core.record import check_writable
    from unsee.judge.asking import Asking
    from unsee.utility import UTILITY
    from unsee.utility.evaluate import Review, check_other_results, check_reviewed, examine

    if review:
        from unsee.config.recipe import build_dataclass

        check_reviewed(benchmark, UTILITY.get(benchmark)())
        asking = build_dataclass(Asking, {}, "--review")
        if out is None:
            raise ConfigError("--review: keeps a journal, so that nothing is asked twice; give --out a folder")
    if out:
        check_writable(out)
        check_other_results(out, benchmark, model)
    with show_progress() as progress:
        answered = examine(
            model, benchmark, data, limit=limit, seed=seed, progress=progress, processor=processor, out=out
        )
    grades = None
    if review and out:
        reviewing = Review(answered, asking, out)
        ask_consent(reviewing.costs, yes=yes)
        with show_progress() as progress:
            grades = reviewing.grades(progress)
    scored = answered.score(grades)
    if out and is_main_process():
        scored.save(out)
    print_table(scored.rows)
    if grades and None in grades:
        _say_unread(grades.count(None), len(grades))
    print(f"{scored.result.n_items} questions, {scored.result.invalid:.1%} of the answers not in the form asked for")
