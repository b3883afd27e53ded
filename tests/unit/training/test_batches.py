import itertools
import math
from types import SimpleNamespace

import pytest
import tiny

from unsee.core.errors import DataError
from unsee.methods import METHODS
from unsee.runtime import distributed as processes
from unsee.training.batches import Plan, Stream, own_rows


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


def make_stream(vlm, number, seed="a", side="forget", **size):
    """Examples that tell themselves apart by their one answer."""
    rows = [(tiny.make_tree(vlm, ["Job?"], [f"A baker. {letter}"]),) for letter in "abcdefgh"[:number]]
    size = size or {"batch_examples": 1}
    return Stream(make_rows=lambda rng: rng.sample(rows, number), sides=(side,), vlm=vlm, seed=seed, **size)


def make_plan(vlm, forget, retain, protocol="clean", size=None, **options):
    """The plan of a method that looks at both sides, joint or alternating."""
    size = size or {"batch_examples": 1}
    streams = [make_stream(vlm, forget, **size), make_stream(vlm, retain, side="retain", **size)]
    return Plan(streams, METHODS.get("gradient_difference")(**options), protocol)


def test_a_batch_has_so_many_examples_and_the_last_one_the_rest(vlm):
    stream = make_stream(vlm, 8, batch_examples=3)
    assert [len(rows) for rows in stream.plan(0)] == [3, 3, 2]
    assert sorted(id(row) for part in stream.plan(0) for row in part) == sorted(
        id(row) for part in stream.plan(1) for row in part
    )
    assert [batch.forget.num_items for batch in stream.epoch(0)] == [3, 3, 2]


def test_epochs_differ_and_are_the_same_for_the_same_seed(vlm):
    def order(seed, epoch):
        return [batch.forget.target_N.tolist() for batch in make_stream(vlm, 8, seed).epoch(epoch)]

    assert order("a", 0) == order("a", 0) != order("a", 1)
    assert order("a", 0) != order("b", 0)


def test_joint_steps_have_every_side_and_alternating_steps_one(vlm):
    joint = make_plan(vlm, 2, 3).steps
    assert all(set(batch.sides) == {"forget", "retain"} for batch in itertools.islice(joint, 7))
    alternating = itertools.islice(make_plan(vlm, 2, 3, schedule="alternating").steps, 10)
    found = [next(iter(batch.sides)) for batch in alternating]
    assert found == ["forget"] * 2 + ["retain"] * 3 + ["forget"] * 2 + ["retain"] * 3


@pytest.mark.parametrize(("order", "steps"), [("joint", 2 * 2), ("alternating", 2 * (2 + 3))])
def test_epochs_are_passes_over_the_first_side_or_over_all_that_alternate(vlm, order, steps):
    assert make_plan(vlm, 2, 3, schedule=order, steps=0, epochs=2).schedule.steps == steps
    assert make_plan(vlm, 2, 3, schedule=order, steps=7).schedule.steps == 7


def test_an_alternating_epoch_shows_every_example_of_both_sides_once(vlm):
    size = {"batch_examples": 2}
    plan = make_plan(vlm, 4, 5, "published", size, schedule="alternating", steps=0, epochs=1)
    seen = {"forget": [], "retain": []}
    for step in itertools.islice(plan.steps, plan.schedule.steps):
        for side, batch in step.sides.items():
            seen[side] += [tuple(batch.target_N[batch.item_N == i].tolist()) for i in range(batch.num_items)]
    assert {side: (len(found), len(set(found))) for side, found in seen.items()} == {"forget": (4, 4), "retain": (5, 5)}


def test_the_published_rate_falls_linearly_from_the_first_step_unclipped(vlm):
    schedule = make_plan(vlm, 4, 1, "published", learning_rate=2.0, steps=0, epochs=1).schedule
    assert [schedule.rate(step) for step in range(4)] == [2.0, 1.5, 1.0, 0.5]
    assert schedule.clip_norm == math.inf


def test_the_published_rate_is_constant_where_passes_alternate(vlm):
    options = {"learning_rate": 2.0, "steps": 0, "epochs": 2, "schedule": "alternating"}
    schedule = make_plan(vlm, 2, 3, "published", **options).schedule
    assert {schedule.rate(step) for step in range(10)} == {2.0}


def test_sides_of_one_stream_are_batched_alike(vlm):
    rows = [
        (tiny.make_tree(vlm, ["Job?"], [f"A baker. {letter}"]), tiny.make_tree(vlm, ["Job?"], [f"No. {letter}"]))
        for letter in "abcdefgh"
    ]
    sides = ("forget", "refusal")
    stream = Stream(make_rows=lambda rng: rng.sample(rows, 8), sides=sides, vlm=vlm, seed="a", batch_examples=3)
    for step in stream.epoch(0):
        written = [
            [vlm.decode([batch.target_N[batch.item_N == i].tolist()])[0][-1] for i in range(batch.num_items)]
            for batch in (step.forget, step.of("refusal"))
        ]
        assert written[0] == written[1]


def test_nothing_to_learn_is_an_error(vlm):
    with pytest.raises(DataError, match="no training text"):
        Stream(make_rows=lambda rng: [], sides=("forget",), vlm=vlm, seed="a", batch_examples=1).plan(0)


def test_by_tokens_the_order_is_drawn_from_the_seed(vlm):
    stream = make_stream(vlm, 8, batch_tokens=60)
    assert 1 < len(stream.plan(0)) < 8
    assert [[id(t) for t in part] for part in stream.plan(0)] == [[id(t) for t in part] for part in stream.plan(0)]


@pytest.mark.parametrize("num_processes", [1, 2, 3, 6])
def test_processes_share_out_a_batch_and_all_of_them_see_a_picture_if_one_does(vlm, num_processes, monkeypatch):
    trees = [tiny.make_tree(vlm, picture=tiny.picture_of(vlm)), *(tiny.make_tree(vlm) for _ in range(4))]
    scored = []
    for index in range(num_processes):
        here = SimpleNamespace(process_index=index, num_processes=num_processes)
        monkeypatch.setattr(processes, "state", lambda here=here: here)
        own = own_rows(trees)
        assert any(tree.pictures for tree in own)
        scored += [id(tree) for tree in own if tree.num_items]
        assert [tree.num_tokens for tree in own if not tree.num_items] == [trees[0].num_tokens] * bool(index)
    assert sorted(scored) == sorted(map(id, trees))


def test_batches_are_the_same_for_the_same_seed_and_hold_everything_once_an_epoch(vlm):
    rows = [(tiny.make_tree(vlm, [question], [answer]),) for question, answer in tiny.FACTS.items()]
    rows.append((tiny.make_tree(vlm, picture=tiny.picture_of(vlm)),))

    def stream(seed, make_rows):
        return Stream(make_rows=make_rows, sides=("retain",), vlm=vlm, seed=seed, batch_tokens=40)

    def drawn(seed, count):
        steps = stream(seed, lambda rng: rng.sample(rows, len(rows)))
        return [step.retain.inputs["input_ids"].tolist() for step in itertools.islice(steps, count)]

    assert drawn("a", 12) == drawn("a", 12)
    assert drawn("a", 12) != drawn("b", 12)
    epoch = iter(stream("a", lambda rng: rows))
    answers, wanted = [], sorted(vlm.answer_ids(tiny.ANSWERS) * 2)
    while len(answers) < len(wanted):
        batch = next(epoch).retain
        answers += [batch.target_N[batch.item_N == i].tolist() for i in range(batch.num_items)]
    assert sorted(answers) == wanted
