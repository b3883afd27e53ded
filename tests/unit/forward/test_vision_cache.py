import pytest
import tiny
import torch
from damage import DAMAGES

from unsee.forward.losses import cross_entropy
from unsee.forward.vision_cache import cached_vision
from unsee.training.train import Scorer


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path))
    return tmp_path / "features"


def scores(vlm, shade=0):
    with torch.no_grad(), cached_vision(vlm):
        return Scorer(vlm)(tiny.make_batch(vlm, shade=shade)).log_probability_I


def num_files(folder):
    return len(list(folder.glob("*.safetensors")))


def within(vlm, name):
    return next(vlm.model.get_submodule(name).parameters())


def test_models_that_differ_in_their_decoder_share_vision_features(folder):
    one, other = tiny.make_vlm(), tiny.make_vlm()
    with torch.no_grad():
        within(other, other.layout.decoder_layers).add_(0.1)
    first, second = scores(one), scores(other)
    assert num_files(folder) == 1
    assert not torch.allclose(first, second)
    assert torch.equal(second, scores(other))


@pytest.mark.parametrize(
    ("part", "trained", "files"),
    [("vision_tower", True, 2), ("projector", True, 1), ("vision_tower", False, 2), ("projector", False, 2)],
)
def test_features_are_shared_by_models_with_the_same_frozen_part(folder, part, trained, files):
    one, other = tiny.make_vlm(), tiny.make_vlm()
    with torch.no_grad():
        within(other, getattr(other.layout, part)).add_(0.1)
    for vlm in (one, other):
        vlm.model.requires_grad_(False)
        if trained:
            vlm.train_language()
    scores(one)
    plain = Scorer(other)(tiny.make_batch(other)).log_probability_I
    assert torch.equal(scores(other), plain)
    assert num_files(folder) == files


def test_another_photo_is_encoded(folder):
    vlm = tiny.make_vlm()
    assert not torch.allclose(scores(vlm), scores(vlm, 1))
    assert num_files(folder) == 2


def test_a_trained_projector_gets_its_gradient_from_cached_features(folder):
    vlm = tiny.make_vlm()
    scores(vlm)
    vlm.train_language()
    with cached_vision(vlm):
        cross_entropy(Scorer(vlm)(tiny.make_batch(vlm))).backward()
    assert within(vlm, vlm.layout.projector).grad.abs().sum() > 0
    assert num_files(folder) == 1


def test_features_in_training_mode_are_not_cached(folder):
    vlm = tiny.make_vlm()
    vlm.model.train()
    scores(vlm)
    assert not num_files(folder)


def test_features_under_autocast_are_not_cached(folder):
    with torch.autocast("cpu", torch.bfloat16):
        scores(tiny.make_vlm())
    assert not num_files(folder)


def test_features_that_are_not_read_are_not_cached(folder):
    vlm = tiny.make_vlm()
    tower = vlm.model.get_submodule(vlm.layout.vision_tower)
    with torch.no_grad(), cached_vision(vlm):
        tower(vlm.picture(tiny.photo()).inputs["pixel_values"])
    assert not num_files(folder)


def test_an_edit_of_the_decoder_gets_its_gradient_from_cached_features(folder):
    gradients = []
    for _ in range(2):
        vlm = tiny.make_vlm()
        vlm.model.requires_grad_(False)
        weight = within(vlm, vlm.layout.decoder_layers)
        weight.requires_grad_(True)
        with cached_vision(vlm):
            cross_entropy(Scorer(vlm)(tiny.make_batch(vlm))).backward()
        gradients.append(weight.grad)
    assert num_files(folder) == 1
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_replaced(folder, caplog, damage):
    vlm = tiny.make_vlm()
    first = scores(vlm)
    (path,) = folder.glob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert torch.equal(scores(vlm), first)
    assert f"{path}: damaged" in caplog.text
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_a_warning(folder, caplog):
    folder.write_text("in the way")
    scores(tiny.make_vlm())
    assert str(folder) in caplog.text


def test_an_exception_leaves_the_model_as_it_was():
    vlm = tiny.make_vlm()
    with pytest.raises(RuntimeError), cached_vision(vlm):
        raise RuntimeError
    assert "forward" not in vars(vlm.model.get_submodule(vlm.layout.vision_tower))
