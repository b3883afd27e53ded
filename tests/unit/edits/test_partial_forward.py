import privacy
import pytest
import tiny
import torch

from unsee.core.errors import ConfigError, ModelError
from unsee.edits.pair_rows import make_pair_rows, queries
from unsee.edits.partial_forward import UpperLayers, decoder_layers, parse_layers
from unsee.edits.steering import Steered, scale
from unsee.forward.hooks import capture, rewrite_output
from unsee.training.train import Scorer


@pytest.fixture
def vlm():
    return tiny.make_vlm()


@pytest.fixture
def rows(vlm):
    return make_pair_rows(vlm, [queries(privacy.make_pairs(1, 3)), queries(privacy.make_pairs(2, 1)[1:])])


def loss_and_gradient(vlm, rows, score):
    vectors = torch.linspace(0.5, 1.5, 2 * 48).view(2, 1, 48).requires_grad_(True)
    loss = rows.loss_B(score(vectors), 1.25).sum()
    return loss.item(), *torch.autograd.grad(loss, vectors)


@pytest.mark.parametrize("scope", ["subject_last", "subject", "text", "every"])
def test_a_partial_pass_has_the_loss_and_gradient_of_the_whole_model(vlm, rows, scope):
    def whole(vectors):
        at = rows.scopes[scope][..., None]
        with rewrite_output({decoder_layers(vlm)[0]: lambda h: torch.where(at, h * vectors, h)}):
            return Scorer(vlm)(rows.batch)

    loss, gradient = loss_and_gradient(vlm, rows, whole)
    steered = Steered(vlm, rows, [0], combine=scale, scope=scope)
    kept_loss, kept_gradient = loss_and_gradient(vlm, rows, steered.score)
    assert kept_loss == pytest.approx(loss, rel=1e-5)
    assert gradient.abs().max() > 1e-3
    assert torch.allclose(kept_gradient, gradient, atol=1e-5 * float(gradient.abs().max()))


def test_several_layers_are_steered_together(vlm, rows):
    at = rows.scopes["text"][..., None]
    vectors = torch.linspace(0.5, 1.5, 2 * 2 * 48).view(2, 2, 48)
    first, second = decoder_layers(vlm)
    with (
        torch.no_grad(),
        rewrite_output({first: lambda h: torch.where(at, h * vectors[:, :1], h)}),
        rewrite_output({second: lambda h: torch.where(at, h * vectors[:, 1:], h)}),
    ):
        whole = Scorer(vlm)(rows.batch).log_probability_I
    with torch.no_grad():
        kept = Steered(vlm, rows, [0, 1], combine=scale, scope="text").score(vectors).log_probability_I
    assert torch.allclose(kept, whole, atol=1e-3)


def test_tokens_before_the_subject_are_cached(vlm, rows):
    upper = UpperLayers(vlm, rows.batch, 0, rows.scopes["subject_last"])
    assert upper.hidden_BVD.shape[1] < rows.batch.inputs["input_ids"].shape[1] - 64  # the picture, at least
    assert UpperLayers(vlm, rows.batch, 0).hidden_BVD.shape[1] == rows.batch.inputs["input_ids"].shape[1]


def test_the_last_mlp_is_computed_at_predicting_tokens_or_everywhere_if_its_layer_is_edited(vlm, rows):
    last = decoder_layers(vlm)[-1].get_submodule(vlm.layout.mlp)
    for edited, tokens in ((), len(rows.batch.source_N.unique())), ((1,), rows.batch.inputs["input_ids"].numel()):
        upper = UpperLayers(vlm, rows.batch, 0, edited=edited)
        with torch.no_grad(), capture([last.down_proj]) as (seen,):
            upper(upper.hidden_BVD)
        assert seen.input.flatten(0, -2).shape[0] == tokens


def test_a_partial_pass_can_start_at_the_embedded_tokens(vlm, rows):
    upper = UpperLayers(vlm, rows.batch, -1)
    with torch.no_grad():
        whole = Scorer(vlm)(rows.batch).logits_UV
        assert torch.allclose(upper(upper.hidden_BVD).logits_UV, whole, atol=1e-4)


def test_upper_layers_that_depend_on_more_than_their_input_are_an_error(vlm, rows, monkeypatch):
    class Biased(type(vlm.model.model.language_model.norm)):
        def forward(self, hidden):
            return super().forward(hidden) + self.calls.pop()

    norm = vlm.model.model.language_model.norm
    norm.__class__, norm.calls = Biased, [1.0, 0.0]
    with pytest.raises(ModelError, match="its layers above 0 cannot be run alone"):
        UpperLayers(vlm, rows.batch, 0)


@pytest.mark.parametrize(("text", "layers"), [("0", [0]), ("1", [1]), ("0-1", [0, 1]), ("1, 0", [0, 1]), ("auto", [0])])
def test_layers_are_parsed(vlm, text, layers):
    assert parse_layers(vlm, text) == layers


@pytest.mark.parametrize(
    ("text", "message"),
    [("2", "out of range.*layers 0 to 1"), ("0-9", "out of range"), ("-1", "must be written"), ("x", "must be written"),
     ("", "must be written"), ("1-0", "out of range")],
)  # fmt: skip
def test_layers_of_another_form_or_out_of_range_are_an_error(vlm, text, message):
    with pytest.raises(ConfigError, match=message):
        parse_layers(vlm, text)


def test_a_pass_with_cached_tokens_is_checked_also_after_one_without(vlm, rows, monkeypatch):
    Steered(vlm, rows, [0], combine=scale, scope="every")
    checked = []
    check = UpperLayers._check
    monkeypatch.setattr(UpperLayers, "_check", lambda self, *values: checked.append(1) or check(self, *values))
    Steered(vlm, rows, [0], combine=scale, scope="subject_last")
    assert len(checked) == 2  # the beginning that is kept, and what runs after it
