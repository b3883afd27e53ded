"""Training as published, compared with plain versions of its formulas."""

import math
from dataclasses import replace

import pytest
import tiny
import torch
import torch.nn.functional as F

from unsee.data.schema import Person, Question
from unsee.forward.trees import collate
from unsee.methods.base import StepBatch
from unsee.methods.kl_minimisation import KLMinimisation
from unsee.training.batches import Plan, Stream
from unsee.training.lessons import Lessons
from unsee.training.train import Reference, Schedule, Scorer, train

KL = KLMinimisation(steps=1, reduction="batchmean", cross_entropy_weight=1.0, schedule="alternating", positions="all")
TAUGHT = [Question(task="train", input="image", question=q, answer=a) for q, a in tiny.FACTS.items()]
PEOPLE = [Person(id=f"{i}", name="Anna Berg", images=(tiny.png(i),), questions=tuple(TAUGHT[i:])) for i in range(3)]


def retain_stream(vlm, turns, people=PEOPLE):
    lessons = Lessons(vlm, people, ("image",), turns, "published")
    return Stream(
        make_rows=lessons.rows, sides=("retain",), vlm=vlm, seed="a", batch_examples=4, labels="full",
        whole_sides=KL.whole_sides,
    )  # fmt: skip


def plainly(vlm, other, stream, labels="full"):
    """The published loss of the first batch: the divergence is summed over every position and divided by the rows."""
    trees = [row[0] for row in stream.plan(0)[0]]
    texts = [[token for index in tree.path(len(tree.nodes) - 1) for token in tree.nodes[index].ids] for tree in trees]
    length = max(map(len, texts))
    ids = torch.tensor([text + [vlm.pad_token] * (length - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (length - len(text)) for text in texts])
    unscored = mask == 0 if labels == "full_with_image" else (mask == 0) | (ids == vlm.family.image_token)
    pixels = torch.cat([tree.pictures[0].inputs["pixel_values"] for tree in trees])
    inputs = {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels}
    output = vlm.model(**inputs, labels=ids.masked_fill(unscored, -100))
    with torch.no_grad():
        wanted = other.model(**inputs).logits
    divergence = F.kl_div(output.logits.log_softmax(-1), wanted.softmax(-1), reduction="batchmean")
    return output.loss + divergence, divergence


def gradient(vlm, loss):
    parameters = vlm.train_language()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss(), parameters, allow_unused=True) if g is not None])


def scored_by(vlm, other, batch):
    reference = Reference(other, Scorer(other), other=True)
    (step,) = reference.announced(iter([StepBatch({"retain": batch})]), ("retain",))
    return KL.loss(Scorer(vlm), reference, step)


@pytest.mark.parametrize("labels", ["full", "full_with_image"])
def test_the_divergence_counts_placeholders_last_tokens_and_padding_as_published(labels):
    vlm, other = tiny.make_vlm(), tiny.make_vlm(seed=1)
    stream = retain_stream(vlm, turns=1)
    batch = next(replace(stream, labels=labels).epoch(0)).retain
    loss = scored_by(vlm, other, batch)
    total, divergence = plainly(vlm, other, stream, labels)
    assert loss.parts["retain_kl"] == pytest.approx(divergence.item(), rel=1e-5)
    assert loss.total.item() == pytest.approx(total.item(), rel=1e-5)
    ours = gradient(vlm, lambda: scored_by(vlm, other, batch).total)
    theirs = gradient(vlm, lambda: plainly(vlm, other, stream, labels)[0])
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5 * theirs.abs().max().item())


def test_a_stream_pads_the_sides_that_are_wanted_whole_and_no_other():
    vlm = tiny.make_vlm()
    whole = retain_stream(vlm, 1)
    for rows, padded, bare in zip(whole.plan(0), whole.epoch(0), replace(whole, whole_sides=()).epoch(0), strict=True):
        longest = max(tree.longest_text for (tree,) in rows)
        assert len(padded.retain.whole_M) == padded.retain.num_items * longest
        assert bare.retain.whole_M is None
        before, after = (Scorer(vlm)(one.retain).log_probability_I for one in (bare, padded))
        assert torch.allclose(before, after, atol=1e-4)


def test_questions_that_share_a_photo_count_as_often_as_apart():
    vlm, other = tiny.make_vlm(), tiny.make_vlm(seed=1)
    losses = []
    for turns in (1, 5):
        trees = [row[0] for batch in retain_stream(vlm, turns, PEOPLE[:1]).plan(0) for row in batch]
        longest = max(tree.longest_text for tree in trees)
        losses.append(scored_by(vlm, other, collate(trees, vlm, "full", padded_to=longest)).parts["retain_kl"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def adamw(parameters, gradients, rates):
    """Steps of the AdamW of transformers 4, written plainly: epsilon is added before the second moment is corrected."""
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for t, (grads, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        for p, g, m, v in zip(parameters, grads, first, second, strict=True):
            m.mul_(0.9).add_(0.1 * g)
            v.mul_(0.999).add_(0.001 * g * g)
            p.sub_(rate * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (v.sqrt() + 1e-6))
    return parameters


@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_adamw_adds_its_epsilon_as_the_class_of_transformers_does(scale):
    torch.manual_seed(0)
    schedule = Schedule(learning_rate=0.1, steps=6, warmup=0.0, decay=1.0, adamw="transformers")
    parameter = torch.nn.Parameter(torch.randn(7))
    expected = [parameter.detach().clone()]
    gradients = [[scale * torch.randn(7)] for _ in range(6)]
    optimiser = torch.optim.AdamW([parameter], lr=1.0, weight_decay=0.0, fused=True)
    for step, (grad,) in enumerate(gradients):
        parameter.grad = grad.clone()
        optimiser.param_groups[0].update(lr=schedule.rate(step), eps=schedule.epsilon(step))
        optimiser.step()
    adamw(expected, gradients, map(schedule.rate, range(6)))
    assert torch.allclose(parameter, expected[0], rtol=1e-5, atol=1e-6)


def test_the_published_epsilon_changes_the_trained_weights_and_the_clean_one_is_that_of_torch():
    assert {Schedule(learning_rate=1.0, steps=3).epsilon(step) for step in range(3)} == {1e-8}
    vlms = [tiny.make_vlm() for _ in range(2)]
    ends = []
    for vlm, which in zip(vlms, ("torch", "transformers"), strict=True):
        method = KLMinimisation(learning_rate=1e-3, steps=2, cross_entropy_weight=1.0)
        parameters = vlm.train_language()
        streams = [
            Stream(make_rows=Lessons(vlm, PEOPLE, ("image",), 1, "published").rows, sides=(side,), vlm=vlm, seed="a",
                   batch_examples=4) for side in method.sides
        ]  # fmt: skip
        plan = Plan(streams, method, "published", which)
        assert plan.schedule.adamw == which
        train(vlm, method, plan.steps, plan.schedule, parameters, name=which)
        ends.append(torch.cat([p.detach().flatten() for p in parameters]))
    assert not torch.equal(*ends)
