"""Looking into models and converting them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unsee.cli.options import Changes, ModelName, Processor
from unsee.cli.terminal import hush

commands = typer.Typer(name="models", help="Look into models and convert them.", no_args_is_help=True)


@commands.command("check")
def check_model(
    model: ModelName,
    change: Changes = None,
) -> None:
    """Load a model as a run would, show its parts, and let it read, write and learn once."""
    from unsee.config.recipe import load_model_config

    config = load_model_config(model, change or ())
    hush()
    from unsee.runs.model_check import check

    for what, found in check(config):
        print(f"{what:<16}  {found}", flush=True)


@commands.command("merge")
def merge_adapters(
    model: Annotated[str, typer.Argument(help="What was trained: a folder, or a hub name.")],
    adapters: Annotated[list[Path], typer.Argument(help="Adapters a run kept, in order: the target's, a method's.")],
    out: Annotated[Path, typer.Option(help="The folder to write; must be new or empty.")],
    processor: Processor = "",
) -> None:
    """Write the whole model of adapters, each of which stands on those before it."""
    from unsee.config.recipe import ModelConfig

    hush()
    from unsee.models.merge import merge

    merge(ModelConfig(id=model, processor=processor), adapters, out)
    print(out)


@commands.command("convert-minigpt4")
def convert_minigpt4(
    vit: Annotated[Path, typer.Option(help="The EVA tower: eva_vit_g.pth.")],
    checkpoint: Annotated[Path, typer.Option(help="MiniGPT-4's own file: pretrained_minigpt4.pth.")],
    language_model: Annotated[Path, typer.Option(help="The folder of Llama-2-7b-chat, or of Vicuna.")],
    out: Annotated[Path, typer.Option(help="The folder to write; must be new or empty.")],
    q_former: Annotated[
        Path | None, typer.Option(help="BLIP-2's file, for the Vicuna variant: blip2_pretrained_flant5xxl.pth.")
    ] = None,
) -> None:
    """Make one model folder of MiniGPT-4's published checkpoints, reading tensors only."""
    hush()
    from unsee.models.minigpt4_convert import convert

    convert(vit, checkpoint, language_model, out, q_former=q_former)
    print(out)
