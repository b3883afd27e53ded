"""Properties of every unlearning method, found by its name."""

import copy
import itertools
from dataclasses import MISSING, fields, replace
from typing import get_args

import privacy
import pytest
import tiny
import torch

from unsee.config.recipe import build_dataclass
from unsee.config.search import search_space
from unsee.core.errors import ConfigError
from unsee.edits.edit import Editor
from unsee.forward.generate import Group, generate
from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import (
    ArithmeticMethod,
    EditMethod,
    GradientMethod,
    GuardMethod,
    LossMethod,
    PromptMethod,
    Side,
    StatisticsMethod,
    StepBatch,
    Work,
    edit_of,
)
from unsee.training.lessons import FineTuning
from unsee.training.train import Reference, Schedule, Scorer, train

NAMES = METHODS.names()
BASES = (LossMethod, PromptMethod, EditMethod, GuardMethod, StatisticsMethod)
LOSSES, PROMPTS, EDITS, GUARDS, STATISTICS = (
    [name for name in NAMES if issubclass(METHODS.get(name), base)] for base in BASES
)
PEOPLE = ("Anna Berg", "Bo Carlsen")


@pytest.fixture
def vlm():
    return tiny.make_vlm()


@pytest.fixture(scope="module")
def _taught():
    """A model that knows the answers of both sides."""
    vlm = tiny.make_vlm()
    lessons = [StepBatch({"retain": batch}) for batch in make_pair(vlm, ("forget", "retain")).sides.values()]
    schedule = Schedule(learning_rate=3e-3, steps=40)
    train(vlm, FineTuning(), itertools.cycle(lessons), schedule, vlm.train_language(), name="taught")
    return vlm


@pytest.fixture
def taught(_taught):
    return copy.deepcopy(_taught)


def make_pair(vlm, sides, forget=0, retain=1, refusal=0, swapped=2, swapped_2=3, swapped_3=4, swapped_4=5, stand_in=6):
    """The sides a method asks for, each about its own picture."""
    make = {
        "forget": lambda: tiny.make_batch(vlm, shade=forget),
        "retain": lambda: tiny.make_batch(vlm, shade=retain, answers=tiny.ANSWERS[::-1]),
        "refusal": lambda: tiny.make_batch(vlm, shade=refusal, answers=["I cannot tell."] * len(tiny.ANSWERS)),
        "swapped": lambda: tiny.make_batch(vlm, shade=swapped),
        "stand_in": lambda: tiny.make_batch(vlm, shade=stand_in),
        "swapped_2": lambda: tiny.make_batch(vlm, shade=swapped_2),
        "swapped_3": lambda: tiny.make_batch(vlm, shade=swapped_3),
        "swapped_4": lambda: tiny.make_batch(vlm, shade=swapped_4),
    }
    return StepBatch({side: make[side]() for side in sides})


def scorers(vlm, method):
    """The model and another one as its reference, with the hidden states that the method asks for."""
    return Scorer(vlm, method.hidden_layers), Scorer(tiny.make_vlm(seed=1), method.hidden_layers)


def test_methods_of_every_side_can_be_checked(vlm):
    assert set(make_pair(vlm, get_args(Side)).sides) == set(get_args(Side))


def unlearn(vlm, method, pair, steps=6):
    """The loss of every step on one pair."""
    losses = []
    asked = method.fisher if isinstance(method, GradientMethod) else ()
    train(
        vlm, method, itertools.repeat(pair), Schedule(learning_rate=1e-3, steps=steps), vlm.train_language(),
        name="contract", on_step=lambda step, loss, rate: losses.append(loss),
        fisher={one: [StepBatch({one[0]: pair.of(one[0])})] for one in asked},
    )  # fmt: skip
    return losses


