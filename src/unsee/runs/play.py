"""Opens a playground with the models of a finished run, or with any models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from unsee.config.recipe import ModelConfig, RunConfig, load_recipe
from unsee.core.errors import ConfigError, RecordError
from unsee.core.progress import Progress
from unsee.core.record import Record, refuse_request
from unsee.data.schema import Benchmark
from unsee.methods.base import PromptMethod
from unsee.models.vlm import VLM
from unsee.play.playground import Playground, Respondent
from unsee.runs.method_runs import people_methods
from unsee.runs.people import benchmark_of
from unsee.runtime.cache import Cache
from unsee.scoring.names import readable_model


def playground_of_run(folder: Path, progress: Progress, *, redact: bool = False) -> Playground:
    """Return a playground with target, oracles, all methods and the people of a finished run.

    Args:
        folder: the run's folder.
        progress: where long work is shown.
        redact: show no name, portrait, question or answer.

    Raises:
        ConfigError: the run is about documents.
        RecordError: the folder holds no run, or its models are gone.
        UnseeError: the data or the base model cannot be used.
    """
    record = Record.open(folder)
    refuse_request(record)
    config = load_recipe(folder / "config.toml")
    if not isinstance(config, RunConfig):
        models = " ".join(str(path) for path in sorted((folder / "models").glob("*"))[:2]) or "MODEL MODEL"
        raise ConfigError(f"{folder}: a run about documents; name its models instead: unsee play {models}")
    found = [
        path.name for path in (folder / "models").glob("*") if (path / "config.json").is_file() or _is_adapter(path)
    ]
    if "target" not in found:
        raise RecordError(
            f"{folder}: no models/target; finish the run with `unsee run {folder / 'config.toml'} --out {folder}`"
        )
    methods = list(people_methods(config.method, config.seed))
    prompts = {run.label: run.method for run in methods if isinstance(run.method, PromptMethod)}
    order = ["target", *sorted(name for name in found if name.startswith("oracle")), *(run.label for run in methods)]
    benchmark = benchmark_of(config.data, Cache(folder), progress)
    names = tuple(person.name for person in benchmark.forget)
    respondents = []
    for name in dict.fromkeys(order):
        system = prompts[name].system_prompt(names) if name in prompts else None
        if name in found or system:
            model = config.model.model_copy(
                update={"id": str(folder / "models" / (name if name in found else "target"))}
            )
            shown = readable_model(name, config.method)
            respondents.append(Respondent(name=shown, load=partial(VLM.load_as, model), system=system))
    return Playground(respondents, benchmark, redact=redact, max_new_tokens=config.evaluation.max_new_tokens)


def playground_of_models(
    models: Sequence[str], benchmark: Benchmark | None, processor: str = "", *, redact: bool = False
) -> Playground:
    """Return a playground with any models.

    Args:
        models: shipped models' names, folders or hub ids.
        benchmark: the people to ask about; None for questions of one's own only.
        processor: the model whose processor to use, if one has none.
        redact: show no name, portrait, question or answer.

    Raises:
        ConfigError: a model is named twice.
    """
    if twice := [model for number, model in enumerate(models) if model in models[:number]]:
        raise ConfigError(f"play: {twice[0]} is named twice; name each model once")
    respondents = [
        Respondent(name=_short(model, models), load=partial(VLM.load_as, ModelConfig(id=model, processor=processor)))
        for model in models
    ]
    return Playground(respondents, benchmark, redact=redact)


def _is_adapter(path: Path) -> bool:
    return (path / "adapter_config.json").is_file()


def _short(model: str, models: Sequence[str]) -> str:
    """Return the last part of a model's name, if no other model has the same."""
    last = [Path(other).name for other in models]
    return Path(model).name if last.count(Path(model).name) == 1 else model
