"""Methods that choose weights or compute with them, and those that act on hidden states: identities of their papers."""

import itertools
import math
from dataclasses import dataclass

import pytest
import tiny
import torch

from unsee.edits.edit import Editor
from unsee.edits.partial_forward import down_name
from unsee.edits.tune import linear_module
from unsee.forward.hooks import capture
from unsee.forward.losses import Scored, cross_entropy
from unsee.forward.trees import collate
from unsee.methods import METHODS
from unsee.methods.base import StepBatch, Work, edit_of
from unsee.methods.manu import MANU, Activity, importance, observe, ratio_score
from unsee.methods.mmunlearner import MMUnlearner
from unsee.methods.rmu import RMU
from unsee.methods.smfa import agreeing
from unsee.training.train import Schedule, Scorer, train

SCHEDULE = Schedule(learning_rate=1e-3, steps=3, checkpoint_every=2)
PASS = {side: side for side in ("forget", "retain")}


def scored_states(*layers, scale=1.0):
    """Three answer tokens of two answers with fixed states of some layers."""
    torch.manual_seed(1)
    hidden = {layer: scale * torch.randn(3, 8) for layer in layers}
    return Scored(torch.randn(3, 7), torch.arange(3), torch.tensor([1, 2, 3]), torch.tensor([0, 0, 1]), 2, hidden)


def rmu_loss(method, model, reference):
    return method.loss(model.get, reference.get, StepBatch(PASS))


@pytest.mark.parametrize("direction", ["gaussian", "uniform"])
def test_rmu_pushes_to_one_point_of_the_wanted_length(direction):
    method = RMU(coefficient=6.5, unit="absolute", direction=direction)
    goal = 6.5 * method.unit_vector(8)
    assert goal.norm().item() == pytest.approx(6.5)
    assert torch.equal(method.unit_vector(8), method.unit_vector(8))
    assert bool((goal >= 0).all()) == (direction == "uniform")
    there = scored_states(4)
    there.hidden[4][:] = goal
    kept = scored_states(4)
    assert rmu_loss(method, {"forget": there, "retain": kept}, {"retain": kept}).total.item() == pytest.approx(
        0, abs=1e-9
    )
    by_hand = [((state - goal) ** 2).mean() for state in kept.hidden[4]]
    found = rmu_loss(method, {"forget": kept, "retain": kept}, {"retain": kept}).total.item()
    assert found == pytest.approx(float((by_hand[0] + by_hand[1]) / 2 + by_hand[2]) / 2, rel=1e-5)


def test_rmu_holds_retained_states_where_the_reference_has_them():
    method, here, moved = RMU(retain_weight=3.0, unit="absolute"), scored_states(4), scored_states(4, scale=2.0)
    plain = rmu_loss(method, {"forget": here, "retain": here}, {"retain": here})
    drifted = rmu_loss(method, {"forget": here, "retain": moved}, {"retain": here})
    squares = here.hidden[4].square().mean(1)
    expected = 3.0 * ((squares[0] + squares[1]) / 2 + squares[2]).item() / 2
    assert drifted.total.item() - plain.total.item() == pytest.approx(expected, rel=1e-5)


def test_in_units_of_the_mean_norm_the_loss_of_rmu_depends_on_no_scale_of_the_states():
    def loss(unit, scale):
        states = scored_states(2, 5, scale=scale)
        return rmu_loss(RMU(unit=unit), {"forget": states, "retain": states}, {"forget": states, "retain": states})

    assert loss("mean_norm", 3.0).total.item() == pytest.approx(9 * loss("mean_norm", 1.0).total.item(), rel=1e-5)
    assert loss("absolute", 3.0).total.item() != pytest.approx(9 * loss("absolute", 1.0).total.item(), rel=0.1)


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_a_task_vector_goes_as_far_back_as_training_went_forth(strength):
    start, trained = {"a": torch.randn(3, 4)}, {"a": torch.randn(3, 4)}
    change = {"": {"a": trained["a"] - start["a"]}}
    made = METHODS.get("task_vector")(strength=strength).after_training(change, None, None)
    expected = start["a"] - strength * (trained["a"] - start["a"])
    torch.testing.assert_close(start["a"] + made.deltas["a"], expected)


