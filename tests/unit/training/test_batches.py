import itertools
import math
from types import SimpleNamespace

import pytest
import tiny

from unsee.core.errors import DataError
from unsee.runtime import distributed as processes
from unsee.training.batches import Course, Stream, num_steps, own_rows, pairs


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


def make_stream(vlm, number, seed="a", **size):
    """Examples that tell themselves apart by their one answer."""
    trees = [tiny.make_tree(vlm, ["Job?"], [f"A baker. {letter}"]) for letter in "abcdefgh"[:number]]
    return Stream(make_trees=lambda rng: rng.sample(trees, number), vlm=vlm, seed=seed, **size or {"batch_examples": 1})


def sides(found):
    return [next(iter(pair.sides)) for pair in found]


def test_a_batch_has_so_many_examples_and_the_last_one_the_rest(vlm):
    stream = make_stream(vlm, 8, batch_examples=3)
    assert [len(trees) for trees in stream.plan(0)] == [3, 3, 2]
    assert sorted(id(tree) for part in stream.plan(0) for tree in part) == sorted(
        id(tree) for part in stream.plan(1) for tree in part
    )
    assert [batch.num_items for batch in stream.epoch(0)] == [3, 3, 2]


def test_epochs_differ_and_are_the_same_for_the_same_seed(vlm):
    def order(seed, epoch):
        return [batch.target_N.tolist() for batch in make_stream(vlm, 8, seed).epoch(epoch)]

    assert order("a", 0) == order("a", 0) != order("a", 1)
    assert order("a", 0) != order("b", 0)


def test_joint_steps_have_every_side_and_alternating_steps_one(vlm):
    streams = {"forget": make_stream(vlm, 2), "retain": make_stream(vlm, 3)}
    assert all(set(pair.sides) == {"forget", "retain"} for pair in itertools.islice(pairs(streams), 7))
    found = sides(itertools.islice(pairs(streams, "alternating"), 10))
    assert found == ["forget"] * 2 + ["retain"] * 3 + ["forget"] * 2 + ["retain"] * 3


@pytest.mark.parametrize(("order", "steps"), [("joint", 2 * 2), ("alternating", 2 * (2 + 3))])
def test_epochs_are_passes_over_the_first_side_or_over_all_that_alternate(vlm, order, steps):
    streams = {"forget": make_stream(vlm, 2), "retain": make_stream(vlm, 3)}
    assert num_steps(streams, 2, order) == steps
    course = Course(streams, 1e-3, 0, 2, "clean", order)
    assert course.schedule.steps == steps
    assert Course(streams, 1e-3, 7, 0, "clean", order).schedule.steps == 7


def test_an_alternating_epoch_shows_every_example_of_both_sides_once(vlm):
    streams = {"forget": make_stream(vlm, 4, batch_examples=2), "retain": make_stream(vlm, 5, batch_examples=2)}
    course = Course(streams, 1e-3, 0, 1, "published", "alternating")
    seen = {"forget": [], "retain": []}
    for pair in itertools.islice(course.pairs, course.schedule.steps):
        for side, batch in pair.sides.items():
            seen[side] += [tuple(batch.target_N[batch.item_N == i].tolist()) for i in range(batch.num_items)]
    assert {side: (len(found), len(set(found))) for side, found in seen.items()} == {"forget": (4, 4), "retain": (5, 5)}


def test_the_published_rate_falls_linearly_from_the_first_step_unclipped(vlm):
    schedule = Course({"forget": make_stream(vlm, 4)}, 2.0, 0, 1, "published").schedule
    assert [schedule.rate(step) for step in range(4)] == [2.0, 1.5, 1.0, 0.5]
    assert schedule.clip_norm == math.inf


def test_the_published_rate_is_constant_where_passes_alternate(vlm):
    streams = {"forget": make_stream(vlm, 2), "retain": make_stream(vlm, 3)}
    schedule = Course(streams, 2.0, 0, 2, "published", "alternating").schedule
    assert {schedule.rate(step) for step in range(10)} == {2.0}


def test_nothing_to_learn_is_an_error(vlm):
    with pytest.raises(DataError, match="no training text"):
        Stream(make_trees=lambda rng: [], vlm=vlm, seed="a", batch_examples=1).plan(0)


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
