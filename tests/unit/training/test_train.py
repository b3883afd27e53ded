import contextlib
import copy
import itertools
import math
from dataclasses import dataclass, replace

import pytest
import tiny
import torch
from damage import DAMAGES
from leftovers import files_in
from trainings import LORA_ALPHA, LORA_RANK, SCHEDULE, STEPS, pairs, prepared, same, weights

from unsee.core.errors import ModelError
from unsee.edits.partial_forward import decoder_layers
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import Loss, LossMethod, StepBatch
from unsee.training.lessons import FineTuning
from unsee.training.train import Reference, Schedule, Scorer, StopRule, train

pytestmark = pytest.mark.slow


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("trainable", "objective"),
    [("full", FineTuning()), ("full", METHODS.get("npo")()), ("lora", METHODS.get("kl_minimisation")())],
)
def test_killed_and_resumed_ends_with_the_same_weights(tmp_path, trainable, objective):
    vlm, parameters = prepared(trainable)
    train(vlm, objective, pairs(vlm), SCHEDULE, parameters, name="whole")
    expected = weights(parameters)

    def kill(step, loss, rate):
        if step == 6:
            raise Killed

    checkpoint = tmp_path / "deep" / "state.safetensors"
    vlm, parameters = prepared(trainable)
    with pytest.raises(Killed):
        train(vlm, objective, pairs(vlm), SCHEDULE, parameters, name="killed", checkpoint=checkpoint, on_step=kill)
    seen = []
    vlm, parameters = prepared(trainable)
    train(
        vlm, objective, pairs(vlm), SCHEDULE, parameters, name="resumed",
        checkpoint=checkpoint, on_step=lambda step, loss, rate: seen.append(step),
    )  # fmt: skip
    assert seen == list(range(4, STEPS))
    assert same(weights(parameters), expected)
    assert not checkpoint.exists()


@pytest.mark.parametrize(
    "damage", [DAMAGES[0], *(pytest.param(damage, marks=pytest.mark.soak) for damage in DAMAGES[1:])]
)
def test_from_a_damaged_checkpoint_it_starts_again_and_ends_with_the_same_weights(tmp_path, caplog, damage):
    def stop(step, loss, rate):
        if step == 5:
            raise KeyboardInterrupt

    ends, checkpoint = [], tmp_path / "state.safetensors"
    for on_step, spoil in ((stop, True), (None, False), (None, False)):
        vlm, parameters = prepared("lora")
        with contextlib.suppress(KeyboardInterrupt):
            train(
                vlm, FineTuning(), pairs(vlm), SCHEDULE, parameters, name="spoilt", checkpoint=checkpoint,
                on_step=on_step,
            )  # fmt: skip
            ends.append(weights(parameters))
        if spoil:
            checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    assert same(*ends)
    assert f"{checkpoint}: damaged" in caplog.text
    assert files_in(tmp_path) == {"state.safetensors.damaged"}


@dataclass(frozen=True, kw_only=True)
class Checked(FineTuning):
    check_every: int = 2
    num_batches: int = 3


def after(steps):
    """A rule that is met once the model was asked so often."""
    asked = []

    def left(vlm):
        assert not vlm.model.training
        asked.append(Scorer(vlm)(tiny.make_batch(vlm)).log_probability_I.detach())
        return steps // Checked().check_every - len(asked)

    return StopRule("rule", left), asked


def test_training_ends_when_nothing_is_left_to_do():
    vlm, parameters = prepared("full")
    rule, asked = after(6)
    seen = []
    taken = train(
        vlm, Checked(), pairs(vlm), SCHEDULE, parameters, name="checked", stop=rule,
        on_step=lambda step, loss, rate: seen.append(loss.total.item()),
    )  # fmt: skip
    assert (taken, len(seen), len(asked)) == (6, 6, 3)
    assert not torch.equal(asked[0], asked[1])  # it is the model in training that is asked
    vlm, parameters = prepared("full")
    assert train(vlm, FineTuning(), pairs(vlm), SCHEDULE, parameters, name="unchecked", stop=rule) == STEPS


def test_a_check_changes_nothing_and_a_killed_training_ends_at_the_same_step(tmp_path):
    vlm, parameters = prepared("full")
    rule, _ = after(6)
    short = replace(SCHEDULE, warmup=0.0, decay=0.0)
    train(vlm, Checked(), pairs(vlm), short, parameters, name="whole", stop=rule)
    expected = weights(parameters)

    def kill(step, loss, rate):
        if step == 4:
            raise Killed

    checkpoint = tmp_path / "state.safetensors"
    vlm, parameters = prepared("full")
    rule, _ = after(6)
    with pytest.raises(Killed):
        train(
            vlm, Checked(), pairs(vlm), short, parameters, name="killed", stop=rule, checkpoint=checkpoint, on_step=kill
        )
    vlm, parameters = prepared("full")
    rule, _ = after(2)  # the next check is the third
    train(vlm, Checked(), pairs(vlm), short, parameters, name="resumed", stop=rule, checkpoint=checkpoint)
    assert same(weights(parameters), expected)
    assert not checkpoint.exists()


