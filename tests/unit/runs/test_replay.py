import random

import pytest
import tiny

from unsee.config.recipe import ModelConfig
from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.data.everyday import EVERYDAY
from unsee.forward.generate import Group, generate
from unsee.runs import replay as module
from unsee.runs.replay import ANSWER_TOKENS, replay
from unsee.runs.stages import Stages

pytestmark = pytest.mark.slow


@pytest.fixture
def make_stages(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "EVERYDAY", EVERYDAY[:3])
    monkeypatch.setattr(module, "_PORTRAITS", 1)
    model = tiny.save_model(tmp_path / "model")
    record = Record.create(tmp_path / "run", 'name = "replay"\n')
    return lambda: Stages(tiny.load(model), ModelConfig(trainable="lora", lora_rank=4), record, Silent(), replay)


def test_a_model_of_unknown_training_replays_its_own_answers_and_writes_them_once(make_stages, monkeypatch):
    stages = make_stages()
    draw = stages.draw_replay()
    trees = [draw(random.Random(seed)) for seed in range(20)]
    (picture,) = {tree.pictures for tree in trees if tree.pictures}
    assert picture
    (everyday,) = {tuple(sorted(texts(stages.vlm, tree))) for tree in trees if not tree.pictures}
    prompts = stages.vlm.prompt_ids(EVERYDAY[:3])
    (written,) = generate(stages.vlm, [Group.of(prompts)], max_new_tokens=ANSWER_TOKENS)
    end = stages.vlm.answer_ids([""])[0]
    expected = [
        prompt + row + ([] if len(row) == ANSWER_TOKENS else end) for prompt, row in zip(prompts, written, strict=True)
    ]
    assert everyday == tuple(sorted(map(tuple, expected)))

    monkeypatch.setattr("unsee.runs.stages.all_replies", None)
    again = make_stages().draw_replay()
    assert [again(random.Random(seed)).nodes for seed in range(20)] == [tree.nodes for tree in trees]


def test_an_answer_with_the_token_of_a_picture_is_not_replayed(make_stages, monkeypatch):
    stages = make_stages()
    image, *words = stages.vlm.family.image_token, *stages.vlm.answer_ids(["yes"])[0]
    said = [[[image], words, words], [[image]] * 4]
    everyday, portraits = module._own_answers(
        stages.vlm, lambda trees, *_: [said[bool(tree.pictures)][: len(tree.written)] for tree in trees]
    )
    assert [len(texts(stages.vlm, tree)) for tree in everyday] == [2]
    assert not portraits


def texts(vlm, tree):
    """Every text of a tree, from its beginning to the end of an answer, as tokens."""
    ends = [index for index, node in enumerate(tree.nodes) if node.item >= 0]
    return [tuple(token for index in tree.path(end) for token in tree.nodes[index].ids) for end in ends]
