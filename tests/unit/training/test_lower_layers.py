from itertools import repeat

import pytest
import tiny
import torch

from unsee.methods.base import StepBatch
from unsee.training import lower_layers as module
from unsee.training.lessons import FineTuning
from unsee.training.lower_layers import lower_layers
from unsee.training.train import Schedule, Scorer, train

pytestmark = pytest.mark.slow


@pytest.fixture
def vlm():
    vlm = tiny.make_vlm(layers=3)
    vlm.add_lora(2, 4, layers="upper 2")
    return vlm


def batches(vlm):
    """Three batches, of which the last is the first again."""
    return [tiny.make_batch(vlm, shade=shade) for shade in (0, 1, 0)]


def assert_alike(found, wanted, inputs):
    """They are the same but for padding, whose states nobody reads."""
    seen = inputs["attention_mask"][:, 0].sum(-1) > 1
    seen[:, 0] = True
    torch.testing.assert_close(found[seen], wanted[seen], rtol=1e-4, atol=1e-4)


def trained(vlm, batches):
    step = (StepBatch({"retain": batch}) for batch in batches)
    train(vlm, FineTuning(), step, Schedule(learning_rate=1e-2, steps=len(batches)), vlm.trainable(), name="t")
    return vlm.trained()


def test_training_with_kept_lower_layers_ends_with_the_same_weights(vlm, monkeypatch):
    other = tiny.make_vlm(layers=3)
    other.add_lora(2, 4, layers="upper 2")
    found = trained(vlm, batches(vlm))
    monkeypatch.setattr("unsee.training.train.lower_layers", lambda *_: None)
    for name, wanted in trained(other, batches(other)).items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-5)


def test_a_row_that_comes_again_runs_no_lower_layer(vlm):
    lower, ran = lower_layers(vlm), []
    vlm.model.get_submodule(vlm.layout.decoder_layers)[0].mlp.register_forward_hook(lambda *_: ran.append(1))
    first, second, again = batches(vlm)
    scorer = Scorer(vlm)
    for batch in (first, second, again):
        before = len(ran)
        found = lower.hidden(batch.inputs)
        assert_alike(found, vlm.hidden(batch.inputs), batch.inputs)
    assert (lower.hits, lower.misses) == (3, 3)  # a row with a photo and one by name; the latter is in all three
    assert len(ran) - before == 1  # for the comparison here alone
    assert scorer.states(first)[0].shape[1] == found.shape[2]


def test_rows_are_found_by_their_content_whatever_the_padding(vlm):
    lower = lower_layers(vlm)
    short, long = tiny.make_batch(vlm).inputs, tiny.make_batch(vlm).inputs
    width = short["input_ids"].shape[1]
    long["input_ids"] = torch.nn.functional.pad(long["input_ids"], (0, 3), value=vlm.pad_token)
    long["position_ids"] = torch.nn.functional.pad(long["position_ids"], (0, 3))
    mask = torch.eye(width + 3, dtype=torch.bool).repeat(len(long["input_ids"]), 1, 1, 1)
    mask[..., :width, :width] = short["attention_mask"]
    long["attention_mask"] = mask
    assert_alike(lower.hidden(long)[:, :width], lower.hidden(short), short)
    assert lower.hits == len(short["input_ids"])


def test_other_lower_weights_share_no_row_and_the_same_do(vlm):
    inputs = tiny.make_batch(vlm).inputs
    lower_layers(vlm).hidden(inputs)
    again = lower_layers(vlm)
    again.hidden(inputs)
    assert (again.hits, again.misses) == (len(inputs["input_ids"]), 0)
    with torch.no_grad():
        next(vlm.model.get_submodule(vlm.layout.decoder_layers)[0].parameters()).mul_(1.5)
    changed = lower_layers(vlm)
    assert_alike(changed.hidden(inputs), vlm.hidden(inputs), inputs)
    assert changed.hits == 0


def test_rows_beyond_the_limit_are_computed_again(vlm, monkeypatch):
    monkeypatch.setattr(module, "LIMIT_BYTES", 0)
    lower, inputs = lower_layers(vlm), tiny.make_batch(vlm).inputs
    first, second = lower.hidden(inputs), lower.hidden(inputs)
    assert torch.equal(first, second)
    assert lower.hits == 0


@pytest.mark.parametrize(
    "prepare",
    [lambda vlm: vlm.train_language(), lambda vlm: vlm.add_lora(2, 4), lambda vlm: vlm.add_lora(2, 4, "all_linear"),
     lambda vlm: vlm.add_lora(2, 4, "decoder+projector", "upper 1")],
)  # fmt: skip
def test_nothing_is_kept_where_something_below_is_trained(prepare):
    vlm = tiny.make_vlm()
    prepare(vlm)
    assert lower_layers(vlm) is None


def test_nothing_is_kept_where_a_method_reads_a_lower_state(vlm):
    assert lower_layers(vlm, [1, 2]) is not None
    assert lower_layers(vlm, [0]) is None


def test_a_model_whose_layers_cannot_be_run_alone_is_run_whole(vlm, monkeypatch, caplog):
    monkeypatch.setattr(module, "TOLERANCE", {torch.float32: -1.0})
    lower, inputs = lower_layers(vlm), tiny.make_batch(vlm).inputs
    assert torch.equal(lower.hidden(inputs), vlm.hidden(inputs))
    assert "the output of lower layers is not kept" in caplog.text
    step = StepBatch({"retain": tiny.make_batch(vlm)})
    train(vlm, FineTuning(), repeat(step), Schedule(learning_rate=1e-2, steps=1), vlm.trainable(), name="whole")
