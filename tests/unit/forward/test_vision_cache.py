from dataclasses import replace
from functools import partial

import pytest
import tiny
import torch

from unsee.forward.losses import cross_entropy
from unsee.forward.trees import collate
from unsee.forward.vision_cache import looked_at, looked_at_once
from unsee.methods.base import Pair
from unsee.methods.npo import NPO
from unsee.models.vlm import VLM
from unsee.training.batches import Stream
from unsee.training.train import Reference, Schedule, Scorer, train


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


@pytest.mark.parametrize(
    ("part", "learns", "files"),
    [("vision_tower", True, 2), ("projector", True, 1), ("vision_tower", False, 2), ("projector", False, 2)],
)
def test_another_tower_sees_for_itself_and_a_projector_that_learned_what_the_tower_saw(folder, part, learns, files):
    one, other = tiny.make_vlm(), tiny.make_vlm()
    with torch.no_grad():
        within(other, getattr(other.layout, part)).add_(0.1)
    for vlm in (one, other):
        vlm.model.requires_grad_(False)
        if learns:
            vlm.train_language()
    scores(one)
    plain = Scorer(other)(tiny.make_batch(other)).log_probability_I
    assert torch.equal(scores(other), plain)
    assert kept(folder) == files


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


def looks(vlm):
    """The list that grows with every look."""
    found = []
    tiny.eye(vlm).register_forward_hook(lambda *_: found.append(1))
    return found


def trees(vlm):
    return [tiny.make_tree(vlm, picture=vlm.picture(tiny.photo(shade))) for shade in (0, 60, 120)]


def seen_by(vlm, *, again):
    """The batches of two epochs of training, of which each is asked of a model and of a reference."""
    stream = Stream(
        make_trees=lambda rng: rng.sample(trees(vlm), 3), vlm=vlm, seed="s", batch_examples=2, again=again
    )  # fmt: skip
    vlm.model.train()
    with looked_at_once(vlm):
        return [
            [Scorer(vlm)(batch).log_probability_I for _ in range(2)]
            for epoch in (0, 1)
            for batch in stream.epoch(epoch)
        ]


@pytest.mark.parametrize("learn", [lambda vlm: vlm.add_lora(2, 4), VLM.train_language], ids=["adapters", "projector"])
@pytest.mark.parametrize("again", [False, True])
def test_a_batch_of_training_is_looked_at_once_for_model_and_reference(again, learn):
    vlm = tiny.make_vlm()
    plain = seen_by(vlm, again=again)  # everything learns
    learn(vlm)
    count = looks(vlm)
    found = seen_by(vlm, again=again)
    assert len(count) == (3 if again else 4)  # three photos in all, or two batches in each of two epochs
    for each, expected in zip(found, plain, strict=True):
        assert torch.equal(*each)
        torch.testing.assert_close(each[0], expected[0])


def test_photos_are_known_again_in_other_company_and_by_the_next_training(folder):
    vlm = tiny.make_vlm()
    vlm.add_lora(2, 4)
    first = seen_by(vlm, again=True)
    assert kept(folder) == 3
    count = looks(vlm)
    second = seen_by(vlm, again=True)
    assert not count
    assert all(torch.equal(one[0], other[0]) for one, other in zip(first, second, strict=True))


def test_a_batch_that_a_resumed_training_skips_is_not_looked_at():
    vlm = tiny.make_vlm()
    vlm.add_lora(2, 4)
    count = looks(vlm)
    batches = list(Stream(make_trees=lambda rng: trees(vlm), vlm=vlm, seed="s", batch_examples=1).epoch(0))
    assert len(batches) == 3 and not count


@pytest.mark.parametrize(("targets", "learns"), [("decoder", 0), ("decoder+projector", 0), ("all_linear", 1)])
def test_a_tower_that_learns_looks_for_itself_at_every_step(targets, learns):
    vlm = tiny.make_vlm()
    vlm.add_lora(2, 4, targets)
    rows = [tree.pictures for tree in trees(vlm)]
    assert len(looked_at(vlm, rows)) == 1 - learns
    with vlm.adapter_off():
        assert len(looked_at(vlm, rows)) == 1 - learns


