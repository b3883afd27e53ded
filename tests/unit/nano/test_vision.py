import pytest
import torch

from unsee.nano import vision
from unsee.nano.documents import DOCUMENT_LABELS
from unsee.nano.kinds import KINDS


def drawn(labels):
    def draw(count, seed):
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 256, (min(count, 64), 72, 72, 3), generator=generator, dtype=torch.uint8)
        return pixels, torch.stack([torch.randint(0, len(v), (len(pixels),)) for v in labels.values()], 1)

    return draw


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_tower_learns_portraits_and_documents_together(kind, monkeypatch):
    monkeypatch.setattr(vision, "draw_training_portraits", drawn(vision.LABELS))
    monkeypatch.setattr(vision, "draw_training_documents", drawn(DOCUMENT_LABELS))
    seen = []
    monkeypatch.setattr(
        vision, "_losses", lambda logits, labels: seen.append(len(logits)) or [sum(x.mean() for x in logits)]
    )
    tower, accuracy = vision.train_vision_tower(kind.new_tower, 1, 64, 64)
    assert seen == [len(vision.LABELS), len(DOCUMENT_LABELS)]
    assert list(accuracy) == [*vision.LABELS, *(f"document_{name}" for name in DOCUMENT_LABELS)]
    assert all(0 <= value <= 1 for value in accuracy.values()) and not tower.training
