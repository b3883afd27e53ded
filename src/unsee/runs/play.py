"""Opens a playground with the models of a finished run, or with any models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from unsee.config.recipe import DocumentsConfig, ModelConfig, RunConfig, load_recipe
from unsee.core.errors import ConfigError, RecordError, did_you_mean
from unsee.core.progress import Progress
from unsee.core.record import Record, refuse_request
from unsee.data.schema import Benchmark
from unsee.edits.edit import Edit, Editor
from unsee.methods.base import Guard, GuardMethod, PromptMethod
from unsee.models.vlm import VLM
from unsee.play.playground import Playground, Respondent
from unsee.play.topics import document_topics, people_topics
from unsee.runs import documents, people
from unsee.runs.method_runs import Material, MethodRun, documents_methods, people_methods
from unsee.runtime.cache import Cache
from unsee.scoring.names import readable_model
from unsee.scoring.schema import DO_NOTHING


def playground_of_run(folder: Path, progress: Progress, *, redact: bool = False) -> Playground:
    """Return a playground with all methods of a finished run, and the models that they are read against.

    Args:
        folder: the run's folder.
        progress: where long work is shown.
        redact: show no name, picture, question or answer.

    Raises:
        RecordError: the folder holds no run, or its models are gone.
        UnseeError: the data or the base model cannot be used.
    """
    record = Record.open(folder)
    refuse_request(record)
    config = load_recipe(folder / "config.toml")
    if isinstance(config, RunConfig):
        return _about_people(config, folder, progress, redact)
    return _about_documents(config, folder, progress, redact)


def _about_people(config: RunConfig, folder: Path, progress: Progress, redact: bool) -> Playground:
    target = folder / "models" / "target"
    if not target.is_dir():
        raise RecordError(f"{folder}: no models/target; finish it: {Record(folder).command}")
    benchmark = people.benchmark_of(config.data, Cache(folder), progress)
    material = people.material_of(benchmark, config)
    respondents = [
        _respondent(config, path.name, _at(config, path)) for path in (target, *sorted(target.parent.glob("oracle*")))
    ]
    for run in people_methods(config.method, config.seed):
        respondents += _applied(config, target.parent, run, _at(config, target), material)
    return Playground(
        respondents, people_topics(benchmark), retain=benchmark.retain, redact=redact,
        max_new_tokens=config.evaluation.max_new_tokens,
    )  # fmt: skip


def _about_documents(config: DocumentsConfig, folder: Path, progress: Progress, redact: bool) -> Playground:
    benchmark, _ = documents.benchmark_of(config, Cache(folder), progress)
    respondents = [_respondent(config, DO_NOTHING, config.model)]
    for run in documents_methods(config.method, config.seed):
        material = documents.material_of(benchmark, config, run)
        respondents += _applied(config, folder / "models", run, config.model, material)
    return Playground(
        respondents, document_topics(benchmark.cases), "documents", redact=redact,
        max_new_tokens=config.evaluation.max_new_tokens,
    )  # fmt: skip


def _applied(
    config: RunConfig | DocumentsConfig, models: Path, run: MethodRun, target: ModelConfig, material: Material
) -> list[Respondent]:
    """Return the model of a method; none if the method changes nothing, or the run has not come to it."""
    own = models / run.label
    if isinstance(run.method, PromptMethod):
        system = run.method.system_prompt(material.names)
        return [_respondent(config, run.label, target, system=system)] if system else []
    if isinstance(run.method, GuardMethod):
        guard = run.method.guard(material.pairs(run.modality, run.seed))
        return [_respondent(config, run.label, target, guard=guard)]
    if (edit := own / "edit.safetensors").is_file():
        return [_respondent(config, run.label, target, edit=edit)]
    return [_respondent(config, run.label, _at(config, own))] if own.is_dir() else []


def _respondent(
    config: RunConfig | DocumentsConfig, name: str, model: ModelConfig, *, edit: Path | None = None,
    system: str | None = None, guard: Guard | None = None,
) -> Respondent:  # fmt: skip
    return Respondent(readable_model(name, config.method), partial(_load, model, edit), system, guard)


def _at(config: RunConfig | DocumentsConfig, folder: Path) -> ModelConfig:
    """Return the settings of a model of the run's folder."""
    return config.model.model_copy(update={"id": str(folder)})


def _load(model: ModelConfig, edit: Path | None) -> VLM:
    vlm = VLM.load_as(model)
    if edit:
        Editor(vlm).apply(Edit.load(edit))
    return vlm


def playground_of_models(
    models: Sequence[str], benchmark: Benchmark | None, processor: str = "", *, redact: bool = False
) -> Playground:
    """Return a playground with any models.

    Args:
        models: shipped models' names, folders or hub ids.
        benchmark: the people to ask about; None for questions of one's own only.
        processor: the model whose processor to use, if one has none.
        redact: show no name, picture, question or answer.

    Raises:
        ConfigError: a model is named twice, is a run, or is no folder beside others.
    """
    for model in models:
        _check_is_no_run(Path(model))
    if twice := [model for number, model in enumerate(models) if model in models[:number]]:
        raise ConfigError(f"play: {twice[0]} is named twice; name each model once")
    respondents = [
        Respondent(name=_short(model, models), load=partial(VLM.load_as, ModelConfig(id=model, processor=processor)))
        for model in models
    ]
    topics, retain = (people_topics(benchmark), benchmark.retain) if benchmark else ([], ())
    return Playground(respondents, topics, retain=retain, redact=redact)


def _check_is_no_run(folder: Path) -> None:
    """Refuse a run among models, and a folder that is missing in a local one; a hub id has no such parent."""
    if (folder / "config.toml").is_file():
        raise ConfigError(f"play: {folder} is a run; give it alone, or a model of it, as in {folder}/models/target")
    beside = folder.parent
    if not folder.exists() and beside != Path() and beside.is_dir():
        near = did_you_mean(folder.name, [path.name for path in beside.iterdir() if path.is_dir()])
        raise ConfigError(f"play: {folder}: no such run or model{near}")


def _short(model: str, models: Sequence[str]) -> str:
    """Return the last part of a model's name, if no other model has the same."""
    last = [Path(other).name for other in models]
    return Path(model).name if last.count(Path(model).name) == 1 else model
