"""The training loop, for teaching and for every method that minimises a loss.

accelerate does device placement, gradients and clipping. Batches depend on seed and step alone, so a run that is killed
at any step and resumed from its checkpoint ends with the same weights. With several processes, each scores some rows of
a step's batch; the scores are gathered before the loss is computed, so the loss is that of the whole batch.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unsee.config.protocols import AdamW
from unsee.core.errors import ModelError
from unsee.core.files import discard, intact, keep
from unsee.core.progress import Progress, Silent
from unsee.edits.partial_forward import decoder_layers, parse_layers
from unsee.forward.hooks import capture
from unsee.forward.losses import Scored, cross_entropy
from unsee.forward.trees import Batch
from unsee.methods.base import Asked, GradientMethod, Loss, LossMethod, Model, Side, StepBatch
from unsee.models.vlm import VLM
from unsee.runtime.distributed import decided, entire, gathered, placed_like, state

log = logging.getLogger(__name__)

States = tuple[Tensor, dict[int, Tensor]]
"""The last hidden states at the positions to score (U, D), and decoder layers' outputs there."""
LIKELIHOOD = "likelihood"
"""The term of a step with one side that is its cross-entropy, whatever the method."""
STATE = ("parameter", "step", "exp_avg", "exp_avg_sq")  # the tensors of each parameter in a checkpoint


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Number of steps and learning rate: warm-up over the first `warmup` share, linear decay over the last `decay`.

    `adamw` chooses the epsilon, as in `unsee.config.protocols.TrainingConfig`.
    """

    learning_rate: float
    steps: int
    warmup: float = 0.05
    decay: float = 0.5
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    checkpoint_every: int = 50
    adamw: AdamW = "torch"

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        rise = (step + 1) / max(1.0, self.warmup * self.steps)
        fall = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.learning_rate * min(1.0, rise, fall)

    def epsilon(self, step: int) -> float:
        """Return what is added to the corrected second moment's root in a step, counted from 0.

        The class of transformers adds 1e-6 to the root before it is corrected, that is, divided by `1 - 0.999^t`'s.
        """
        return 1e-8 if self.adamw == "torch" else 1e-6 / math.sqrt(1 - 0.999 ** (step + 1))


class Scorer(nn.Module):
    """Scores the answers of a batch; computes logits only at positions that predict an answer token, or are asked for.

    Args:
        vlm: the model.
        hidden_layers: decoder layers whose outputs are returned too, as `parse_layers` reads them; "" for none.
    """

    def __init__(self, vlm: VLM, hidden_layers: str = "") -> None:
        super().__init__()
        self.model = vlm.model
        self._vlm = (vlm,)
        self._layers = parse_layers(vlm, hidden_layers) if hidden_layers else []

    def states(self, batch: Batch) -> States:
        """Return the states that predict answer tokens: those of the last layer and of `hidden_layers`."""
        (vlm,) = self._vlm
        layers = [decoder_layers(vlm)[layer] for layer in self._layers]
        with capture(layers) as captured:
            last_UD = vlm.hidden(batch.inputs).flatten(0, 1)[batch.places[0]]
        outputs = (one.output.flatten(0, 1)[batch.places[0]] for one in captured)
        return last_UD, dict(zip(self._layers, outputs, strict=True))

    def forward(self, batch: Batch) -> Scored:
        """Return the scores of every answer token of the batch."""
        last_UD, hidden = self.states(batch)
        return _scored(batch, self._vlm[0].head()(last_UD), hidden)


def _scored(batch: Batch, logits_UV: Tensor, hidden: Mapping[int, Tensor]) -> Scored:
    index_N, whole_M = batch.places[1], batch.whole_places_M
    return Scored(logits_UV, index_N, batch.target_N, batch.item_N, batch.num_items, hidden, whole_M)


def whole(scored: Scored) -> Scored:
    """Return the scores of all processes' rows, in one; gradients flow to this process's rows only."""
    counts = gathered(torch.tensor([[len(scored.logits_UV), scored.num_items]], device=scored.item_N.device))
    places, items = counts[: state().process_index].sum(0)
    own = scored.logits_UV, scored.source_N + places, scored.target_N, scored.item_N + items
    logits_UV, source_N, target_N, item_N = map(gathered, own)
    hidden = {layer: gathered(state_UD) for layer, state_UD in scored.hidden.items()}
    whole_M = None if scored.whole_M is None else gathered(scored.whole_M + places)
    return Scored(logits_UV, source_N, target_N, item_N, int(counts[:, 1].sum()), hidden, whole_M)


class Step(nn.Module):
    """A training step as one module, from data to loss, because DDP and FSDP wrap a module's forward pass."""

    def __init__(self, vlm: VLM, method: LossMethod, reference: Model) -> None:
        super().__init__()
        self.scorer = Scorer(vlm, method.hidden_layers)
        layers = vlm.model.get_submodule(vlm.layout.decoder_layers).children()
        self._no_split_modules = sorted(
            {type(layer).__name__ for layer in layers}
        )  # read by accelerate: the units of FSDP
        self._method = method
        self._reference = reference

    def forward(self, batch: StepBatch, term: str = "") -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of the global batch and its parts, one term of a `GradientMethod`, or the `LIKELIHOOD`."""

        def model(side: Batch) -> Scored:
            return whole(self.scorer(side))

        if term == LIKELIHOOD:
            (side,) = batch.sides.values()
            loss = Loss(cross_entropy(model(side)))
        elif term and isinstance(self._method, GradientMethod):
            loss = self._method.term(term, model, self._reference, batch)
        else:
            loss = self._method.loss(model, self._reference, batch)
        return loss.total, loss.parts


class Reference:
    """The model as it was before training, without a second copy of its weights.

    With LoRA, each call switches the adapter off. With full fine-tuning, and for a model with other weights, the hidden
    states of all batches are computed before the first step. Together with the output matrix of that moment they give
    the exact logits. States are stored under `id(batch)`: `announced` keeps every batch alive until training ends, so
    no other batch gets the same id.

    Args:
        vlm: the model to be trained, or, if `other`, one with the weights of the reference.
        scorer: scores its batches.
        other: True if other weights are loaded into `vlm` before training starts.
    """

    def __init__(self, vlm: VLM, scorer: Scorer, *, other: bool = False) -> None:
        self._vlm = vlm
        self._scorer = scorer
        self._other = other
        self._states: dict[int, States] = {}
        self._head: Tensor | None = None

    @property
    def _beneath_adapter(self) -> bool:
        """True if the reference is the model in training with its adapter switched off."""
        return not self._other and self._vlm.adapter is not None

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Scored:
        """Return the reference model's scores of the global batch."""
        if self._beneath_adapter:
            with self._vlm.adapter_off():
                return whole(self._scorer(batch))
        if self._head is None or id(batch) not in self._states:
            raise ModelError("reference: a batch was not announced before training (list its side in reference_sides)")
        last_UD, hidden = self._states[id(batch)]
        return whole(_scored(batch, last_UD @ self._head.T, hidden))

    def announced(self, steps: Iterator[StepBatch], sides: Sequence[Side]) -> Iterator[StepBatch]:
        """Return the same steps; if states must be stored, compute those of all `sides` before the first step."""
        if not sides or self._beneath_adapter:
            return steps
        kept = list(steps)
        for step, side in itertools.product(kept, sides):
            if side in step.sides:
                self._remember(step.sides[side])
        return iter(kept)

    @torch.no_grad()
    def _remember(self, batch: Batch) -> None:
        self._states[id(batch)] = self._scorer.states(batch)
        if self._head is None:
            self._head = self._vlm.head().weight.detach().clone()  # type: ignore[operator]


