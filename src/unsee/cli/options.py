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
Workers = Annotated[
    str,
    typer.Option(
        envvar="UNSEE_WORKERS",
        help="Processes that compute stages at the same time: a number, auto for one per GPU or core, or ray or "
        "ray://HOST:PORT for a Ray cluster. Their number changes no figure.",
    ),
]
