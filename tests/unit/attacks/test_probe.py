"""The probe: it finds what is linearly there, its control finds nothing, and the states are those of the model."""

import exams
import pytest
import tiny
import torch

from unsee.attacks.base import States
from unsee.attacks.probe import Probe, option_rows, regressed
from unsee.exams.states import StatesExam, _states

VOCABULARY, WIDTH, OPTIONS = 40, 16, 4


def planted(count, knows, seed):
    """States that hold the true option's row in a hidden basis, in the second of two layers, or do not."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.Generator().manual_seed(0)
    head_VD, hidden_DD = torch.randn(VOCABULARY, WIDTH, generator=shared), torch.randn(WIDTH, WIDTH, generator=shared)
    tokens_QO = torch.stack([torch.randperm(VOCABULARY, generator=generator)[:OPTIONS] for _ in range(count)])
    truth_Q = torch.randint(OPTIONS, (count,), generator=generator)
    row_QD = head_VD[tokens_QO[torch.arange(count), truth_Q]]
    noise_LQD = torch.randn(2, count, WIDTH, generator=generator)
    noise_LQD[1] += 3.0 * knows * row_QD @ hidden_DD
    options = [[[int(token)] for token in own] for own in tokens_QO]
    readable = [
        (state_QD @ head_VD.T).log_softmax(-1) for state_QD in (noise_LQD[0], noise_LQD[0] + 5 * knows * row_QD)
    ]
    return States(state_LQD=noise_LQD, options=options, truth_Q=truth_Q, head_VD=head_VD, log_readable=readable)


def right(states, chosen):
    return {name: float((own == states.truth_Q).float().mean()) for name, own in chosen.items()}


@pytest.mark.parametrize("knows", [True, False])
def test_it_finds_what_is_there_in_the_layer_that_holds_it_and_no_more(knows):
    known, asked = planted(400, True, 1), planted(300, knows, 2)
    found = right(asked, Probe().read(known, asked, 0))
    assert set(found) == {f"{name}, layer {layer}" for name in ("probe", "control", "logit lens") for layer in (0, 1)}
    for name, share in found.items():
        if knows and name in ("probe, layer 1", "logit lens, layer 1"):
            assert share > 0.8, name
        elif not Probe().is_control(name):  # which finds something by luck in one fit, and never counts
            assert share == pytest.approx(0.25, abs=0.1), name


def test_the_same_seed_gives_the_same_control():
    known, asked = planted(60, True, 1), planted(40, True, 2)
    first, again, other = (Probe().read(known, asked, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["control, layer 1"], other["control, layer 1"])
    assert torch.equal(first["probe, layer 1"], other["probe, layer 1"])


def test_without_regularisation_the_regression_is_least_squares():
    torch.manual_seed(0)
    known_QD, weight_DD = torch.randn(100, WIDTH), torch.randn(WIDTH, 5)
    asked_QD = torch.randn(10, WIDTH)
    predicted_QD = regressed(known_QD, (known_QD - known_QD.mean(0)) @ weight_DD, asked_QD, 1e-9)
    torch.testing.assert_close(predicted_QD, (asked_QD - known_QD.mean(0)) @ weight_DD, rtol=1e-3, atol=1e-3)


def test_options_are_centred_rows_of_length_one():
    rows_OD = option_rows(planted(3, True, 1))[0]
    torch.testing.assert_close(rows_OD.norm(dim=-1), torch.ones(OPTIONS))


def test_states_are_those_at_the_end_of_each_prompt():
    vlm = tiny.make_vlm()
    exam = exams.make_exam(vlm)
    inside = StatesExam(vlm, exam, 0)
    states = _states(vlm, inside._asked)
    group = next(g for g in exam.prompt_groups if g.items[0].set == "forget" and g.pictures)
    (item,) = [one for one in group.items if one.question.task == "classification"]
    (ids,) = exam.prompts(vlm, group, [item])
    with torch.no_grad():
        seen = vlm.model(input_ids=torch.tensor([ids]), output_hidden_states=True, **group.pictures[0].inputs)
    number = [one.id for one in inside._asked.items].index(item.id)
    # The last of these is normalised, so the first layer is compared, and the head with the second.
    torch.testing.assert_close(states.state_LQD[0, number], seen.hidden_states[1][0, -1], rtol=1e-3, atol=1e-4)
    expected = seen.logits[0, -1].log_softmax(-1)
    torch.testing.assert_close(states.log_readable[-1][number], expected, rtol=1e-3, atol=1e-3)
    assert int(states.truth_Q[number]) == exams.OPTIONS.index("Oslo, Norway")


def test_the_answers_are_options_about_the_people_to_forget():
    vlm = tiny.make_vlm()
    found = dict(StatesExam(vlm, exams.make_exam(vlm), 0).examine(vlm, Probe()))
    assert len(found) == 6
    for answers in found.values():
        assert set(answers["set"]) == {"forget"} and set(answers["task"]) == {"classification"}
        assert all(row.answer in row.options for row in answers.itertuples())
        assert (answers["accuracy"] == (answers["answer"] == answers["truth"])).all() and answers["inside"].all()