def train(
    vlm: VLM,
    method: LossMethod,
    steps: Iterator[StepBatch],
    schedule: Schedule,
    trainable: Sequence[nn.Parameter],
    *,
    name: str,
    seed: int = 0,
    reference: Reference | None = None,
    fisher: Mapping[Asked, Iterable[StepBatch]] | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    on_step: Callable[[int, Loss, float], None] | None = None,
) -> None:
    """Train `trainable` in place for `schedule.steps` steps.

    Args:
        vlm: the model.
        method: the loss.
        steps: the data of every step, with this process's share of the rows; resuming skips those already used.
        schedule: number of steps and learning rates.
        trainable: the parameters to train.
        name: for messages and progress.
        seed: of random numbers drawn in a step, such as dropout.
        reference: the reference model, to which these steps were announced; by default the model before training.
        fisher: one pass over the questions whose Fisher information a `GradientMethod` asks for.
        checkpoint: file for the state every `schedule.checkpoint_every` steps; removed at the end.
        progress: where long work is shown.
        on_step: called with step, loss and learning rate after every step.

    Raises:
        ModelError: the loss or gradient is not finite, or nothing was trained.
        ConfigError: `accelerate launch` was told to use DeepSpeed.
    """
    processes = state()
    accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    announced: Iterator[StepBatch] = itertools.islice(steps, schedule.steps)
    if reference is None:
        reference = Reference(vlm, Scorer(vlm, method.hidden_layers))
        moved = (batch.to(accelerator.device) for batch in announced)
        announced = reference.announced(moved, method.reference_sides)
    optimiser = torch.optim.AdamW(trainable, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    take_step, optimiser = accelerator.prepare(Step(vlm, method, reference), optimiser)
    trainable = optimiser.param_groups[0]["params"]  # FSDP replaces the parameters
    information = {asked: _fisher(accelerator, take_step, some, trainable) for asked, some in (fisher or {}).items()}
    done = _resume(checkpoint, trainable, optimiser) if checkpoint else 0
    remaining = itertools.islice(announced, done, None)
    watched: list[tuple[nn.Parameter, Tensor]] = []
    vlm.start_training()
    with (progress or Silent()).task(name, schedule.steps) as advance:
        advance(done)
        for step, batch in enumerate(remaining, start=done):
            torch.manual_seed((seed * 1_000_003 + step) * processes.num_processes + processes.process_index)
            optimiser.param_groups[0].update(lr=schedule.rate(step), eps=schedule.epsilon(step))
            loss = _differentiate(accelerator, take_step, method, batch, trainable, information)
            norm = math.nan
            if math.isfinite(loss.total.item()):
                norm = float(entire(accelerator.clip_grad_norm_(trainable, schedule.clip_norm)))
            if not math.isfinite(norm):
                saved = _save(checkpoint, trainable, optimiser, step) if checkpoint else None
                where = f"; the state before it is kept in {saved}" if saved else ""
                found = f"loss is {loss.total.item()} (gradient norm {norm})"
                raise ModelError(f"{name}: {found} at step {step}{where}; lower the learning rate")
            watched = watched or [(parameter, entire(parameter).clone()) for parameter in _learning(trainable)]
            optimiser.step()
            optimiser.zero_grad()
            if on_step:
                on_step(step, loss, schedule.rate(step))
            if checkpoint and (step + 1) % schedule.checkpoint_every == 0 and step + 1 < schedule.steps:
                _save(checkpoint, trainable, optimiser, step + 1)
            advance(1)
    vlm.model.eval()
    if done < schedule.steps and all(torch.equal(entire(parameter), before) for parameter, before in watched):
        raise ModelError(f"{name}: training changed nothing; check the learning rate and the trainable parameters")
    if checkpoint and processes.is_main_process:
        discard(checkpoint)


def _differentiate(
    accelerator: Accelerator,
    take_step: Callable[..., tuple[Tensor, Mapping[str, float]]],
    method: LossMethod,
    batch: StepBatch,
    trainable: Sequence[nn.Parameter],
    fisher: Mapping[Asked, Sequence[Tensor]],
) -> Loss:
    """Compute the gradient of a step (none if the loss is not finite), and return the loss."""
    if not isinstance(method, GradientMethod):
        loss = Loss(*take_step(batch))
        _backward(accelerator, loss)
        return loss
    losses, gradients = [], {}
    for term in method.terms:
        losses.append(Loss(*take_step(batch, term)))
        _backward(accelerator, losses[-1])
        gradients[term] = _taken(trainable)
    for parameter, gradient in zip(trainable, method.combine(gradients, fisher), strict=True):
        parameter.grad = gradient
    parts = {name: value for loss in losses for name, value in loss.parts.items()}
    return Loss(torch.stack([loss.total.detach() for loss in losses]).sum(), parts)


def _taken(trainable: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return the gradients of all parameters (0 where one has none), and take them from the parameters."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trainable]
    for parameter in trainable:
        parameter.grad = None
    return gradients


def _fisher(
    accelerator: Accelerator,
    take_step: Callable[..., tuple[Tensor, Mapping[str, float]]],
    steps: Iterable[StepBatch],
    trainable: Sequence[nn.Parameter],
) -> list[Tensor]:
    """Return the mean over batches of the squared gradient of the cross-entropy."""
    sums = [torch.zeros_like(parameter) for parameter in trainable]
    count = 0
    for batch in steps:
        _backward(accelerator, Loss(*take_step(batch.to(accelerator.device), LIKELIHOOD)))
        for total, gradient in zip(sums, _taken(trainable), strict=True):
            total += gradient.square()
        count += 1
    return [total / max(1, count) for total in sums]


def _learning(trainable: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Return the last two parameters whose gradient is not 0; fewer if there are fewer."""
    with_gradient = (p for p in reversed(trainable) if p.grad is not None and bool(entire(p.grad).any()))
    return list(itertools.islice(with_gradient, 2))


def _backward(accelerator: Accelerator, loss: Loss) -> None:
    if math.isfinite(loss.total.item()):
        # accelerate averages gradients over processes, but each has those of its own rows only: they must be summed.
        accelerator.backward(loss.total * state().num_processes)


def _save(path: Path, trainable: Sequence[nn.Parameter], optimiser: torch.optim.Optimizer, step: int) -> Path:
    tensors: dict[str, Tensor] = {}
    for i, parameter in enumerate(trainable):
        kept = {"parameter": parameter, **optimiser.state.get(parameter, {})}
        tensors |= {f"{key}.{i}": entire(value).to("cpu", copy=True) for key, value in kept.items()}
    if state().is_main_process:
        keep(path, lambda part: save_file(tensors, part, metadata={"state": json.dumps({"step": step})}))
    return path


def _resume(path: Path, trainable: Sequence[nn.Parameter], optimiser: torch.optim.Optimizer) -> int:
    if not decided(lambda: intact(path)):
        return 0
    with safe_open(path, "pt") as saved:
        step = int(json.loads(saved.metadata()["state"])["step"])
        names = set(saved.keys())
        for i, parameter in enumerate(trainable):
            saved_keys = [key for key in STATE if f"{key}.{i}" in names]
            tensors = {key: placed_like(parameter, saved.get_tensor(f"{key}.{i}")) for key in saved_keys}
            with torch.no_grad():
                parameter.copy_(tensors.pop("parameter"))
            if tensors:
                optimiser.state[parameter] = tensors
    log.info("resumed path=%s step=%d", path.name, step)
    return step
