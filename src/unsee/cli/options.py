"""Arguments that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

ModelName = Annotated[str, typer.Argument(help="A shipped model's name, a folder, or a hub name.")]
DataName = Annotated[str, typer.Option(help="A data folder, or a name on the hub.")]
Processor = Annotated[str, typer.Option(help="Whose processor, where the model comes without: a folder or a hub name.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe's tables; may be repeated."),
]
