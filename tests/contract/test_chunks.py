"""Attention in chunks gives what attention over whole rows gives, for every model family."""

import families
import pytest
import tiny
import torch

from unsee.forward import chunks
from unsee.forward.generate import replies
from unsee.forward.trees import build_tree, collate
from unsee.models import MODELS
from unsee.training.train import Scorer

WIDE = tiny.photo(3).resize((128, 96))


@pytest.fixture(params=MODELS.names())
def vlm(request):
    return families.make_vlm(request.param)


def replies_and_gradients(vlm, trees):
    """The logits of trees with their gradient, and the replies after what the trees share."""
    vlm.train_language()
    vlm.model.zero_grad()
    logits_UV = Scorer(vlm)(collate(trees, vlm)).logits_UV
    logits_UV.log_softmax(-1)[:, 0].sum().backward()
    gradients = {name: one.grad.clone() for name, one in vlm.model.named_parameters() if one.grad is not None}
    (batch,) = replies(vlm, [trees], max_new_tokens=4)
    return logits_UV.detach(), gradients, batch


def test_attention_in_chunks_is_attention_over_whole_rows(vlm, monkeypatch):
    prompts = {image: vlm.prompt_ids(tiny.QUESTIONS, picture=image) for image in map(vlm.picture, (WIDE, tiny.photo()))}
    answers = [[ids] for ids in vlm.answer_ids(tiny.ANSWERS, end=False)]
    trees = [build_tree(asked, answers, [image], written=[0, 1]) for image, asked in prompts.items()]
    trees[1] = build_tree(
        prompts[trees[1].pictures[0]][:3], answers[:3], trees[1].pictures, written=[2]
    )  # a shorter row
    attended = []
    attend = chunks.Chunks.attend
    monkeypatch.setattr(chunks.Chunks, "attend", lambda *given, **named: attended.append(1) or attend(*given, **named))
    monkeypatch.setattr(chunks, "WORTH", 0.0)
    whole_UV, whole, expected = replies_and_gradients(vlm, trees)
    assert not attended
    monkeypatch.setattr(chunks, "WORTH", 100.0)
    monkeypatch.setattr(chunks, "LENGTH", 7)
    found_UV, found, batch = replies_and_gradients(vlm, trees)
    assert attended
    torch.testing.assert_close(found_UV, whole_UV, atol=1e-4, rtol=1e-4)
    assert found.keys() == whole.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, whole[name], atol=1e-3, rtol=1e-3)
    for key, reply in batch.items():
        assert reply.written == expected[key].written
        assert [score for score, _ in reply.scores] == pytest.approx([s for s, _ in expected[key].scores], abs=1e-4)
