import random

import pytest
import tiny
import torch

from unsee.collate import Node, Tree, build_tree, collate, pack_by_length, shared_length
from unsee.train import Scorer

OPTIONS = ["Oslo, Norway", "Bergen", "A baker.", "Brown"]


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


def plain_scores(vlm, questions, alternatives, *, picture=None, system=None):
    """Log-probability of every answer from one plain forward pass each, in tree order."""
    prompts = vlm.prompt_ids(questions, picture=picture, system=system)
    rows = zip(prompts, map(vlm.answer_ids, alternatives), strict=True)
    found = [tiny.plain_log_probability(vlm, prompt, answer, picture) for prompt, answers in rows for answer in answers]
    return torch.tensor(found)


@torch.no_grad()
def tree_scores(vlm, *trees):
    return Scorer(vlm)(collate(trees, vlm)).log_probability_I


def tree_of(vlm, questions, alternatives, *, picture=None, system=None):
    prompts = vlm.prompt_ids(questions, picture=picture, system=system)
    return build_tree(prompts, [vlm.answer_ids(answers) for answers in alternatives], tiny.only(picture))


@pytest.mark.parametrize("system", [None, tiny.SYSTEM])
@pytest.mark.parametrize("shade", [None, 2])
def test_answers_of_a_tree_score_as_if_each_stood_alone(vlm, shade, system):
    picture = None if shade is None else tiny.picture_of(vlm, shade)
    alternatives = [[answer, *OPTIONS] for answer in tiny.ANSWERS]
    packed = tree_scores(vlm, tree_of(vlm, tiny.QUESTIONS, alternatives, picture=picture, system=system))
    alone = plain_scores(vlm, tiny.QUESTIONS, alternatives, picture=picture, system=system)
    torch.testing.assert_close(packed, alone, atol=1e-4, rtol=1e-5)


def test_rows_of_other_lengths_and_pictures_change_no_score(vlm):
    pictures = [tiny.picture_of(vlm, shade) for shade in (0, 1)]
    trees = [
        tiny.make_tree(vlm, picture=pictures[0]),
        tiny.make_tree(vlm, tiny.QUESTIONS[:1], tiny.ANSWERS[:1]),
        tiny.make_tree(vlm, tiny.QUESTIONS[1:4], tiny.ANSWERS[1:4], picture=pictures[1]),
    ]
    together = tree_scores(vlm, *trees)
    torch.testing.assert_close(together, torch.cat([tree_scores(vlm, tree) for tree in trees]), atol=1e-4, rtol=1e-5)


def test_only_answers_are_targets(vlm):
    trees = [tiny.make_tree(vlm, picture=tiny.picture_of(vlm)), tiny.make_tree(vlm)]
    batch = collate(trees, vlm)
    answers = vlm.answer_ids(tiny.ANSWERS) * 2
    assert batch.num_items == len(answers)
    assert [batch.target_N[batch.item_N == i].tolist() for i in range(batch.num_items)] == answers
    assert vlm.model.config.image_token_index not in batch.target_N
    assert batch.inputs["pixel_values"].shape == (1, 3, 64, 64)


def test_every_source_is_the_token_before_its_target(vlm):
    batch = collate([tiny.make_tree(vlm, ["Job?", "Job? Say."], ["A baker.", "Brown"])], vlm)
    flat = batch.inputs["input_ids"].flatten()
    follows = batch.item_N[1:] == batch.item_N[:-1]
    assert torch.equal(flat[batch.source_N[1:]][follows], batch.target_N[:-1][follows])
    first = batch.source_N[torch.cat([torch.tensor([True]), ~follows])]
    assert vlm.decode([[token] for token in flat[first].tolist()]) == ["", ""]  # "<|assistant|>", a special token


def test_batches_without_a_picture_bring_none(vlm):
    assert "pixel_values" not in collate([tiny.make_tree(vlm)], vlm).inputs


def test_a_token_sees_its_ancestors_and_itself_only(vlm):
    tree = Tree([Node([1, 2], -1), Node([3], 0), Node([4, 5], 1, 0), Node([6], 0), Node([7], 3, 1)])
    inputs = collate([tree, Tree([Node([1], -1), Node([2], 0, 0)])], vlm).inputs
    assert inputs["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6, 7], [1, 2, *[vlm.pad_token] * 5]]
    assert inputs["position_ids"][0].tolist() == [0, 1, 2, 3, 4, 2, 3]
    seen = {
        token: [j + 1 for j, visible in enumerate(row) if visible]
        for token, row in enumerate(inputs["attention_mask"][0, 0].tolist(), start=1)
    }
    assert seen == {1: [1], 2: [1, 2], 3: [1, 2, 3], 4: [1, 2, 3, 4], 5: [1, 2, 3, 4, 5], 6: [1, 2, 6], 7: [1, 2, 6, 7]}
    assert inputs["attention_mask"][1, 0].any(-1).all()  # padding sees itself: a row that sees nothing is not a number


@pytest.mark.parametrize(
    ("rows", "length"),
    [([[1, 2, 3], [1, 2, 4]], 2), ([[1, 2, 3]], 2), ([[1, 2], [1, 2, 3]], 1), ([[5, 1], [6, 1]], 0), ([[1], [1]], 0)],
)
def test_shared_beginnings_leave_every_row_a_token(rows, length):
    assert shared_length(rows) == length


def test_packing_keeps_every_tree_once_and_within_the_size():
    rng = random.Random(0)
    trees = [Tree([Node([0] * rng.randint(1, 90), -1)]) for _ in range(50)]
    batches = pack_by_length(trees, 200)
    assert sorted(index for batch in batches for index in batch) == list(range(50))
    assert all(max(trees[i].num_tokens for i in batch) * len(batch) <= 200 for batch in batches)


def test_a_tree_larger_than_the_size_is_a_batch_of_its_own():
    trees = [Tree([Node([0] * length, -1)]) for length in (5, 300, 5)]
    assert pack_by_length(trees, 200) == [[1], [0, 2]]
