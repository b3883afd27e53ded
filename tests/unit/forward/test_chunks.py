import pytest
import tiny
import torch

from unsee.forward.chunks import LENGTH, WORTH, Chunks, cut
from unsee.forward.trees import collate


def mask_of(root, branch, count):
    """What the tokens of a row see: a root, and branches that see it and themselves."""
    length = root + branch * count
    seen = torch.zeros(length, length, dtype=torch.bool)
    seen[:, :root] = True
    for start in range(root, length, branch):
        seen[start : start + branch, start : start + branch] = True
    return seen.tril()[None, None]


def test_the_products_are_those_of_the_root_and_a_few_branches():
    mask = mask_of(75, 25, 40)
    share = Chunks(mask).share
    assert mask.float().mean() < share < 0.25
    assert Chunks(mask_of(75, 25, 80)).share < share, "a longer row gains more"


@pytest.mark.parametrize(
    ("root", "branch", "count", "worth"), [(75, 25, 40, True), (600, 0, 0, False), (20, 10, 5, False)]
)
def test_a_row_whose_tokens_see_most_of_it_stays_whole(root, branch, count, worth):
    mask = mask_of(root, branch or 1, count)
    cut(mask)
    assert hasattr(mask, "unsee_chunks") == worth
    if mask.shape[2] > LENGTH:
        assert (Chunks(mask).share < WORTH) == worth


def test_a_long_row_of_a_training_carries_its_chunks_to_the_model():
    vlm = tiny.make_vlm()
    batch = collate([tiny.make_tree(vlm, tiny.QUESTIONS * 12, tiny.ANSWERS * 12, picture=tiny.picture_of(vlm))], vlm)
    assert batch.inputs["attention_mask"].unsee_chunks.share < WORTH
    assert vlm.hidden(batch.to(vlm.device).inputs).isfinite().all()


def test_masks_that_are_not_bool_are_left_alone():
    mask = torch.zeros(1, 1, 500, 500)
    cut({"full": mask})
    assert not hasattr(mask, "unsee_chunks")
