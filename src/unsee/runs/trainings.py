"""One training of a run: from weights to new weights in the cache."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from unsee.core.files import discard
from unsee.edits.partial_forward import decoder_layers
from unsee.methods.base import Asked, Loss, LossMethod, StepBatch
from unsee.models.vlm import VLM
from unsee.runs.stage_log import StageLog
from unsee.runs.weights import LoadedModel, Weights
from unsee.runtime.cost import measured
from unsee.training.batches import Plan
from unsee.training.train import Reference, Scorer, StopRule, train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        name: of the model.
        made: the keys of the new weights.
        start: the weights to start from.
        method: its loss.
        make_plan: returns the data and the schedule; called only if the weights are not in the cache.
        seed: of everything that is drawn.
        compared: the reference model if it is not the start.
        fisher: the questions whose Fisher information is computed first.
        stop: says when it may end early.
    """

    name: str
    made: Weights
    start: Weights
    method: LossMethod
    make_plan: Callable[[], Plan]
    seed: int
    compared: Weights | None = None
    fisher: Mapping[Asked, Iterable[StepBatch]] | None = None
    stop: StopRule | None = None


def train_model(loaded: LoadedModel, stage_log: StageLog, job: Job) -> Weights:
    """Train, and return the new weights with their files; they come from the cache if it holds them.

    A training that was killed goes on from its checkpoint.
    """
    path = stage_log.cache.path("weights", f"{job.made.key}.safetensors")
    checkpoint = path.with_name(f"{job.made.key}.checkpoint.safetensors")
    result = Weights(job.made.key, job.made.draws, (*job.start.files, path))
    with stage_log.weights_missing(job.name, path) as are_missing:
        if are_missing:
            _train_now(loaded, stage_log, job, result, checkpoint)
        else:
            discard(checkpoint)  # a kill can leave it
    return result


def _train_now(loaded: LoadedModel, stage_log: StageLog, job: Job, result: Weights, checkpoint: Path) -> None:
    plan, vlm = job.make_plan(), loaded.vlm
    schedule, steps = plan.schedule, plan.steps
    reference = None
    if job.compared:
        reference, steps = _reference(loaded.load(job.compared), job.method, steps, schedule.steps)
    trainable = loaded.start_training(job.start)
    count = sum(parameter.numel() for parameter in trainable)
    stage_log.log(
        "training", model=job.name, trainable_parameters=count, learning_rate=schedule.learning_rate,
        steps=schedule.steps,
    )  # fmt: skip
    log.info("training model=%s trainable_parameters=%d", job.name, count)

    def report(step: int, loss: Loss, rate: float) -> None:
        stage_log.log("step", model=job.name, step=step, learning_rate=rate, **loss.parts)

    with measured(vlm.device, decoder_layers(vlm)) as cost:
        taken = train(
            vlm, job.method, steps, schedule, trainable, reference=reference, fisher=job.fisher, name=job.name,
            seed=job.seed, checkpoint=checkpoint, progress=stage_log.progress, on_step=report, stop=job.stop,
        )  # fmt: skip
    tensors = vlm.trained()
    steps_taken = {"steps": str(taken), "of": str(schedule.steps)}
    stage_log.keep_weights(
        "trained", job.name, result.files[-1], lambda part: save_file(tensors, part, metadata=steps_taken), cost
    )
    loaded.finish_training(result)


def _reference(
    vlm: VLM, method: LossMethod, steps: Iterator[StepBatch], count: int
) -> tuple[Reference, Iterator[StepBatch]]:
    """Compute the reference states of all steps with another model, before it is replaced by the one to train."""
    reference = Reference(vlm, Scorer(vlm, method.hidden_layers), other=True)
    moved = (step.to(vlm.device) for step in itertools.islice(steps, count))
    return reference, reference.announced(moved, method.reference_sides)