@pytest.mark.parametrize("targets", ["decoder", "decoder+projector", "all_linear"])
def test_a_reference_that_is_asked_first_changes_nothing(targets):
    gradients = []
    for first in (False, True):
        vlm = tiny.make_vlm()
        vlm.add_lora(2, 4, targets)
        with torch.no_grad():
            for parameter in vlm.trainable():
                parameter.add_(0.1)
        (batch, *_) = Stream(make_trees=lambda rng, vlm=vlm: trees(vlm), vlm=vlm, seed="s", batch_examples=3).epoch(0)
        if first:
            with torch.no_grad(), vlm.adapter_off():
                Scorer(vlm)(batch)
        cross_entropy(Scorer(vlm)(batch)).backward()
        gradients.append([parameter.grad for parameter in vlm.trainable()])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_no_step_holds_on_to_what_it_saw():
    vlm = tiny.make_vlm()
    trainable = vlm.add_lora(2, 4)
    stream = Stream(make_trees=lambda rng: trees(vlm), vlm=vlm, seed="s", batch_examples=1)
    steps = [Pair({"forget": batch, "retain": batch}) for batch in stream.epoch(0)]
    count = looks(vlm)
    reference = Reference(vlm, Scorer(vlm), other=True)
    kept = reference.announced(iter(steps), ("forget",))
    assert len(count) == 3
    assert not any("seen" in vars(pair.forget) for pair in steps)
    train(vlm, NPO(), kept, Schedule(learning_rate=1e-3, steps=3), trainable, name="npo", reference=reference)
    assert len(count) == 6
    assert not any("seen" in vars(pair.forget) for pair in steps)


@pytest.mark.parametrize("learn", [lambda vlm: vlm.add_lora(2, 4), VLM.train_language], ids=["adapters", "projector"])
def test_a_batch_that_was_seen_gives_what_learns_its_gradient(learn):
    gradients = []
    for seen in (False, True):
        vlm = tiny.make_vlm()
        learn(vlm)
        rows = trees(vlm)
        batch = collate(rows, vlm)
        if seen:
            batch = replace(batch, look=partial(looked_at, vlm, [tree.pictures for tree in rows]))
        cross_entropy(Scorer(vlm)(batch)).backward()
        gradients.append([parameter.grad for parameter in vlm.trainable()])
    assert any(gradient.abs().sum() > 0 for gradient in gradients[0])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_under_autocast_the_model_looks_for_itself():
    vlm = tiny.make_vlm()
    vlm.add_lora(2, 4)
    rows = trees(vlm)
    batch = collate(rows, vlm)
    seen = replace(batch, look=partial(looked_at, vlm, [tree.pictures for tree in rows]))
    with torch.autocast("cpu", torch.bfloat16):
        own, given = (Scorer(vlm)(one).log_probability_I for one in (batch, seen))
    assert torch.equal(own, given)


def test_what_autocast_makes_of_photos_is_not_kept(folder):
    with torch.autocast("cpu", torch.bfloat16):
        scores(tiny.make_vlm())
    assert not kept(folder)


def test_what_was_looked_at_and_not_read_is_not_kept(folder):
    vlm = tiny.make_vlm()
    tower = vlm.model.get_submodule(vlm.layout.vision_tower)
    with torch.no_grad(), looked_at_once(vlm):
        tower(vlm.picture(tiny.photo()).inputs["pixel_values"])
    assert not kept(folder)


def test_looking_draws_no_random_numbers():
    vlm = tiny.make_vlm()
    vlm.add_lora(2, 4, "decoder+projector", dropout=0.5)
    vlm.model.train()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert looked_at(vlm, [tree.pictures for tree in trees(vlm)])
    assert torch.equal(before, torch.get_rng_state())
    assert vlm.model.training


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
    assert "forward" not in vars(vlm.model.get_submodule(vlm.layout.vision_tower))
