import pytest
import tiny
import tiny_minigpt4 as published
import torch
from transformers import Blip2QFormerConfig

from unsee.forward.generate import Group, generate
from unsee.models.minigpt4_model import MiniGPT4Config, MiniGPT4ForConditionalGeneration
from unsee.models.vlm import VLM
from unsee.nano.language import make_minigpt4, train_tokenizer
from unsee.nano.vision import blip2_vision_config
from unsee.training.train import Scorer

KINDS = ["nano", "Llama-2", "Vicuna"]


@pytest.fixture(scope="module", params=KINDS)
def vlm(request, tmp_path_factory):
    if request.param == "nano":
        return published.make_vlm()
    folder = tmp_path_factory.mktemp("m")
    return VLM.load(str(published.convert_published(folder, q_former=request.param == "Vicuna")[1]))


def test_packed_answers_have_the_log_probabilities_of_plain_passes(vlm):
    picture = tiny.picture_of(vlm)
    with torch.no_grad():
        packed = Scorer(vlm)(tiny.make_batch(vlm)).log_probability_I
    answers = vlm.answer_ids(tiny.ANSWERS)
    plain = [
        tiny.plain_log_probability(vlm, prompt, answer, about)
        for about, count in ((picture, len(answers)), (None, 2))
        for prompt, answer in zip(vlm.prompt_ids(tiny.QUESTIONS[:count], picture=about), answers, strict=False)
    ]
    torch.testing.assert_close(packed, torch.tensor(plain), atol=1e-4, rtol=1e-5)


def test_greedy_answers_are_those_of_generate(vlm):
    picture = tiny.picture_of(vlm)
    prompts = vlm.prompt_ids(tiny.QUESTIONS, picture=picture)
    (ours,) = generate(vlm, [Group.of(prompts, [picture])], max_new_tokens=6)
    for prompt, answer in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt])
        whole = vlm.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=6,
            do_sample=False,
            eos_token_id=vlm.end_tokens,
            pad_token_id=vlm.pad_token,
            **picture.inputs,
        )
        written = whole[0, len(prompt) :].tolist()
        assert answer == [token for token in written if token not in vlm.end_tokens]


def test_the_picture_reaches_the_loss_and_training_leaves_the_tower_alone(vlm):
    one, other = (Scorer(vlm)(tiny.make_batch(vlm, shade=shade)).log_probability_I for shade in (0, 1))
    assert (one != other)[: len(tiny.ANSWERS)].all()
    vlm.train_language()
    vlm.model.zero_grad()
    (-Scorer(vlm)(tiny.make_batch(vlm)).log_probability_I.sum()).backward()
    moved = {name for name, parameter in vlm.model.named_parameters() if parameter.grad is not None}
    assert not any("vision_tower" in name for name in moved)
    assert vlm.model.model.language_projection.weight.grad.abs().sum() > 0


def test_the_placeholder_lies_outside_the_decoders_vocabulary_and_is_never_looked_up(tmp_path):
    vlm = VLM.load(str(published.convert_published(tmp_path)[1]))
    assert vlm.model.config.image_token_id >= vlm.model.config.text_config.vocab_size


@pytest.fixture(scope="module")
def small():
    return published.make_vlm()


def test_images_must_fill_the_image_tokens_of_the_prompt(small):
    ids = torch.tensor(small.prompt_ids(["Job?"], picture=tiny.picture_of(small)))
    pixels = torch.zeros(2, 3, 64, 64)
    with pytest.raises(ValueError, match="16 image tokens, the images fill 32"):
        small.model(input_ids=ids, pixel_values=pixels)
    with pytest.raises(ValueError, match="16 image tokens, the images fill 0"):
        small.model(input_ids=ids)


def test_ids_and_embeddings_exclude_each_other(small):
    embeds = torch.zeros(1, 2, published.DECODER)
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        small.model()
    with pytest.raises(ValueError, match="pixel_values need input_ids"):
        small.model(inputs_embeds=embeds, pixel_values=torch.zeros(1, 3, 64, 64))
    assert small.model(inputs_embeds=embeds).logits.shape[:2] == (1, 2)


def test_labels_give_the_mean_loss(small):
    ids = torch.tensor(small.prompt_ids(["Job?"]))
    output = small.model(input_ids=ids, labels=ids)
    expected = torch.nn.functional.cross_entropy(output.logits[0, :-1], ids[0, 1:])
    torch.testing.assert_close(output.loss, expected)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="64 patches cannot be joined by 5"):
        MiniGPT4Config(vision_config=published.VISION, patches_per_token=5)
    with pytest.raises(ValueError, match="the Q-Former reads 1408 features, the tower writes 32"):
        MiniGPT4Config(vision_config=published.VISION, qformer_config=Blip2QFormerConfig())


def test_the_published_sizes_are_the_default():
    config = MiniGPT4Config()
    assert (config.num_patches, config.num_image_tokens, config.image_token_size) == (256, 64, 5632)
    config = MiniGPT4Config(qformer_config=Blip2QFormerConfig())
    assert (config.num_image_tokens, config.image_token_size) == (32, 768)


def test_nano_is_small_and_starts_with_the_given_tower():
    from transformers import Blip2VisionModel

    tower = Blip2VisionModel(blip2_vision_config())
    model = make_minigpt4(tower, train_tokenizer(tiny.QUESTIONS))
    assert isinstance(model, MiniGPT4ForConditionalGeneration)
    assert 2e6 < sum(parameter.numel() for parameter in model.parameters()) < 3.5e6
    assert model.config.num_image_tokens == 16
    ours = model.model.vision_tower.vision_model.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in tower.state_dict().items())
