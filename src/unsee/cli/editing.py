"""Edits: making, listing, applying and merging them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unsee.cli.terminal import print_table, show_progress

commands = typer.Typer()
edits = typer.Typer(help="List, apply and merge edits.", no_args_is_help=True)
commands.add_typer(edits, name="edits")


@commands.command("edit")
def edit_model(
    model: Annotated[str, typer.Argument(help="A shipped model's name, a folder, or a hub name.")],
    data: Annotated[Path, typer.Option(help="Privacy pairs, one JSON object per line.")],
    out: Annotated[Path, typer.Option(help="Folder for edit.safetensors, and for the edited model.")],
    method: Annotated[str, typer.Option(help="A method that edits.")] = "neural_gate",
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the method; may be repeated.")
    ] = None,
    frequencies: Annotated[
        Path | None, typer.Option(help="An earlier edit whose frequencies are cut anew, not learned again.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="What everything is drawn from.")] = 0,
    whole: Annotated[bool, typer.Option("--model", help="Write the edited model too.")] = False,
) -> None:
    """Teach a model to refuse the sensitive questions of pairs and to go on answering the benign ones."""
    from unsee.config.recipe import parse_options

    options = parse_options(change or ())
    with show_progress() as progress:
        from unsee.methods.base import Work
        from unsee.runs.edit import EditJob, edit_rows
        from unsee.runtime.cache import cache_folder

        work = Work(seed=seed, progress=progress, cache=cache_folder() / "moments")
        edit = EditJob(model, data, method, options, frequencies).run(out, work, whole=whole)
    print_table(edit_rows(edit))
    print(out / "edit.safetensors")


@edits.command("list")
def list_edits(files: Annotated[list[Path], typer.Argument(help="Edits.")]) -> None:
    """Print what edits change."""
    from unsee.edits.edit import Edit
    from unsee.runs.edit import edit_rows

    print_table([row for file in files for row in edit_rows(Edit.load(file))])


@edits.command("apply")
def apply_edits(
    model: Annotated[str, typer.Argument(help="The model that the edits were made for.")],
    files: Annotated[list[Path], typer.Argument(help="Edits.")],
    out: Annotated[Path, typer.Option(help="The edited model's folder.")],
) -> None:
    """Write a model with edits in its weights."""
    from unsee.runs.edit import apply_edits as write

    write(model, files, out)
    print(out)


@edits.command("merge")
def merge_edits(
    files: Annotated[list[Path], typer.Argument(help="Edits of the same model.")],
    out: Annotated[Path, typer.Option(help="The merged edit's file.")],
) -> None:
    """Add several edits up to one."""
    from unsee.edits.edit import Edit, merge

    merge([Edit.load(file) for file in files]).save(out)
    print(out)