def test_smfa_drops_what_is_against_the_retain_change_and_large_beside_it():
    forget = torch.tensor([[3.0, -4.0, 0.1], [2.0, 0.0, -1.0]])
    retain = torch.tensor([[1.0, 0.1, -2.0], [-0.5, 1.0, 3.0]])
    ratio = float(forget.norm() / retain.norm())
    cut = agreeing(forget, retain, 5.0)
    against = [(0, 1), (0, 2), (1, 0), (1, 2)]
    assert [5.0 * ratio * abs(retain[at]) < abs(forget[at]) for at in against] == [True, False, False, False]
    assert (cut == 0).nonzero().tolist() == [[0, 1], [1, 1]]
    assert torch.equal(agreeing(forget, forget, 5.0), forget)
    assert torch.equal(agreeing(forget, retain, 1e6), forget)
    assert not agreeing(forget, -forget, 0.5).any()


def information(**of):
    """Fisher information of one tensor by side and way of asking: forget_image=..."""
    return {tuple(key.split("_")): torch.tensor(values) for key, values in of.items()}


def test_the_mask_of_mmunlearner_is_the_ratio_of_what_is_forgotten_and_what_is_kept():
    fisher = information(
        forget_image=[4.0, 1.0, 0.0, 9.0], forget_text=[0.0, 0.0, 3.0, 30.0],
        retain_image=[1.0, 2.0, 3.0, 3.0], retain_text=[2.0, 3.0, 0.0, 3.0],
    )  # fmt: skip
    assert MMUnlearner().mask(fisher).tolist() == [True, False, False, False]
    assert MMUnlearner(keep_text=False).mask(fisher).tolist() == [True, False, True, True]
    assert MMUnlearner(threshold=5.0).mask(fisher).tolist() == [False, False, False, False]
    nothing = {asked: torch.zeros(4) for asked in fisher}
    assert MMUnlearner().mask(nothing).tolist() == [True] * 4  # as with the first factors of new adapters


def test_a_weight_that_no_text_reaches_is_compared_with_the_retain_questions_with_the_image():
    fisher = information(
        forget_image=[2.0, 2.0], forget_text=[0.0, 0.0], retain_image=[3.0, 1.0], retain_text=[0.0, 0.0]
    )
    assert MMUnlearner().mask(fisher).tolist() == [False, True]
    only_images = {asked: of for asked, of in fisher.items() if asked[1] == "image"}
    assert MMUnlearner().mask(only_images).tolist() == [False, True]
    only_text = information(forget_text=[2.0, 2.0], retain_text=[3.0, 1.0])
    assert MMUnlearner().mask(only_text).tolist() == [False, True]


def data(vlm):
    """A step, and the questions whose Fisher information is wanted."""
    batches = {
        "forget": tiny.make_batch(vlm, shade=0),
        "retain": tiny.make_batch(vlm, shade=1, answers=tiny.ANSWERS[::-1]),
    }
    asked = {(side, "image"): [StepBatch({side: batch})] * 2 for side, batch in batches.items()}
    return StepBatch(batches), asked


