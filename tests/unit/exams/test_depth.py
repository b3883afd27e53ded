"""States put into a target: its own change nothing, and those of another model count from their layer on."""

import exams
import pytest
import tiny
import torch

from unsee.exams.depth import DepthExam
from unsee.forward.hooks import capture


@pytest.fixture(scope="module")
def models():
    return tiny.make_vlm(), tiny.make_vlm(seed=1)


@pytest.fixture(scope="module")
def exam(models):
    return DepthExam(models[0], exams.make_exam(models[0]))


def test_its_own_states_leave_a_model_as_it_is(models, exam):
    target, _ = models
    found = exam.patched(target, exam.states(target))
    assert set(found["set"]) == {"forget"} and set(found["layer"]) == {0, 1} and len(found) == 4
    whole = exams.make_exam(target)
    group = next(g for g in whole.prompt_groups if g.items[0].set == "forget" and g.pictures)
    (item,) = [one for one in group.items if one.question.task == "cloze"]
    (prompt,) = whole.prompts(target, group, [item])
    ids = target.answer_ids([item.question.answer])[0][:-1]
    expected = -tiny.plain_log_probability(target, prompt, ids, group.pictures[0]) / len(ids)
    own = found[found["question"] == item.id]["loss"]
    assert own.sub(expected).abs().max() < 1e-4


def test_the_last_layers_states_of_another_model_decide_what_the_target_says(models, exam):
    target, other = models
    found = exam.patched(target, exam.states(other))
    with torch.no_grad():
        losses = []
        for batch in exam._batches:
            with capture([other.model.get_submodule(other.layout.decoder_layers)[-1]]) as (last,):
                other.hidden(batch.inputs)
            norm = target.model.get_submodule(target.layout.decoder_layers.rpartition(".")[0]).norm
            log_UV = target.head()(norm(last.output.flatten(0, 1)[batch.places[0]])).log_softmax(-1)
            log_N = log_UV[batch.places[1], batch.target_N]
            losses += [-float(log_N[batch.item_N == number].mean()) for number in range(batch.num_items)]
    assert found[found["layer"] == 1]["loss"].tolist() == pytest.approx(losses, rel=1e-4)
    assert exam.patched(target, exam.states(target))["loss"].iloc[0] != pytest.approx(found["loss"].iloc[0], abs=1e-4)
