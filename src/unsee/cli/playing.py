"""The command that opens a page on which models answer side by side."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from unsee.cli.options import Processor
from unsee.cli.terminal import show_progress
from unsee.core.errors import ConfigError

commands = typer.Typer()


@commands.command()
def play(
    models: Annotated[list[str], typer.Argument(help="Folder of a finished run, or any models (names or folders).")],
    data: Annotated[str, typer.Option(help="People to ask models about: folder or hub name.")] = "",
    format: Annotated[str, typer.Option(help="Format of the data (see `unsee list datasets`).")] = "auto",
    forget_percent: Annotated[
        int | None, typer.Option(help="Forget set of the data, in per cent (default: 15, or the largest there is).")
    ] = None,
    processor: Processor = "",
    redact: Annotated[
        bool, typer.Option("--redact", help="Show no name, picture, question or answer; only what they amount to.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine (0: a free one).")] = 0,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Ask several models the same question, on a local page.

    Their answers stand side by side. Pick a person or a document, show a picture, ask anything, as it is or under
    attack. Only this machine can reach the page, and nothing is sent or stored. Needs the extra unsee[play].
    """
    try:
        from unsee.play.server import serve, take_port
    except ModuleNotFoundError as error:
        raise ConfigError("unsee play: needs starlette and uvicorn; run: pip install 'unsee[play]'") from error
    from unsee.data.people.source import open_benchmark
    from unsee.runs.play import playground_of_models, playground_of_run

    def ready(address: str) -> None:
        print(f"{address}\nOnly this machine can reach the page. Stop with Ctrl-C.", flush=True)
        if browse:
            webbrowser.open(address)

    with suppress(KeyboardInterrupt), take_port(port) as taken:
        with show_progress() as progress:
            if len(models) == 1 and (Path(models[0]) / "config.toml").is_file():
                if data:
                    raise ConfigError("unsee play: a run has its own data; leave --data out")
                playground = playground_of_run(Path(models[0]), progress, redact=redact)
            else:
                benchmark = open_benchmark(data, forget_percent, format=format) if data else None
                playground = playground_of_models(models, benchmark, processor, redact=redact)
            playground.warm_up(progress)
        serve(playground, taken, ready)
