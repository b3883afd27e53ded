"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

ModelName = Annotated[str, typer.Argument(help="A shipped model's name, a folder or a hub name.")]
DataName = Annotated[str, typer.Option(help="Folder or hub name of the data.")]
Processor = Annotated[str, typer.Option(help="Folder or hub name of the processor, if the model has none.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one setting, such as model.dtype=float32; may be repeated."
    ),
]