def trained(method, trainable, **options):
    """The change of every trained weight."""
    vlm = tiny.make_vlm()
    parameters = vlm.train_language() if trainable == "full" else vlm.add_lora(4, 8)
    before = [parameter.detach().clone() for parameter in parameters]
    step, asked = data(vlm)
    fisher = asked if isinstance(method, MMUnlearner) else None
    train(vlm, method, itertools.repeat(step), SCHEDULE, parameters, name="masked", fisher=fisher, **options)
    return [parameter.detach() - start for parameter, start in zip(parameters, before, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Watched(MMUnlearner):
    """Remembers the masks of its last step."""

    masks: list

    def combine(self, gradients, fisher):
        self.masks[:] = [
            self.mask({asked: of[i] for asked, of in fisher.items()}) for i in range(len(gradients["forget"]))
        ]
        return super().combine(gradients, fisher)


@pytest.mark.parametrize("trainable", ["full", "lora"])
def test_the_mask_holds_the_weights_that_matter_more_to_what_is_kept_and_lets_the_others_move(trainable):
    masks = []
    changes = trained(Watched(masks=masks, retain_weight=0.0), trainable)
    held = [bool(change[~mask].any()) for change, mask in zip(changes, masks, strict=True)]
    assert not any(held)
    shares = [float(mask.float().mean()) for mask in masks]
    partly = [(change, mask) for change, mask, share in zip(changes, masks, shares, strict=True) if 0.02 < share < 0.98]
    assert len(partly) >= len(masks) // 2  # with adapters the second factors
    assert all(change[mask].count_nonzero() > 0.5 * mask.sum() for change, mask in partly)


def test_fisher_information_is_the_mean_square_of_the_gradient_of_a_batch():
    @dataclass(frozen=True, kw_only=True)
    class Kept(MMUnlearner):
        found: dict

        def combine(self, gradients, fisher):
            self.found.update(fisher)
            return gradients["retain"]

    vlm, found = tiny.make_vlm(), {}
    parameters = vlm.train_language()
    batches = [tiny.make_batch(vlm, shade=shade) for shade in (3, 4)]
    squares = []
    for batch in batches:
        loss = cross_entropy(Scorer(vlm)(batch))
        squares.append([gradient.square() for gradient in torch.autograd.grad(loss, parameters)])
    step, _ = data(vlm)
    asked = {("retain", "image"): [StepBatch({"retain": batch}) for batch in batches]}
    train(
        vlm, Kept(found=found, retain_weight=0.3), itertools.repeat(step), SCHEDULE, parameters, name="f", fisher=asked
    )
    for one, other, mean in zip(*squares, found["retain", "image"], strict=True):
        torch.testing.assert_close(mean, (one + other) / 2, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("trainable", ["full", "lora"])
def test_with_a_mask_that_holds_nothing_mmunlearner_is_gradient_difference(trainable):
    plain = trained(METHODS.get("gradient_difference")(), trainable)
    open_to_all = trained(MMUnlearner(threshold=1e-30), trainable)
    masked = trained(MMUnlearner(), trainable)
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(plain, open_to_all, strict=True))
    far = sum(float((a - b).square().sum()) for a, b in zip(plain, masked, strict=True))
    near = sum(float((a - b).square().sum()) for a, b in zip(plain, open_to_all, strict=True))
    assert far > 10 * near


class Killed(BaseException):
    pass


def test_the_mask_of_a_resumed_training_is_that_of_its_start(tmp_path):
    def kill(step, loss, rate):
        if step == 2:
            raise Killed

    whole = trained(MMUnlearner(), "full")
    checkpoint = tmp_path / "state.safetensors"
    with pytest.raises(Killed):
        trained(MMUnlearner(), "full", checkpoint=checkpoint, on_step=kill)
    assert checkpoint.is_file()
    resumed = trained(MMUnlearner(), "full", checkpoint=checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def activity(**of):
    """What neurons do; everything not given is 1."""
    ones = torch.ones(4, dtype=torch.float64)
    return Activity(*(torch.tensor(of[key], dtype=torch.float64) if key in of else ones for key in ACTIVITY))


ACTIVITY = ("size_J", "active_J", "square_J", "variance_J")


def test_manu_scores_a_neuron_by_the_gap_between_image_and_text_on_the_forget_side_over_that_on_the_retain_side():
    image = activity(size_J=[3.0, 1.0, 1.0, 1.0], active_J=[0.5, 0.5, 0.0, 0.5], variance_J=[0.0, 0.0, 0.0, 3.0])
    text = activity(size_J=[1.0, 1.0, 1.0, 1.0], active_J=[0.5, 0.5, 0.5, 0.5], variance_J=[0.0, 0.0, 0.0, 1.0])
    assert importance(image, text).tolist() == pytest.approx([0.5, 0.0, 1.0, 2.0], abs=1e-5)
    assert torch.equal(importance(image, text), importance(text, image))
    louder = activity(square_J=[9.0, 1.0, 1.0, 1.0], variance_J=[0.0] * 4)
    calm = activity(variance_J=[0.0] * 4)
    assert importance(louder, calm).tolist() == pytest.approx([math.sqrt(0.8), 0, 0, 0], abs=1e-5)
    sides = {
        ("forget", "image"): image,
        ("forget", "text"): text,
        ("retain", "image"): louder,
        ("retain", "text"): calm,
    }
    assert MANU(share=0.25).chosen(sides).tolist() == [False, False, False, True]
    assert MANU(share=0.5).chosen(sides).tolist() == [False, False, True, True]


def test_the_code_of_manu_scores_each_way_of_asking_by_forget_over_retain_without_the_frequency():
    forget = activity(size_J=[2.0, 1.0, 1.0, 1.0], active_J=[9.0, 9.0, 9.0, 9.0], square_J=[1.0, 4.0, 1.0, 1.0])
    retain = activity(variance_J=[1.0, 1.0, 4.0, 1.0])
    expected = [2 * 1.0, 2 * 1.0, 2 * (1 / 2 - 1), 0.0]
    assert ratio_score(forget, retain).tolist() == pytest.approx(expected, abs=1e-3)
    sides = {(side, kind): activity() for side in ("forget", "retain") for kind in ("image", "text")}
    sides["forget", "image"] = activity(size_J=[2.0, 1.0, 1.0, 1.0])
    sides["forget", "text"] = activity(square_J=[1.0, 1.0, 1.0, 5.0])
    assert MANU(variant="code", share=0.25).chosen(sides).tolist() == [True, False, False, True]


def test_manu_sees_what_a_down_projection_is_given_where_it_predicts_the_last_token_of_each_answer():
    vlm = tiny.make_vlm()
    picture = tiny.picture_of(vlm)
    values = []
    with capture([linear_module(vlm, down_name(vlm, 1))]) as (seen,), torch.no_grad():
        prompts, answers = vlm.prompt_ids(tiny.QUESTIONS, picture=picture), vlm.answer_ids(tiny.ANSWERS)
        for prompt, answer in zip(prompts, answers, strict=True):
            vlm.model(input_ids=torch.tensor([prompt + answer[:-1]]), **picture.inputs)
            values.append(seen.input[0, -1])
    alone = torch.stack(values).double()
    found = observe(vlm, iter([collate([tiny.make_tree(vlm, picture=picture)], vlm)]))
    width = alone.shape[1]
    parts = {
        "size_J": alone.abs().mean(0),
        "square_J": alone.square().mean(0),
        "variance_J": alone.var(0, correction=0),
    }
    for name, expected in parts.items():
        torch.testing.assert_close(getattr(found, name)[width:], expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.active_J[width:], (alone.abs() > 0.1).double().mean(0))


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_pruned_neurons_have_no_way_out_and_all_others_stay(variant):
    vlm = tiny.make_vlm()

    def batches(side, kind):
        return iter([tiny.make_batch(vlm, shade={"forget": 0, "retain": 1}[side] + 3 * (kind == "text"))])

    edit = edit_of(
        MANU(share=0.1, variant=variant), vlm, MANU(share=0.1, variant=variant).compute(vlm, batches, Work()), 0
    )
    before = {name: linear_module(vlm, name).weight.clone() for name in edit.deltas}
    Editor(vlm).apply(edit)
    pruned = 0
    for name, start in before.items():
        gone = ~linear_module(vlm, name).weight.any(0)
        assert torch.equal(linear_module(vlm, name).weight[:, ~gone], start[:, ~gone])
        pruned += int(gone.sum())
    neurons = sum(start.shape[1] for start in before.values())
    assert pruned == edit.settings["neurons"]
    assert round(0.1 * neurons) <= pruned <= round(0.1 * neurons) * (1 if variant == "paper" else 2)


def null_space(share, strength=1.0):
    """The deltas for a random change, the change, and the inputs on retain questions by layer."""
    vlm = tiny.make_vlm()
    name = down_name(vlm, 0)
    change = {f"{name}.weight": torch.randn_like(linear_module(vlm, name).weight)}
    batch = tiny.make_batch(vlm, shade=1)
    batches = {"image": [batch], "text": []}
    method = METHODS.get("null_space_task_vector")(free_share=share, strength=strength)
    made = method.after_training({"": change}, vlm, lambda side, kind: iter(batches[kind] if side == "retain" else []))
    with capture([linear_module(vlm, name)]) as (seen,), torch.no_grad():
        vlm.hidden(batch.inputs)
    return made.deltas[name], change[f"{name}.weight"], seen.input[batch.inputs["input_ids"] != vlm.pad_token].double()


def test_a_null_space_task_vector_hardly_changes_what_layers_return_on_retain_questions():
    delta, change, retain = null_space(0.01, strength=2.0)
    assert delta.norm() > 0.1 * change.norm()
    moved = (retain @ delta.double().T).square().sum() / (retain @ (2 * change.double()).T).square().sum()
    assert moved < 0.05
    # the energy of the retain inputs inside the null space is at most the wanted share
    inside = torch.linalg.lstsq(change.double(), -delta.double() / 2).solution
    assert (retain @ inside.T).square().sum() <= 0.0101 * retain.square().sum()


def test_with_all_directions_free_it_is_the_task_vector():
    delta, change, _ = null_space(1.0, strength=0.5)
    torch.testing.assert_close(delta, -0.5 * change, rtol=1e-4, atol=1e-5)
