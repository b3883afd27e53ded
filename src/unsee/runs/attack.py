"""Attacks a finished run: the same run with attacks in its recipe, whose other stages come from the cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from unsee.attacks import ATTACKS
from unsee.config.recipe import RunConfig, build_table, dump_config, load_recipe, parse_options
from unsee.core.errors import ConfigError, RecordError, UnknownNameError, UnseeError
from unsee.core.progress import Progress
from unsee.core.record import Record, refuse_request
from unsee.runs.graph import crew_of, finished
from unsee.runs.run import begin, check
from unsee.runs.scenario import RunResult


def attack(
    folder: Path, names: Sequence[str], methods: Sequence[str], changes: Iterable[str], progress: Progress,
    workers: int | str = 1,
) -> RunResult:  # fmt: skip
    """Run attacks on the models of a finished run, and write its scores and its page again.

    Args:
        folder: the run's folder. Its `config.toml` gets the attacks, and keeps those of an earlier call.
        names: the attacks; none for all.
        methods: the methods of the run to attack; none for all.
        changes: options, as "attack.relearn.steps=32".
        progress: where long work is shown.
        workers: as for `unsee.runs.run.run`.

    Raises:
        ConfigError: the run is about documents, or an option cannot be used.
        UnknownNameError: no attack has this name.
        RecordError: the folder holds no finished run, or another process writes there.
    """
    record = Record.open(folder)
    refuse_request(record)
    config = load_recipe(folder / "config.toml")
    if not isinstance(config, RunConfig):
        raise ConfigError(f"{folder}: a run about documents; attacks are for runs about people, so give one of those")
    record.check_there("scores.json")
    if record.is_locked():
        raise RecordError(f"{folder}: another run is writing there; wait for it")
    wanted = list(names) or ATTACKS.names()
    for name in wanted:
        if name not in ATTACKS.names():
            raise UnknownNameError("attack", name, ATTACKS.names())
    for name in methods:
        if name not in config.method:
            raise UnknownNameError("--method", name, config.method)
    given = parse_options(changes)
    if foreign := [key for key in given if key != "attack"]:
        raise ConfigError(f"--set {foreign[0]}: only options of attacks can be set, such as attack.relearn.steps=32")
    tables = given.get("attack", {})
    if not isinstance(tables, dict):
        raise ConfigError(f"--set attack: must be a table, got {tables!r}; set options such as attack.relearn.steps=32")
    if unused := [name for name in tables if name not in wanted]:
        if unused[0] not in ATTACKS.names():
            raise UnknownNameError("--set attack", unused[0], ATTACKS.names())
        raise ConfigError(f"--set attack.{unused[0]}: this attack is not run; add --attack {unused[0]}")
    settings = config.model_dump()
    settings["attack"] |= {name: tables.get(name, settings["attack"].get(name, {})) for name in wanted}
    for name in wanted if methods else ():
        settings["attack"][name] = {**settings["attack"][name], "methods": list(methods)}
    config = build_table(RunConfig, settings)
    check(config)
    crew, before = crew_of(workers, config), record.read_text("config.toml")
    record.write_text("config.toml", dump_config(config))
    try:
        started = begin(config, folder, progress)
    except UnseeError:
        record.write_text("config.toml", before)
        raise
    (result,) = finished([started], crew, progress)
    return result