def test_different_batches_are_used_again_and_again():
    drawn, used = [], []

    def steps():
        for pair in pairs(vlm):
            drawn.append(pair)
            yield pair

    @dataclass(frozen=True, kw_only=True)
    class Noted(Checked):
        def loss(self, model, reference, batch):
            used.append(batch.retain.target_N.tolist() + batch.forget.inputs["pixel_values"].flatten()[:9].tolist())
            return super().loss(model, reference, batch)

    vlm, parameters = prepared("full")
    train(vlm, Noted(), steps(), SCHEDULE, parameters, name="again")
    assert len(drawn) == 3 and len(used) == STEPS
    assert used[:3] == used[3:6] and used[0] != used[1]


@pytest.mark.parametrize("trainable", ["full", "lora"])
def test_the_reference_stays_the_model_as_it_was(trainable):
    @dataclass(frozen=True, kw_only=True)
    class Watched(FineTuning):
        reference_sides: tuple[str, ...] = ("forget",)

        def loss(self, model, reference, batch):
            scores.append((batch.forget, reference(batch.forget).logits_UV))
            return Loss(cross_entropy(model(batch.retain)))

    scores = []
    vlm, parameters = prepared(trainable)
    train(vlm, Watched(), pairs(vlm), SCHEDULE, parameters, name="watched")
    first = Scorer(tiny.make_vlm())
    with torch.no_grad():
        assert all(torch.equal(logits, first(batch).logits_UV) for batch, logits in scores)
        assert not torch.equal(Scorer(vlm)(scores[-1][0]).logits_UV, scores[-1][1])
    assert len(scores) == STEPS


@pytest.mark.parametrize(("trainable", "ahead"), [("full", STEPS), ("lora", 1)])
def test_steps_are_made_ahead_only_where_the_reference_must_be_kept(trainable, ahead):
    def drawn():
        for pair in pairs(vlm):
            made.append(pair)
            yield pair

    made, at_step = [], []
    vlm, parameters = prepared(trainable)
    npo = METHODS.get("npo")()
    train(
        vlm, npo, drawn(), SCHEDULE, parameters, name="drawn",
        on_step=lambda step, loss, rate: at_step.append(len(made)),
    )  # fmt: skip
    assert at_step[0] == ahead
    assert at_step[-1] == STEPS


def test_a_batch_the_reference_was_not_shown_says_so():
    vlm, _ = prepared("full")
    with pytest.raises(ModelError, match="not announced"):
        Reference(vlm, Scorer(vlm))(tiny.make_batch(vlm))


def test_full_training_leaves_the_vision_tower_as_it_was():
    vlm, parameters = prepared("full")
    before = copy.deepcopy(vlm.model.state_dict())
    train(vlm, FineTuning(), pairs(vlm), SCHEDULE, parameters, name="full")
    same_now = {name for name, value in vlm.model.state_dict().items() if torch.equal(value, before[name])}
    assert same_now == {name for name in before if name.startswith(vlm.layout.vision_tower)}
    assert not vlm.model.training


def test_lora_trains_its_adapter_alone():
    vlm, parameters = prepared("lora")
    names = [name for name, parameter in vlm.model.named_parameters() if parameter.requires_grad]
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    assert len(names) == len(parameters) == 2 * 7 * vlm.model.config.text_config.num_hidden_layers
    before = {name: value.clone() for name, value in vlm.model.state_dict().items() if "lora" not in name}
    train(vlm, FineTuning(), pairs(vlm), SCHEDULE, parameters, name="lora")
    assert all(parameter.abs().max() > 0 for parameter in parameters)
    state = vlm.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in before.items())


def test_training_lowers_the_loss_and_reports_every_step():
    vlm, parameters = prepared("full")
    pair = StepBatch({"retain": tiny.make_batch(vlm)})
    steps = []
    train(
        vlm, FineTuning(), itertools.repeat(pair), SCHEDULE, parameters, name="steps",
        on_step=lambda step, loss, rate: steps.append((step, loss.parts["retain"], rate)),
    )  # fmt: skip
    numbers, losses, rates = zip(*steps, strict=True)
    assert numbers == tuple(range(STEPS))
    assert losses[-1] < 0.5 * losses[0]
    assert rates == tuple(SCHEDULE.rate(step) for step in range(STEPS))


