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
from dataclasses import dataclass, replace
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
from unsee.training.gradients import LIKELIHOOD, differentiate, fisher_information
from unsee.training.lower_layers import lower_layers

log = logging.getLogger(__name__)

States = tuple[Tensor, dict[int, Tensor]]
"""The last hidden states at the positions to score (U, D), and decoder layers' outputs there."""
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


@dataclass(frozen=True)
class StopRule:
    """Says when training may end before its last step.

    Attributes:
        key: hash of everything that decides it.
        left: returns what is left to do for a model, 0 if it needs no further step; it must not change the model.
    """

    key: str
    left: Callable[[VLM], int]


class Scorer(nn.Module):
    """Scores the answers of a batch; computes logits only at positions that predict an answer token, or are asked for.

    Args:
        vlm: the model.
        hidden_layers: decoder layers whose outputs are returned too, as `parse_layers` reads them; "" for none.
        repeated: the same rows come again, as in training: the output of frozen lower layers is kept.
    """

    def __init__(self, vlm: VLM, hidden_layers: str = "", *, repeated: bool = False) -> None:
        super().__init__()
        self.model = vlm.model
        self._vlm = (vlm,)
        self._layers = parse_layers(vlm, hidden_layers) if hidden_layers else []
        self._lower = lower_layers(vlm, self._layers) if repeated else None

    def states(self, batch: Batch) -> States:
        """Return the states that predict answer tokens: those of the last layer and of `hidden_layers`."""
        (vlm,) = self._vlm
        layers = [decoder_layers(vlm)[layer] for layer in self._layers]
        with capture(layers) as captured:
            last_BTD = self._lower.hidden(batch.inputs) if self._lower else vlm.hidden(batch.inputs)
        last_UD = last_BTD.flatten(0, 1)[batch.places[0]]
        outputs = (one.output.flatten(0, 1)[batch.places[0]] for one in captured)
        return last_UD, dict(zip(self._layers, outputs, strict=True))

    def shown_U(self, batch: Batch) -> Tensor:
        """Return which of the positions to score are in a row with a picture."""
        (vlm,) = self._vlm
        ids_BT: Tensor = batch.inputs["input_ids"]
        return (ids_BT == vlm.family.image_token).any(1)[batch.places[0] // ids_BT.shape[1]]

    def forward(self, batch: Batch) -> Scored:
        """Return the scores of every answer token of the batch."""
        last_UD, hidden = self.states(batch)
        return _scored(batch, self._vlm[0].head()(last_UD), hidden)


def _scored(batch: Batch, logits_UV: Tensor, hidden: Mapping[int, Tensor]) -> Scored:
    index_N, whole_M = batch.places[1], batch.whole_places_M
    return Scored(logits_UV, index_N, batch.target_N, batch.item_N, batch.num_items, hidden, whole_M)


def _passing(scored: Scored, passing_U: Tensor) -> Scored:
    """Return the same scores; a gradient passes at some positions only."""

    def passed(value_UD: Tensor) -> Tensor:
        return torch.where(passing_U[:, None], value_UD, value_UD.detach())

    hidden = {layer: passed(state_UD) for layer, state_UD in scored.hidden.items()}
    return replace(scored, logits_UV=passed(scored.logits_UV), hidden=hidden)


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
        self.scorer = Scorer(vlm, method.hidden_layers, repeated=True)
        layers = vlm.model.get_submodule(vlm.layout.decoder_layers).children()
        self._no_split_modules = sorted(
            {type(layer).__name__ for layer in layers}
        )  # read by accelerate: the units of FSDP
        self._method = method
        self._reference = reference

    def forward(self, batch: StepBatch, term: str = "", part: str = "") -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of the global batch and its parts, one term of a `GradientMethod`, or the `LIKELIHOOD`.

        With a part, its value is the same, and its gradient flows through this part alone.
        """

        def model(side: Batch) -> Scored:
            scored: Scored = self.scorer(side)
            if part:
                scored = _passing(scored, self._belongs_U(side, part, kept=side is batch.sides.get("retain")))
            return whole(scored)

        if term == LIKELIHOOD:
            (side,) = batch.sides.values()
            loss = Loss(cross_entropy(model(side)))
        elif term and isinstance(self._method, GradientMethod):
            loss = self._method.term(term, model, self._reference, batch)
        else:
            loss = self._method.loss(model, self._reference, batch)
        return loss.total, loss.parts

    def _belongs_U(self, side: Batch, part: str, *, kept: bool) -> Tensor:
        """Return which positions to score belong to a part of the gradient."""
        shown_U = self.scorer.shown_U(side)
        if kept or part == "rest":
            return torch.full_like(shown_U, kept and part == "rest")
        return shown_U if part == "image" else ~shown_U


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
    stop: StopRule | None = None,
) -> int:
    """Train `trainable` in place for `schedule.steps` steps, or fewer if `stop` says so; return the number of steps.

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
        stop: asked every `method.check_every` steps whether training may end.

    Raises:
        ModelError: the loss or gradient is not finite, or nothing was trained.
        ConfigError: `accelerate launch` was told to use DeepSpeed.
    """
    processes = state()
    accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    different = min(method.num_batches or schedule.steps, schedule.steps)
    announced: Iterator[StepBatch] = itertools.islice(steps, different)
    if reference is None:
        reference = Reference(vlm, Scorer(vlm, method.hidden_layers, repeated=True))
        moved = (batch.to(accelerator.device) for batch in announced)
        announced = reference.announced(moved, method.reference_sides)
    if different < schedule.steps:
        announced = itertools.islice(itertools.cycle(announced), schedule.steps)
    optimiser = torch.optim.AdamW(trainable, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    take_step, optimiser = accelerator.prepare(Step(vlm, method, reference), optimiser)
    trainable = optimiser.param_groups[0]["params"]  # FSDP replaces the parameters
    information = {
        asked: fisher_information(accelerator, take_step, some, trainable) for asked, some in (fisher or {}).items()
    }
    done = _resume(checkpoint, trainable, optimiser) if checkpoint else 0
    remaining = itertools.islice(announced, done, None)
    watched: list[tuple[nn.Parameter, Tensor]] = []
    taken = schedule.steps
    vlm.start_training()
    with (progress or Silent()).task(name, schedule.steps) as advance:
        advance(done)
        for step, batch in enumerate(remaining, start=done):
            torch.manual_seed((seed * 1_000_003 + step) * processes.num_processes + processes.process_index)
            optimiser.param_groups[0].update(lr=schedule.rate(step), eps=schedule.epsilon(step))
            loss = differentiate(accelerator, take_step, method, batch, trainable, information)
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
            if stop and method.check_every and (step + 1) % method.check_every == 0 and _is_met(stop, vlm):
                taken = step + 1
                break
            if checkpoint and (step + 1) % schedule.checkpoint_every == 0 and step + 1 < schedule.steps:
                _save(checkpoint, trainable, optimiser, step + 1)
            advance(1)
    vlm.model.eval()
    if done < schedule.steps and all(torch.equal(entire(parameter), before) for parameter, before in watched):
        raise ModelError(f"{name}: training changed nothing; check the learning rate and the trainable parameters")
    if checkpoint and processes.is_main_process:
        discard(checkpoint)
    return taken


def _is_met(stop: StopRule, vlm: VLM) -> bool:
    """Ask whether training may end, of the model in evaluation mode; weights that are divided cannot be asked."""
    if vlm.divided:
        return False
    vlm.model.eval()
    left = stop.left(vlm)
    vlm.start_training()
    return not left


def _learning(trainable: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Return the last two parameters whose gradient is not 0; fewer if there are fewer."""
    with_gradient = (p for p in reversed(trainable) if p.grad is not None and bool(entire(p.grad).any()))
    return list(itertools.islice(with_gradient, 2))


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
