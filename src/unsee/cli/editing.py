"""Commands that make, list, apply and merge edits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unsee.cli.options import ModelName
from unsee.cli.terminal import print_table, show_progress

commands = typer.Typer()
edits = typer.Typer(help="List, apply and merge edits.", no_args_is_help=True)
commands.add_typer(edits, name="edits")


@commands.command("edit")
def edit_model(
    model: ModelName,
    data: Annotated[Path, typer.Option(help="File of privacy pairs, one JSON object a line.")],
    out: Annotated[Path, typer.Option(help="Folder for edit.safetensors and, with --model, for the edited model.")],
    method: Annotated[str, typer.Option(help="Editing method (see `unsee list methods`).")] = "neural_gate",
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the method; may be repeated."),
    ] = None,
    frequencies: Annotated[
        Path | None,
        typer.Option(help="Earlier edit of the same method: cut gates from its frequencies, learn no new ones."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
    whole: Annotated[bool, typer.Option("--model", help="Also write the edited model.")] = False,
) -> None:
    """Edit a model so that it refuses sensitive questions.

    It learns from pairs of a sensitive and a benign question, and it keeps answering the benign ones.
    """
    from unsee.config.recipe import parse_options

    options = parse_options(change or ())
    with show_progress() as progress:
        from unsee.methods.base import Work
        from unsee.runs.edit import EditJob, edit_rows

        work = Work(seed=seed, progress=progress)
        edit = EditJob(model, data, method, options, frequencies).run(out, work, whole=whole)
    print_table(edit_rows(edit))
    print(out / "edit.safetensors")


@edits.command("list")
def list_edits(files: Annotated[list[Path], typer.Argument(help="Files of edits.")]) -> None:
    """Show the changes that edits make."""
    from unsee.edits.edit import Edit
    from unsee.runs.edit import edit_rows

    print_table([row for file in files for row in edit_rows(Edit.load(file))])


@edits.command("apply")
def apply_edits(
    model: Annotated[str, typer.Argument(help="Model that the edits were made for.")],
    files: Annotated[list[Path], typer.Argument(help="Files of edits.")],
    out: Annotated[Path, typer.Option(help="Folder for the edited model.")],
) -> None:
    """Write a model with edits applied to its weights."""
    from unsee.runs.edit import apply_edits as write

    with show_progress() as progress:
        write(model, files, out, progress)
    print(out)


@edits.command("merge")
def merge_edits(
    files: Annotated[list[Path], typer.Argument(help="Files of edits of the same model.")],
    out: Annotated[Path, typer.Option(help="File for the merged edit.")],
) -> None:
    """Merge several edits into one, which is their sum."""
    from unsee.edits.edit import Edit, merge

    merge([Edit.load(file) for file in files]).save(out)
    print(out)
