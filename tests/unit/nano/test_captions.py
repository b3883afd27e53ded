import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlavaConfig
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from unsee.models.vlm import VLM
from unsee.nano.captions import DOCUMENT, LABELS_OF, PORTRAIT, Captioner, Captions, read_off, train_captions
from unsee.nano.documents import DOCUMENT_LABELS
from unsee.nano.vision import LABELS, crop_and_normalise


def captions_of_nano():
    vlm = VLM.load("nano")
    return Captions(vlm.processor.tokenizer, 100), vlm.processor.tokenizer


def test_a_caption_names_what_is_seen_in_words():
    captions, tokenizer = captions_of_nano()
    labels = torch.tensor([[len(values) - 1 for values in LABELS.values()], [0] * len(LABELS)])
    first, second = (tokenizer.decode(row) for row in captions.of(PORTRAIT, labels))
    assert "hair colour: grey\n" in first
    assert "skin: pale\n" in second
    assert "clothes colour: black\n" in second
    document = [[values.index(value) if value in values else 0 for values in DOCUMENT_LABELS.values()] for value in "7"]
    assert "number:777\n" in tokenizer.decode(captions.of(DOCUMENT, torch.tensor(document))[0])


def test_the_values_of_labels_stand_where_captions_differ():
    captions, _ = captions_of_nano()
    for kind, labels in LABELS_OF.items():
        last = torch.tensor([[len(values) - 1 for values in labels.values()]])
        tokens = captions.of(kind, torch.cat([last, torch.zeros_like(last)]))
        differs = set((tokens[0] != tokens[1]).nonzero().flatten().tolist())
        places = captions.values(kind)
        assert list(places) == list(labels)
        assert differs <= {place for held in places.values() for place in held}
        assert all(differs & set(held) for held in places.values())


@pytest.mark.soak
def test_tower_and_projector_learn_to_write_captions_in_word_embeddings():
    captions, tokenizer = captions_of_nano()
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=6
    )
    projector = LlavaMultiModalProjector(
        LlavaConfig(vision_config=vision, text_config=LlamaConfig(hidden_size=48, num_attention_heads=4))
    )
    captioner = Captioner(CLIPVisionModel(vision), projector, captions, torch.randn(len(tokenizer), 48))
    pictures = {kind: torch.randint(0, 255, (6, 72, 72, 3), dtype=torch.uint8) for kind in LABELS_OF}
    pictures |= {
        f"{kind}_labels": torch.stack([torch.randint(len(values), (6,)) for values in labels.values()], 1)
        for kind, labels in LABELS_OF.items()
    }
    tokens = captions.of(PORTRAIT, pictures[f"{PORTRAIT}_labels"])
    pixels = crop_and_normalise(pictures[PORTRAIT], None)
    captioner.begin(pictures[PORTRAIT])
    before, _ = captioner(pixels, tokens)
    train_captions(captioner, captions, pictures, 40)
    after, _ = captioner(pixels, tokens)
    assert after.mean() < 0.85 * before.mean()
    assert list(read_off(captioner, captions, pictures)) == [*LABELS, *(f"document_{name}" for name in DOCUMENT_LABELS)]
