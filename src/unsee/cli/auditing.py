"""The command that audits a model which somebody else made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unsee.cli.options import Changes
from unsee.cli.terminal import print_table, show_progress
from unsee.core.errors import ConfigError

commands = typer.Typer()
UNCERTAIN, RECOVERED = 3, 4
_GIVEN = {
    "model.id": "the audited model", "before": "--before", "oracle": "--oracle", "forget": "--forget",
    "retain": "--retain", "reference": "--reference", "content": "the rows",
}  # fmt: skip


@commands.command("audit")
def audit_model(
    after: Annotated[str, typer.Argument(help="The audited model: a folder (also of an adapter) or a hub name.")],
    before: Annotated[str, typer.Option(help="The model that it was made from.")],
    forget: Annotated[
        Path,
        typer.Option(help="Questions that should be forgotten: JSON lines with image, question, answer and person."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the figures and the report.")],
    retain: Annotated[Path | None, typer.Option(help="Questions to keep, in the same format.")] = None,
    oracle: Annotated[str, typer.Option(help="A model that was trained without these questions.")] = "",
    attack: Annotated[
        list[str] | None, typer.Option(help="Attack (see `unsee list attacks`); repeatable (default: all).")
    ] = None,
    reference: Annotated[str, typer.Option(help="Number or name under which the audit is filed.")] = "",
    change: Changes = None,
) -> None:
    """Find out whether questions are really gone from a model.

    It may be a model that somebody else made. All models are asked and attacked alike; none is changed. Exit code
    4: values were recovered; 3: it cannot be told, or there was nothing to forget.
    """
    from unsee.config.recipe import parse_options, resolve

    given = parse_options(change or ())
    for one in change or ():
        if (key := one.partition("=")[0].strip()) in _GIVEN:
            raise ConfigError(f"--set {one}: {key} is given by {_GIVEN[key]}; change it there")
    with show_progress() as progress:
        from unsee.runs.audit import AuditConfig, attack_names
        from unsee.runs.audit import audit as carry_out

        wanted = attack_names(attack or ())
        if unused := [name for name in given.get("attack", {}) if name not in wanted]:
            raise ConfigError(f"--set attack.{unused[0]}: this attack is not run; add --attack {unused[0]}")
        settings = {
            "model": {"id": after}, "before": before, "oracle": oracle, "forget": str(forget),
            "retain": str(retain or ""), "reference": reference, "attack": {name: {} for name in wanted},
        }  # fmt: skip
        result = carry_out(resolve(AuditConfig, settings, change or ()), out, progress)
    print_table(result.rows)
    for sentence in result.sentences:
        print(sentence)
    print(result.report)
    if result.audit.verdict != "not recovered":
        raise typer.Exit(RECOVERED if result.audit.verdict == "recovered" else UNCERTAIN)
