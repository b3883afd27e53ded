import copy

import pytest
import tiny
import torch

from unsee.forward import losses
from unsee.forward.generate import Group, all_replies, generate
from unsee.forward.trees import build_tree
from unsee.methods.base import StepBatch
from unsee.training.lessons import FineTuning
from unsee.training.train import Schedule, train

MORE = ["Job?", "Where?", "Where was this person born, and what did this person study there?"]


@pytest.fixture(scope="module")
def vlm():
    """A tiny model that was taught to stop, so that answers end at different lengths."""
    vlm = tiny.make_vlm()
    batch = tiny.make_batch(vlm)
    schedule = Schedule(learning_rate=1e-2, steps=40)
    train(vlm, FineTuning(), iter([StepBatch({"retain": batch})] * 40), schedule, vlm.train_language(), name="taught")
    return vlm


@torch.no_grad()
def one_by_one(vlm, questions, picture, system, max_new_tokens):
    """What transformers' own greedy search writes for each question alone."""
    rows = []
    for prompt in vlm.prompt_ids(questions, picture=picture, system=system):
        photo = picture.inputs if picture else {}
        ids = torch.tensor([prompt])
        whole = vlm.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), **photo, do_sample=False, max_new_tokens=max_new_tokens
        )
        rows.append([token for token in whole[0, len(prompt) :].tolist() if token != vlm.end_token])
    return rows


def group_of(vlm, questions, picture=None, system=None):
    return Group.of(vlm.prompt_ids(questions, picture=picture, system=system), tiny.only(picture))


@pytest.mark.slow
@pytest.mark.parametrize("system", [None, tiny.SYSTEM])
@pytest.mark.parametrize("shade", [None, 0, 3])
def test_ragged_questions_are_answered_as_by_greedy_search_alone(vlm, shade, system):
    picture = None if shade is None else tiny.picture_of(vlm, shade)
    questions = [*tiny.QUESTIONS, *MORE]
    (answers,) = generate(vlm, [group_of(vlm, questions, picture, system)], max_new_tokens=12)
    assert answers == one_by_one(vlm, questions, picture, system, 12)
    assert len({len(answer) for answer in answers}) > 1, "answers of one length would show little"


def test_the_last_mlp_computes_what_is_shared_for_nobody(vlm):
    *_, last = vlm.model.get_submodule(vlm.layout.decoder_layers).children()
    groups = [group_of(vlm, tiny.QUESTIONS, tiny.picture_of(vlm, shade)) for shade in (0, 1)]
    computed = []
    handle = last.mlp.down_proj.register_forward_hook(lambda _, given, output: computed.append(len(given[0])))
    generate(vlm, groups, max_new_tokens=1)
    handle.remove()
    assert sum(computed) == 2 * len(tiny.QUESTIONS)


def test_what_was_taught_is_answered(vlm):
    picture = tiny.picture_of(vlm)
    (answers,) = generate(vlm, [group_of(vlm, tiny.QUESTIONS, picture)], max_new_tokens=24)
    assert vlm.decode(answers) == tiny.ANSWERS


def test_a_head_in_pieces_gives_the_same_scores(vlm, monkeypatch):
    prompts, answers = vlm.prompt_ids(tiny.QUESTIONS), [[ids] for ids in vlm.answer_ids(tiny.ANSWERS)]
    tree = build_tree(prompts, answers)
    (whole,) = all_replies(vlm, [tree], max_new_tokens=1)
    monkeypatch.setattr(losses, "PIECE", 3 * len(vlm.head().weight))
    (found,) = all_replies(vlm, [tree], max_new_tokens=1)
    torch.testing.assert_close(torch.tensor(found.scores), torch.tensor(whole.scores))


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_groups_in_any_order_and_batches_of_any_size_give_the_same_answers(vlm, batch_size):
    asked = [(tiny.QUESTIONS, 0), (MORE, None), (MORE[:1], 1), (tiny.QUESTIONS[:2], None), (MORE, 2)]
    pictures = [None if shade is None else tiny.picture_of(vlm, shade) for _, shade in asked]
    groups = [group_of(vlm, questions, picture) for (questions, _), picture in zip(asked, pictures, strict=True)]
    answers = generate(vlm, groups, max_new_tokens=8, batch_size=batch_size)
    expected = [
        one_by_one(vlm, questions, picture, None, 8) for (questions, _), picture in zip(asked, pictures, strict=True)
    ]
    assert answers == expected


def test_questions_without_a_common_beginning_are_answered_too(vlm):
    prompts = vlm.prompt_ids(MORE)
    (answers,) = generate(vlm, [Group([], prompts)], max_new_tokens=8)
    assert answers == one_by_one(vlm, MORE, None, None, 8)


def test_the_photo_is_looked_at_once_for_all_its_questions(vlm):
    seen = []
    tower = vlm.model.get_submodule(vlm.layout.vision_tower)
    handle = tower.register_forward_hook(lambda module, inputs, output: seen.append(len(output[0])))
    try:
        generate(vlm, [group_of(vlm, tiny.QUESTIONS, tiny.picture_of(vlm))], max_new_tokens=4)
    finally:
        handle.remove()
    assert seen == [1]


def test_generating_changes_no_weight(vlm):
    before = copy.deepcopy(vlm.model.state_dict())
    generate(vlm, [group_of(vlm, MORE)], max_new_tokens=3)
    assert all(torch.equal(value, before[name]) for name, value in vlm.model.state_dict().items())


def test_no_groups_no_answers(vlm):
    assert generate(vlm, [], max_new_tokens=4) == []
