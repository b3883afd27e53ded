"""Answers that are drawn: the same model, another choice of tokens."""

import math

import pytest
import tiny
import torch

from unsee.forward.generate import Group, Sampling, generate, replies
from unsee.forward.trees import Node, Tree

TOKENS = 4


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


def trees_of(vlm, times=1, questions=tiny.QUESTIONS):
    """Two trees of questions, each of which is answered so many times."""
    groups = [Group.of(vlm.prompt_ids(questions, picture=picture), tiny.only(picture))
              for picture in (None, tiny.picture_of(vlm))]  # fmt: skip
    return [
        Tree([Node(group.prefix, -1), *(Node(ids, 0, prompt=number) for number, ids in enumerate(group.suffixes))],
             group.pictures, tuple(number for number in range(len(questions)) for _ in range(times)))
        for group in groups
    ]  # fmt: skip


def written(vlm, trees, tokens=TOKENS, **options):
    """The answers to each tree in order."""
    found = {}
    for batch in replies(vlm, [trees], max_new_tokens=tokens, **options):
        found |= batch
    return [found[0, number].written for number in range(len(trees))]


def test_near_temperature_0_every_draw_is_the_greedy_answer(vlm):
    greedy = written(vlm, trees_of(vlm))
    assert written(vlm, trees_of(vlm), sampling=Sampling(temperature=1e-4)) == greedy
    assert greedy == generate(vlm, [
        Group.of(vlm.prompt_ids(tiny.QUESTIONS, picture=picture), tiny.only(picture))
        for picture in (None, tiny.picture_of(vlm))
    ], max_new_tokens=TOKENS)  # fmt: skip


def test_a_prompt_that_stands_several_times_gets_as_many_answers(vlm):
    once, many = written(vlm, trees_of(vlm)), written(vlm, trees_of(vlm, times=3))
    for one, three in zip(once, many, strict=True):
        assert three == [answer for answer in one for _ in range(3)]
    drawn = written(vlm, trees_of(vlm, times=8), sampling=Sampling())
    assert [len(answers) for answers in drawn] == [8 * len(tiny.QUESTIONS)] * 2
    assert len({tuple(answer) for answer in drawn[0][:8]}) > 1


def test_the_same_seed_draws_the_same_and_another_seed_something_else(vlm):
    drawn = [written(vlm, trees_of(vlm, times=2), sampling=Sampling(seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_was_answered_before_moves_no_draw(vlm):
    every = {}
    for batch in replies(vlm, [trees_of(vlm)], max_new_tokens=TOKENS, batch_size=1, sampling=Sampling()):
        every |= batch
    (rest,) = replies(vlm, [trees_of(vlm)], max_new_tokens=TOKENS, batch_size=1, sampling=Sampling(), done=[min(every)])
    assert [reply.written for reply in rest.values()] == [every[key].written for key in rest]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_tokens_are_drawn_as_often_as_the_model_says(vlm, temperature):
    """The first token, and the second after the likeliest first one, over 2,000 answers; 5 standard deviations."""
    (prompt,) = vlm.prompt_ids(tiny.QUESTIONS[:1])
    tree = Tree([Node(prompt, -1, prompt=0)], (), (0,) * 250)
    drawn = []
    for seed in range(8):
        ((answers),) = written(vlm, [tree], tokens=2, sampling=Sampling(temperature, seed))
        drawn += [tuple(answer) for answer in answers]

    def check(before, tokens):
        with torch.no_grad():
            logits_V = vlm.model(input_ids=torch.tensor([[*prompt, *before]])).logits[0, -1]
        shares_V = (logits_V / temperature).softmax(-1)
        count = len(tokens)
        ended = sum(float(shares_V[end]) for end in vlm.end_tokens)
        for share, found in [
            *((float(shares_V[token]), tokens.count(token)) for token in shares_V.topk(8).indices.tolist()
              if token not in vlm.end_tokens),
            (ended, tokens.count(None)),
        ]:  # fmt: skip
            assert (
                abs(found - count * share) <= 5 * math.sqrt(count * share * (1 - share)) + 2
            )  # of rare tokens, one or two

    check((), [answer[0] if answer else None for answer in drawn])
    first = max({answer[0] for answer in drawn if answer}, key=lambda token: [a[:1] for a in drawn].count((token,)))
    second = [answer[1] if len(answer) > 1 else None for answer in drawn if answer[:1] == (first,)]
    check((first,), second)


def test_drawing_takes_no_number_from_the_generator_of_torch(vlm):
    before = torch.get_rng_state()
    written(vlm, trees_of(vlm), sampling=Sampling())
    assert torch.equal(torch.get_rng_state(), before)
