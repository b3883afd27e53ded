import torch

from unsee.models.vlm import VLM
from unsee.nano.base import new_model
from unsee.nano.corpus import has_corpus
from unsee.nano.kinds import KINDS


def test_minigpt4_starts_with_the_decoder_and_the_words_of_nano():
    kind = KINDS["nano-minigpt4"]
    tower = kind.new_tower()
    made, start = new_model(kind, tower, "nano-minigpt4"), VLM.load(kind.starts_from)
    decoders = made.model.model.language_model.state_dict(), start.model.model.language_model.state_dict()
    assert decoders[0].keys() == decoders[1].keys()
    assert all(torch.equal(decoders[0][name], decoders[1][name]) for name in decoders[0])
    assert made.processor.tokenizer.get_vocab() == start.processor.tokenizer.get_vocab()
    assert has_corpus(made)
    trained = tower.state_dict()
    assert all(
        torch.equal(value, trained[name])
        for name, value in made.model.model.vision_tower.vision_model.state_dict().items()
    )
