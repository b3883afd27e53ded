import pytest
import tiny
import torch

from unsee.features import looked_at_once
from unsee.losses import cross_entropy
from unsee.train import Scorer


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path))
    return tmp_path / "features"


def scores(vlm, shade=0):
    with torch.no_grad(), looked_at_once(vlm):
        return Scorer(vlm)(tiny.make_batch(vlm, shade=shade)).log_probability_I


def kept(folder):
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def within(vlm, name):
    return next(vlm.model.get_submodule(name).parameters())


def test_models_that_differ_in_their_decoder_share_what_they_saw(folder):
    one, other = tiny.make_vlm(), tiny.make_vlm()
    with torch.no_grad():
        within(other, other.layout.decoder_layers).add_(0.1)
    first, second = scores(one), scores(other)
    assert kept(folder) == 1
    assert not torch.allclose(first, second)
    assert torch.equal(second, scores(other))


@pytest.mark.parametrize("part", ["vision_tower", "projector"])
def test_another_tower_or_projector_sees_for_itself(folder, part):
    one, other = tiny.make_vlm(), tiny.make_vlm()
    with torch.no_grad():
        within(other, getattr(other.layout, part)).add_(0.1)
    scores(one)
    plain = Scorer(other)(tiny.make_batch(other)).log_probability_I
    assert torch.equal(scores(other), plain)
    assert kept(folder) == 2


def test_another_photo_is_looked_at(folder):
    vlm = tiny.make_vlm()
    assert not torch.allclose(scores(vlm), scores(vlm, 1))
    assert kept(folder) == 2


def test_a_projector_that_learns_gets_its_gradient_although_the_photo_is_known(folder):
    vlm = tiny.make_vlm()
    scores(vlm)
    vlm.train_language()
    with looked_at_once(vlm):
        cross_entropy(Scorer(vlm)(tiny.make_batch(vlm))).backward()
    assert within(vlm, vlm.layout.projector).grad.abs().sum() > 0
    assert kept(folder) == 1


def test_training_looks_for_itself(folder):
    vlm = tiny.make_vlm()
    vlm.model.train()
    scores(vlm)
    assert not kept(folder)


def test_an_edit_of_the_decoder_gets_its_gradient_through_what_is_kept(folder):
    gradients = []
    for _ in range(2):
        vlm = tiny.make_vlm()
        vlm.model.requires_grad_(False)
        weight = within(vlm, vlm.layout.decoder_layers)
        weight.requires_grad_(True)
        with looked_at_once(vlm):
            cross_entropy(Scorer(vlm)(tiny.make_batch(vlm))).backward()
        gradients.append(weight.grad)
    assert kept(folder) == 1
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


def test_a_damaged_file_is_a_warning_and_is_replaced(folder, caplog):
    vlm = tiny.make_vlm()
    first = scores(vlm)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert torch.equal(scores(vlm), first)
    assert str(path) in caplog.text
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_a_warning(folder, caplog):
    folder.write_text("in the way")
    scores(tiny.make_vlm())
    assert str(folder) in caplog.text


def test_an_exception_leaves_the_model_as_it_was():
    vlm = tiny.make_vlm()
    with pytest.raises(RuntimeError), looked_at_once(vlm):
        raise RuntimeError
    assert "get_image_features" not in vars(vlm.model.model)