@dataclass(frozen=True, kw_only=True)
class Poisoned(FineTuning):
    """Fine-tuning whose loss, or only its gradient, is no number once `good` holds five steps."""

    good: list
    gradient_only: bool = False

    def loss(self, model, reference, batch):
        loss = cross_entropy(model(batch.retain))
        if len(self.good) < 5:
            return Loss(loss)
        return Loss(loss + (loss.detach() - loss).abs().sqrt() if self.gradient_only else loss * math.nan)


@pytest.mark.parametrize("gradient_only", [False, True])
def test_a_loss_that_is_no_number_stops_at_its_step_and_keeps_the_last_good_state(tmp_path, gradient_only):
    good, resumed = [], []
    vlm, parameters = prepared("full")
    checkpoint = tmp_path / "state.safetensors"
    with pytest.raises(ModelError, match=r"unlearning: loss is .* at step 5; .*state\.safetensors; lower the learning"):
        train(
            vlm, Poisoned(good=good, gradient_only=gradient_only), pairs(vlm), SCHEDULE, parameters, name="unlearning",
            checkpoint=checkpoint, on_step=lambda step, loss, rate: good.append(weights(parameters)),
        )  # fmt: skip
    assert same(weights(parameters), good[-1])
    vlm, parameters = prepared("full")
    train(
        vlm, FineTuning(), pairs(vlm), SCHEDULE, parameters, name="again",
        checkpoint=checkpoint, on_step=lambda step, loss, rate: resumed.append(step),
    )  # fmt: skip
    assert resumed[0] == 5


def test_without_a_checkpoint_the_step_is_named_all_the_same():
    vlm, parameters = prepared("full")
    with pytest.raises(ModelError, match=r"loss is nan \(gradient norm nan\) at step 0; lower the learning rate"):
        train(vlm, Poisoned(good=[None] * 5), pairs(vlm), SCHEDULE, parameters, name="nan")


def test_training_that_changes_nothing_is_an_error():
    vlm, parameters = prepared("full")
    with pytest.raises(ModelError, match="training changed nothing"):
        train(vlm, FineTuning(), pairs(vlm), Schedule(learning_rate=1e-30, steps=2), parameters, name="still")


def test_the_rate_rises_holds_and_falls_without_touching_zero():
    schedule = Schedule(learning_rate=1.0, steps=100, warmup=0.1, decay=0.5)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert rates[9:51] == [1.0] * 42
    assert rates[-1] == pytest.approx(0.02)
    assert min(rates) > 0


@pytest.mark.parametrize(("targets", "training"), [("decoder", False), ("all_linear", True)])
def test_a_vision_tower_that_is_not_trained_has_no_dropout(targets, training):
    vlm = tiny.make_vlm()
    vlm.add_lora(LORA_RANK, LORA_ALPHA, targets)
    vlm.start_training()
    assert vlm.model.training
    assert vlm.model.get_submodule(vlm.layout.vision_tower).training == training


@dataclass(frozen=True, kw_only=True)
class Towards(LossMethod):
    """Pull the output of a decoder layer at forget answers towards the reference's, mirrored (the shape of RMU)."""

    learning_rate: float = 1e-3
    steps: int = STEPS
    hidden_layers: str = "0"
    balance: bool = False
    reference_sides: tuple[str, ...] = ("forget",)

    def loss(self, model, reference, batch):
        (layer,) = model(batch.forget).hidden
        now_ND, then_ND = model(batch.forget).state_ND(layer), reference(batch.forget).state_ND(layer)
        loss = (now_ND + then_ND).square().mean()
        return Loss(loss, {"forget": loss.item(), "reference": then_ND.square().mean().item()})


@pytest.mark.parametrize("trainable", ["full", "lora"])
def test_a_loss_of_hidden_states_gets_those_of_the_model_and_of_the_reference(trainable):
    vlm, parameters = prepared(trainable)
    batch = tiny.make_batch(vlm)
    seen = []
    layer = decoder_layers(vlm)[0]
    watch = layer.register_forward_hook(lambda module, _, output: seen.append(first_output(output)))
    with torch.no_grad():
        vlm.hidden(batch.inputs)
    watch.remove()
    expected = seen[0].flatten(0, 1)[batch.source_N]
    losses = []
    train(
        vlm, Towards(), itertools.repeat(StepBatch({"forget": batch})), SCHEDULE, parameters, name="towards",
        on_step=lambda step, loss, rate: losses.append(loss.parts),
    )  # fmt: skip
    assert losses[0]["forget"] == pytest.approx((2 * expected).square().mean().item(), rel=1e-4)
    assert losses[-1]["forget"] < losses[0]["forget"]
    assert [parts["reference"] for parts in losses] == pytest.approx(
        [expected.square().mean().item()] * STEPS, rel=1e-4
    )


def first_output(output):
    return (output[0] if isinstance(output, tuple) else output).detach()
