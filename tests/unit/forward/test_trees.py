import random

import pytest
import tiny
import torch

from unsee.forward.trees import Node, Tree, build_tree, collate, pack_by_length, shared_length
from unsee.training.train import Scorer

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
    inputs = collate([tree, Tree([Node([1], -1), Node([2], 0, 0)])], vlm, ends=True).inputs
    assert inputs["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6, 7], [1, 2, *[vlm.pad_token] * 5]]
    assert inputs["position_ids"][0].tolist() == [0, 1, 2, 3, 4, 2, 3]
    seen = {
        token: [j + 1 for j, visible in enumerate(row) if visible]
        for token, row in enumerate(inputs["attention_mask"][0, 0].tolist(), start=1)
    }
    assert seen == {1: [1], 2: [1, 2], 3: [1, 2, 3], 4: [1, 2, 3, 4], 5: [1, 2, 3, 4, 5], 6: [1, 2, 6], 7: [1, 2, 6, 7]}
    assert inputs["attention_mask"][1, 0].any(-1).all()  # padding sees itself: a row that sees nothing is not a number


def test_the_last_token_of_an_answer_is_predicted_and_not_computed(vlm):
    tree = Tree([Node([1, 2], -1), Node([3], 0, prompt=0), Node([4, 5], 1, 0), Node([6], 1, 1)])
    batch, whole = collate([tree], vlm), collate([tree], vlm, ends=True)
    assert batch.inputs["input_ids"].tolist() == [[1, 2, 3, 4]]
    assert whole.inputs["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6]]
    for name in ("source_N", "target_N", "item_N"):
        assert torch.equal(getattr(batch, name), getattr(whole, name))


def test_equal_and_empty_answers_each_keep_a_node_of_their_own():
    tree = build_tree([[1, 2]], [[[], [], [5, 6], [5, 6], [5]]])
    assert tree.num_items == 5
    texts = [[token for step in tree.path(i) for token in tree.nodes[step].ids] for i in range(len(tree.nodes))]
    ends = {node.item: text for node, text in zip(tree.nodes, texts, strict=True) if node.item >= 0}
    assert [ends[item] for item in range(5)] == [[1, 2], [1, 2], [1, 2, 5, 6], [1, 2, 5, 6], [1, 2, 5]]


@pytest.mark.parametrize("labels", ["answer", "full"])
def test_answers_that_begin_alike_share_tokens_and_score_as_if_alone(vlm, labels):
    (prompt,) = vlm.prompt_ids(["Job?"])
    answers = vlm.answer_ids(["I cannot say.", "I cannot tell.", "I do not know.", "No.", "I cannot say."])
    together = build_tree([prompt], [answers])
    assert together.num_tokens < len(prompt) + sum(map(len, answers))
    alone = [collate([build_tree([prompt], [[answer]])], vlm, labels) for answer in answers]
    scored = Scorer(vlm)(collate([together], vlm, labels))
    for number, one in enumerate(alone):
        expected = Scorer(vlm)(one)
        torch.testing.assert_close(
            scored.log_probability_I[number], expected.log_probability_I[0], atol=2e-5, rtol=1e-5
        )
        assert scored.target_N[scored.item_N == number].tolist() == expected.target_N.tolist()


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


@torch.no_grad()
def plain_text_loss(vlm, sequences, picture, with_image):
    """Sum and count of the negative log-probabilities of whole texts, each in a plain pass of its own."""
    total = count = 0
    for ids in sequences:
        seen = picture.inputs if picture else {}
        logits_TV = vlm.model(input_ids=torch.tensor([ids]), **seen).logits[0, :-1]
        for row, token in zip(logits_TV.log_softmax(-1), ids[1:], strict=True):
            if with_image or token != vlm.family.image_token:
                total, count = total - row[token].item(), count + 1
    return total, count


@pytest.mark.parametrize("labels", ["full", "full_with_image"])
@pytest.mark.parametrize("shade", [0, None])
def test_whole_texts_are_scored_as_if_each_stood_alone(vlm, labels, shade):
    picture = None if shade is None else tiny.picture_of(vlm, shade)
    prompts = vlm.prompt_ids(tiny.QUESTIONS, picture=picture)
    answers = vlm.answer_ids(tiny.ANSWERS)
    batch = collate([build_tree(prompts, [[ids] for ids in answers], tiny.only(picture))], vlm, labels)
    whole = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    total, count = plain_text_loss(vlm, whole, picture, labels == "full_with_image")
    with torch.no_grad():
        scored = Scorer(vlm)(batch)
    assert len(batch.target_N) == count
    assert scored.length_I.tolist() == [
        sum(labels == "full_with_image" or token != vlm.family.image_token for token in ids[1:]) for ids in whole
    ]
    assert -scored.log_probability_N.sum().item() == pytest.approx(total, rel=1e-4)


def test_the_vocabulary_product_runs_once_for_what_answers_share(vlm):
    batch = collate([tiny.make_tree(vlm, picture=tiny.picture_of(vlm)), tiny.make_tree(vlm)], vlm, "full")
    with torch.no_grad():
        scored = Scorer(vlm)(batch)
        each = vlm.head()(vlm.hidden(batch.inputs).flatten(0, 1)[batch.source_N])
    assert len(scored.logits_UV) == len(batch.source_N.unique()) < len(batch.source_N)
    torch.testing.assert_close(scored.logits_UV[scored.source_N], each)


def test_full_labels_leave_out_image_placeholders(vlm):
    tree = tiny.make_tree(vlm, picture=tiny.picture_of(vlm))
    targets = {
        labels: collate([tree], vlm, labels).target_N.tolist() for labels in ("answer", "full", "full_with_image")
    }
    image = vlm.family.image_token
    assert image not in targets["answer"] + targets["full"]
    assert targets["full_with_image"].count(image) == len(tiny.ANSWERS) * sum(tiny.picture_of(vlm).runs)
    assert len(targets["answer"]) < len(targets["full"]) < len(targets["full_with_image"])