def compute_with_changes(vlm, method, pair):
    """Apply to the model what a method computes from its trainings."""
    changes, before = {}, {name: parameter.detach().clone() for name, parameter in vlm.model.named_parameters()}
    for name, training in method.trainings.items():
        trained = copy.deepcopy(vlm)
        unlearn(trained, method, StepBatch({side: pair.of(side) for side in training.sides}))
        changes[name] = {key: after.detach() - before[key] for key, after in trained.model.named_parameters()}
    deltas = method.after_training(changes, vlm, lambda side, kind: iter([make_pair(vlm, (side,)).of(side)]))
    Editor(vlm).apply(edit_of(method, vlm, deltas, seed=0))


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_summary_a_paper_and_one_kind(name):
    (leaf,) = [leaf for leaf in METHODS.leaves() if leaf.name == name]
    assert leaf.summary.endswith(".")
    assert leaf.paper
    assert sum(issubclass(METHODS.get(name), base) for base in BASES) == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_default_and_its_documentation(name):
    cls = METHODS.get(name)
    assert all(field.default is not MISSING for field in fields(cls))
    documented = "".join(one.__doc__ or "" for one in cls.__mro__)
    assert all(f"    {field.name}: " in documented for field in fields(cls))
    assert build_dataclass(cls, {}, f"method.{name}") == cls()


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_range_and_every_option_a_type(name):
    cls = METHODS.get(name)
    for field in fields(cls):
        wrong = [None, [], float("nan"), 7 if isinstance(field.default, str) and field.name != "layers" else -1]
        for value in wrong:
            with pytest.raises(ConfigError, match=rf"^method\.{name}\.{field.name}: "):
                build_dataclass(cls, {field.name: value}, f"method.{name}")
    with pytest.raises(ConfigError, match="unknown option"):
        build_dataclass(cls, {"betta": 1}, f"method.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_a_method_that_trains_declares_ranges_to_search_and_accepts_their_ends(name):
    cls = METHODS.get(name)
    space, options = search_space(cls), {field.name for field in fields(cls)}
    length = "steps" if issubclass(cls, LossMethod) else "epochs"
    assert ({"learning_rate", length} if "learning_rate" in options else set()) <= set(space) <= options
    for option, values in space.items():
        kind = type(next(field.default for field in fields(cls) if field.name == option))
        for end in (values.low, values.high):
            assert kind(end) == end
            assert getattr(build_dataclass(cls, {option: kind(end)}, f"method.{name}"), option) == end


@pytest.mark.parametrize("name", LOSSES)
def test_it_lowers_its_loss_and_makes_forget_answers_less_likely(taught, name):
    method = METHODS.get(name)()
    pair, forget = make_pair(taught, method.sides), tiny.make_batch(taught, shade=0)
    with torch.no_grad():
        before = cross_entropy(Scorer(taught)(forget)).item()
    if isinstance(method, ArithmeticMethod):
        losses = [loss.total.item() for loss in unlearn(copy.deepcopy(taught), method, pair)]
        compute_with_changes(taught, method, pair)
    else:
        losses = [loss.total.item() for loss in unlearn(taught, method, pair)]
    with torch.no_grad():
        after = cross_entropy(Scorer(taught)(forget)).item()
    assert losses[-1] < losses[0]
    assert after > before


@pytest.mark.parametrize("name", LOSSES)
def test_every_picture_reaches_the_loss(taught, name):
    vlm, method = taught, METHODS.get(name)()
    model, reference = scorers(vlm, method)

    def loss(**shades):
        pair = make_pair(vlm, method.sides, **shades)
        assert all("pixel_values" in batch.inputs for batch in pair.sides.values())
        with torch.no_grad():
            return method.loss(model, reference, pair).total.item()

    assert loss() == loss()
    for side in method.sides:
        assert loss(**{side: 9}) != loss()


@pytest.mark.parametrize("name", LOSSES)
def test_its_loss_is_a_scalar_that_reaches_every_trained_weight(vlm, name):
    method = METHODS.get(name)()
    parameters = vlm.train_language()
    loss = method.loss(*scorers(vlm, method), make_pair(vlm, method.sides))
    loss.total.backward()
    assert loss.total.shape == ()
    reached = [parameter.grad is not None and bool(parameter.grad.abs().sum() > 0) for parameter in parameters]
    assert any(reached) if method.hidden_layers else all(reached)  # a hidden state has no gradient above its layer
    assert loss.parts
    assert all(isinstance(value, float) for value in loss.parts.values())


@pytest.mark.parametrize("name", LOSSES)
def test_it_asks_the_reference_about_its_reference_sides_only(vlm, name):
    method = METHODS.get(name)()
    pair = make_pair(vlm, method.sides)
    model, _ = scorers(vlm, method)
    reference = Reference(vlm, model)
    (pair,) = reference.announced(iter([pair]), method.reference_sides)
    method.loss(model, reference, pair)
    assert set(method.reference_sides) <= set(method.sides)


@pytest.mark.parametrize("name", [name for name in LOSSES if hasattr(METHODS.get(name), "retain_weight")])
def test_with_a_retain_weight_of_0_the_retain_answers_do_not_matter(vlm, name):
    method = replace(METHODS.get(name)(), retain_weight=0.0)
    model, reference = scorers(vlm, method)
    with torch.no_grad():
        losses = {
            method.loss(model, reference, make_pair(vlm, method.sides, retain=shade)).total.item() for shade in (1, 9)
        }
    assert len(losses) == 1


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_names_everybody_or_is_none(name):
    prompt = METHODS.get(name)().system_prompt(PEOPLE)
    assert prompt is None or all(person in prompt for person in PEOPLE)


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_changes_the_answers(vlm, name):
    def answers(system):
        picture = tiny.picture_of(vlm)
        prompts = vlm.prompt_ids(tiny.QUESTIONS, picture=picture, system=system)
        tree = tiny.make_tree(vlm, picture=picture, system=system)
        (rows,) = generate(vlm, [Group.of(prompts, [picture])], max_new_tokens=4)
        return prompts, rows, [node.ids for node in tree.nodes]

    prompt = METHODS.get(name)().system_prompt(PEOPLE)
    assert (answers(prompt) == answers(None)) == (prompt is None)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_depends_on_the_pictures_and_leaves_the_model_unchanged(vlm, tmp_path, name):
    options = (
        {"texts": str(tmp_path / "texts")} if "texts" in {field.name for field in fields(METHODS.get(name))} else {}
    )
    (tmp_path / "texts").write_text("\n".join(tiny.QUESTIONS))
    method = METHODS.get(name)(**options)
    before = vlm.fingerprint()
    first, second = (
        method.edit(vlm, [replace(pair, image=tiny.png(shade)) for pair in privacy.make_pairs(1, 1)], Work())
        for shade in (0, 9)
    )
    assert vlm.fingerprint() == before == first.model
    assert first.method == name
    assert first.deltas.keys() and all(delta.dtype == torch.float32 for delta in first.deltas.values())
    assert first.id != second.id


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_depend_on_the_pictures_of_both_sides_and_leave_the_model_unchanged(vlm, name):
    method = METHODS.get(name)()
    before = vlm.fingerprint()

    def made(**shades):
        def batches(side, kind):
            return iter([make_pair(vlm, method.sides, **shades).of(side)])

        return edit_of(method, vlm, method.compute(vlm, batches, Work()), 0)

    first = made()
    assert vlm.fingerprint() == before == first.model
    assert first.deltas.keys() and all(delta.dtype == torch.float32 for delta in first.deltas.values())
    assert made().id == first.id
    for side in method.sides:
        assert any(made(**{side: shade}).id != first.id for shade in (9, 5, 13, 21))


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_answers_the_private_questions_of_its_pairs_only(name):
    pairs = privacy.make_pairs(1, 3)
    guard = METHODS.get(name)().guard(pairs)
    assert all(guard(pair.sensitive) for pair in pairs[:1])
    assert not any(guard(pair.benign) for pair in pairs)


def test_do_nothing_changes_nothing_and_has_no_options():
    assert METHODS.get("do_nothing")().system_prompt(PEOPLE) is None
    assert not fields(METHODS.get("do_nothing"))
