"""Editing goes through a family's layout alone: every family runs above a layer, is gated and tuned."""

import itertools

import families
import privacy
import pytest
import tiny
import torch

from unsee.data.documents.invented import KINDS, TEMPLATES
from unsee.data.pairs import PrivacyPair
from unsee.edits.gate_vectors import Steered, scaled
from unsee.edits.pair_rows import Query, make_sheet, queries, subject_tokens
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.tune import Course, linear, refuse, tune, working_with
from unsee.forward.hooks import Gate, rewrite
from unsee.methods.neural_gate import CONTEXTS
from unsee.models import MODELS
from unsee.training.train import Scorer

PUBLISHED = ("Passport", "Receipts", "Student ID", "military vehicles", "document")
"""How the published data call what they ask about; there a "document" is also asked for its "documents"."""


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


def test_the_subject_decodes_to_itself_in_every_template_and_context(vlm):
    picture, decode = tiny.picture_of(vlm), vlm.processor.tokenizer.decode
    for subject, template, context in itertools.product((*KINDS, *PUBLISHED), TEMPLATES, CONTEXTS):
        question = context.replace("{}", template.format(attribute=f"{subject}s shown", subject=subject))
        pair = PrivacyPair(
            image=None, subject=subject, sensitive=question, benign="", refusal="No", category="", case="0"
        )
        (tokens,) = subject_tokens(vlm, [Query(pair, question, "No", True)], picture)
        (prompt,) = vlm.prompt_ids([question], picture=picture)
        assert decode([prompt[-k] for k in tokens]).strip(" .,?") == subject
        assert decode(prompt[-tokens[0] :]).strip().startswith(question[question.rindex(subject) :])
