"""Editing needs nothing but a family's layout: partial passes, gates and tuning work for every family."""

import itertools

import families
import privacy
import pytest
import tiny
import torch

from unsee.data.documents.invented import KINDS, TEMPLATES
from unsee.data.pairs import PrivacyPair
from unsee.edits.pair_rows import Query, make_pair_rows, queries, subject_tokens
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.steering import Steered, scale
from unsee.edits.tune import TuningPlan, linear_module, refusal_objective, temporary_weights, tune
from unsee.forward.hooks import NeuronGate, rewrite_output
from unsee.methods.neural_gate_published import CONTEXTS
from unsee.models import MODELS
from unsee.training.train import Scorer

PUBLISHED = ("Passport", "Receipts", "Student ID", "military vehicles", "document")
"""Subjects of the published data; there a "document" is also asked for its "documents"."""


@pytest.fixture(params=MODELS.names())
def vlm(request):
    return families.make_vlm(request.param)


@pytest.fixture
def rows(vlm):
    return make_pair_rows(vlm, [queries(privacy.make_pairs(1, 2))])


def test_a_partial_pass_has_the_scores_of_the_whole_model(vlm, rows):
    at = rows.scopes["subject_last"][..., None]
    steered = Steered(vlm, rows, [0], combine=scale)
    vector = torch.full(steered.shape_BLD, 0.5)
    with (
        torch.no_grad(),
        rewrite_output({decoder_layers(vlm)[0]: lambda hidden: torch.where(at, hidden * 0.5, hidden)}),
    ):
        whole = Scorer(vlm)(rows.batch).log_probability_I
    with torch.no_grad():
        kept = steered.score(vector).log_probability_I
    assert torch.allclose(kept, whole, atol=1e-3)


def test_only_rows_with_an_open_gate_are_tuned(vlm, rows):
    name = down_name(vlm, 0)
    width = linear_module(vlm, name).out_features
    opened = torch.arange(width) % 3 == 0
    gates = [{name: NeuronGate(rows.scopes["every"], opened[None])}]
    with torch.no_grad():
        plain = rows.loss_B(Scorer(vlm)(rows.batch), 1.25).mean()
    deltas = tune(vlm, [rows], [name], TuningPlan(learning_rate=2e-2, epochs=6), refusal_objective(1.25), gates=gates)
    assert not deltas[name][~opened].any()
    with torch.no_grad(), temporary_weights(vlm, {name: linear_module(vlm, name).weight + deltas[name]}):
        assert rows.loss_B(Scorer(vlm)(rows.batch), 1.25).mean() < plain


def test_the_subject_decodes_to_itself_in_every_template_and_context(vlm):
    picture, decode = tiny.picture_of(vlm), vlm.processor.tokenizer.decode
    asked = [*itertools.product(TEMPLATES, CONTEXTS[:1]), *itertools.product(TEMPLATES[:1], CONTEXTS)]
    for subject, (template, context) in itertools.product((*KINDS, *PUBLISHED), asked):
        question = context.replace("{}", template.format(attribute=f"{subject}s shown", subject=subject))
        pair = PrivacyPair(
            image=None, subject=subject, sensitive=question, benign="", refusal="No", category="", case="0"
        )
        (tokens,) = subject_tokens(vlm, [Query(pair, question, "No", True)], picture)
        (prompt,) = vlm.prompt_ids([question], picture=picture)
        assert decode([prompt[-k] for k in tokens]).strip(" .,?") == subject
        assert decode(prompt[-tokens[0] :]).strip().startswith(question[question.rindex(subject) :])
