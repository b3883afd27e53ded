"""Editing goes through a family's layout alone: every family runs above a layer, is gated and tuned."""

import families
import privacy
import pytest
import torch

from unsee.edits.above import decoder_layers, down_name
from unsee.edits.sheet import make_sheet, queries
from unsee.edits.tune import Course, linear, refuse, tune, working_with
from unsee.edits.vectors import Steered, scaled
from unsee.models import MODELS
from unsee.neurons import Gate, rewrite
from unsee.train import Scorer


@pytest.fixture(params=MODELS.names())
def vlm(request):
    return families.make_vlm(request.param)


@pytest.fixture
def sheet(vlm):
    return make_sheet(vlm, [queries(privacy.make_pairs(1, 2))])


def test_the_kept_beginning_gives_the_numbers_of_the_whole_model(vlm, sheet):
    at = sheet.scopes["subject_last"][..., None]
    steered = Steered(vlm, sheet, [0], combine=scaled)
    vector = torch.full((1, 1, steered.width), 0.5)
    with torch.no_grad(), rewrite({decoder_layers(vlm)[0]: lambda hidden: torch.where(at, hidden * 0.5, hidden)}):
        whole = Scorer(vlm)(sheet.batch).log_probability_I
    with torch.no_grad():
        kept = steered.score(vector).log_probability_I
    assert torch.allclose(kept, whole, atol=1e-3)


def test_gated_rows_are_tuned_and_the_others_left_alone(vlm, sheet):
    name = down_name(vlm, 0)
    width = linear(vlm, name).out_features
    opened = torch.arange(width) % 3 == 0
    gates = [{name: Gate(sheet.scopes["every"], opened[None])}]
    with torch.no_grad():
        plain = sheet.loss_B(Scorer(vlm)(sheet.batch), 1.25).mean()
    deltas = tune(vlm, [sheet], [name], Course(learning_rate=2e-2, epochs=6), refuse(1.25), gates=gates)
    assert not deltas[name][~opened].any()
    with torch.no_grad(), working_with(vlm, {name: linear(vlm, name).weight + deltas[name]}):
        assert sheet.loss_B(Scorer(vlm)(sheet.batch), 1.25).mean() < plain
