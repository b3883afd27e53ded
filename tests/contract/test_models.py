"""What holds for every model family, found by its name."""

import json
import random
from contextlib import contextmanager

import families
import pytest
import tiny
import torch
from PIL import Image
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from unsee.config.recipe import ModelConfig
from unsee.core.errors import ModelError
from unsee.data.schema import Person, Question
from unsee.edits.partial_forward import decoder_layers
from unsee.forward.generate import Group, generate, replies
from unsee.forward.losses import cross_entropy
from unsee.forward.trees import build_tree, collate
from unsee.forward.vision_cache import cached_vision
from unsee.methods.base import StepBatch
from unsee.methods.npo import NPO
from unsee.models import MODELS
from unsee.models.vlm import VLM
from unsee.training.lessons import FineTuning, Lessons
from unsee.training.train import Schedule, Scorer, train

NAMES = MODELS.names()
WIDE = tiny.photo(3).resize((128, 96))
IMAGES = (tiny.photo(), WIDE, None)
FEW = tiny.QUESTIONS[:3]
"""Questions of three lengths, for what transformers has to answer one by one."""


@pytest.fixture(params=NAMES)
def vlm(request):
    return families.make_vlm(request.param)


def test_a_picture_of_any_shape_is_taken_or_refused_in_one_sentence(vlm):
    for size in ((4, 4), (4, 400), (400, 4), (1000, 10), (20, 27)):  # the least and the narrowest that a file may hold
        assert sum(vlm.picture(Image.new("RGB", size)).runs) > 0
    try:
        assert sum(vlm.picture(Image.new("RGB", (1800, 6))).runs) > 0
    except ModelError as error:
        assert str(error).startswith("an image of 1800 x 6 pixels: the model takes none (")
        assert vlm.model.config.model_type.startswith("qwen")


def tree_of(vlm, image, questions=tiny.QUESTIONS, answers=tiny.ANSWERS, *, end=True):
    picture = vlm.picture(image) if image else None
    prompts = vlm.prompt_ids(questions, picture=picture)
    return build_tree(prompts, [[ids] for ids in vlm.answer_ids(answers, end=end)], tiny.only(picture))


@torch.no_grad()
def scores(vlm, *trees):
    return Scorer(vlm)(collate(trees, vlm)).log_probability_I


def state(vlm):
    return {name: parameter.detach().clone() for name, parameter in vlm.model.named_parameters()}


def exercise(vlm):
    """Everything the engine does with a model, without changing it for good."""
    batch = tiny.make_batch(vlm)
    vlm.train_language()
    Scorer(vlm)(batch).logits_UV.sum().backward()
    generate(vlm, [Group.of(vlm.prompt_ids(tiny.QUESTIONS))], max_new_tokens=2)
    schedule = Schedule(learning_rate=1e-3, steps=2)
    train(vlm, FineTuning(), iter([StepBatch({"retain": batch})] * 2), schedule, vlm.add_lora(2, 4), name="exercise")
    with vlm.adapter_off():
        Scorer(vlm)(batch)
    vlm.merge_lora()


def hooks(vlm):
    return {
        (name, kind): len(found)
        for name, part in vlm.model.named_modules()
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        if (found := getattr(part, kind))
    }


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_class_that_transformers_makes_of_this_type(name):
    model = families.make_vlm(name).model
    assert model.config.model_type == name
    assert type(model) is MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(model.config)]
    (leaf,) = [leaf for leaf in MODELS.leaves() if leaf.name == name]
    assert leaf.summary.endswith(".")
    assert leaf.paper


def test_loading_what_was_saved_gives_the_same_logits(vlm, tmp_path):
    vlm.save(tmp_path)
    loaded = VLM.load(str(tmp_path))
    assert type(loaded.processor).__name__ == type(vlm.processor).__name__
    with torch.no_grad():
        mine, theirs = (Scorer(model)(tiny.make_batch(model)).logits_UV for model in (vlm, loaded))
    assert torch.equal(mine, theirs)
    loaded.save(tmp_path / "again")
    assert VLM.load(str(tmp_path / "again")).fingerprint() == vlm.fingerprint()


def test_a_folder_as_on_the_hub_loads_too(vlm, tmp_path):
    vlm.save(tmp_path)
    path = tmp_path / "processor_config.json"
    settings = json.loads(path.read_text())
    images = settings.pop("image_processor")
    images["image_processor_type"] = images["image_processor_type"].removesuffix("Pil") + "Fast"
    images["processor_class"] = settings["processor_class"]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(images))
    path.write_text(json.dumps(settings | {"video_processor": {"video_processor_type": "SomeVideoProcessor"}}))
    loaded = VLM.load(str(tmp_path))
    mine, theirs = (model.picture(WIDE) for model in (vlm, loaded))
    assert (mine.text, mine.runs) == (theirs.text, theirs.runs)
    assert all(torch.equal(value, theirs.inputs[name]) for name, value in mine.inputs.items())


def test_its_parts_are_where_its_layout_says(vlm):
    layout, model = vlm.layout, vlm.model
    layers = model.get_submodule(layout.decoder_layers)
    assert len(layers) == model.config.get_text_config().num_hidden_layers
    assert list(model.get_submodule(layout.projector).parameters())
    assert list(model.get_submodule(layout.vision_tower).parameters())
    fired = []
    handles = [
        layer.get_submodule(layout.mlp).register_forward_hook(lambda *_, number=number: fired.append(number))
        for number, layer in enumerate(layers)
    ]
    scores(vlm, tiny.make_tree(vlm))
    for handle in handles:
        handle.remove()
    assert fired == list(range(len(layers)))


@pytest.mark.parametrize("image", IMAGES, ids=["square", "wide", "text"])
def test_packed_answers_score_as_in_the_chat_that_transformers_renders(vlm, image):
    packed = scores(vlm, tree_of(vlm, image, end=False))
    for question, answer, found in zip(tiny.QUESTIONS, tiny.ANSWERS, packed, strict=True):
        chat = families.conversation(vlm, question, answer, tiny.only(image))
        (prompt,) = vlm.prompt_ids([question], picture=vlm.picture(image) if image else None)
        (ids,) = vlm.answer_ids([answer], end=False)
        assert chat["input_ids"][0, : len(prompt) + len(ids)].tolist() == prompt + ids
        with torch.no_grad():
            logits_TV = vlm.model(**chat).logits[0, len(prompt) - 1 : len(prompt) + len(ids) - 1]
        alone = logits_TV.log_softmax(-1)[range(len(ids)), ids].sum()
        torch.testing.assert_close(found, alone, atol=1e-4, rtol=0)


def test_rows_of_other_lengths_and_pictures_change_no_score(vlm):
    trees = [tree_of(vlm, image, tiny.QUESTIONS[n:], tiny.ANSWERS[n:]) for n, image in enumerate(IMAGES)]
    alone = torch.cat([scores(vlm, tree) for tree in trees])
    torch.testing.assert_close(scores(vlm, *trees), alone, atol=1e-4, rtol=0)


def test_answers_are_those_of_greedy_search_one_by_one(vlm):
    groups, alone = [], []
    for image in IMAGES:
        picture = vlm.picture(image) if image else None
        prompts = vlm.prompt_ids(FEW, picture=picture)
        groups.append(Group.of(prompts, tiny.only(picture)))
        for question, prompt in zip(FEW, prompts, strict=True):
            chat = families.conversation(vlm, question, images=tiny.only(image))
            whole = vlm.model.generate(**chat, do_sample=False, max_new_tokens=8)[0, len(prompt) :].tolist()
            alone.append([token for token in whole if token not in vlm.end_tokens])
    assert [row for rows in generate(vlm, groups, max_new_tokens=8) for row in rows] == alone


@pytest.mark.parametrize("name", NAMES)
def test_one_pass_after_a_shared_beginning_gives_what_each_question_gets_alone(name):
    vlm = families.make_vlm(name)
    # of several pictures in a prompt this family keeps more than its processor does: there only a text is shared
    shared, system = ([], tiny.SYSTEM) if name == "llava_onevision" else ([tiny.photo()], "")
    shots = [vlm.picture(image) for image in shared]
    trees, answers, expected = [], vlm.answer_ids(tiny.ANSWERS[:3], end=False), []
    for image in (WIDE, tiny.photo(5)):
        about = {"images": [*shared, image], "system": system}
        chats = [families.conversation(vlm, question, **about) for question in FEW]
        prompts = [chat["input_ids"][0].tolist() for chat in chats]
        pictures = [*shots, vlm.picture(image)]
        trees.append(build_tree(prompts, [[ids] for ids in answers], pictures, written=range(len(prompts))))
        for question, chat, ids in zip(FEW, chats, answers, strict=True):
            whole = vlm.model.generate(**chat, do_sample=False, max_new_tokens=8)[0, chat["input_ids"].shape[1] :]
            written = [token for token in whole.tolist() if token not in vlm.end_tokens]
            expected.append((written, alone(vlm, question, ids, **about)))
    with looks(vlm) as seen:
        (batch,) = replies(vlm, [trees], max_new_tokens=8)
    found = [
        (written, score)
        for number in range(len(trees))
        for written, (score, _) in zip(batch[0, number].written, batch[0, number].scores, strict=True)
    ]
    assert [written for written, _ in found] == [written for written, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-4, rel=0)
    assert len(seen) == len(shared) + 1, "the shared picture once, then those of the batch"


@torch.no_grad()
def alone(vlm, question, answer, **about):
    """Log-probability of an answer from one forward pass over its whole chat, without a cache."""
    chat = families.conversation(vlm, question, **about)
    length = chat["input_ids"].shape[1]
    chat["input_ids"] = torch.cat([chat["input_ids"], torch.tensor([answer])], 1)
    for name in chat.keys() & {"attention_mask", "token_type_ids", "mm_token_type_ids"}:
        fill = torch.ones if name == "attention_mask" else torch.zeros
        chat[name] = torch.cat([chat[name], fill(1, len(answer), dtype=chat[name].dtype)], 1)
    logits_TV = vlm.model(**chat, use_cache=False).logits[0, length - 1 : -1]
    return float(logits_TV.log_softmax(-1)[range(len(answer)), answer].sum())


@contextmanager
def looks(vlm):
    """The calls of the vision tower meanwhile."""
    seen = []
    tower = vlm.model.get_submodule(vlm.layout.vision_tower)
    handle = tower.register_forward_hook(lambda *arguments: seen.append(1))
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "llava_onevision"])  # its docstring says why
def test_several_pictures_in_one_prompt_are_those_of_the_processor(name):
    vlm = families.make_vlm(name)
    images = [tiny.photo(), WIDE]
    chat = families.conversation(vlm, "Job?", images=images)
    pictures = [vlm.picture(image) for image in images]
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Job?"}]
    rendered = vlm.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    ids = vlm.text_ids(rendered, pictures)
    assert ids == chat["input_ids"][0].tolist()
    (answer,) = vlm.answer_ids(["A baker."])
    (found,) = scores(vlm, build_tree([ids], [[answer]], pictures))
    with torch.no_grad():
        first = vlm.model(**chat).logits[0, -1].log_softmax(-1)[answer[0]]
        torch.testing.assert_close(scores(vlm, build_tree([ids], [[answer[:1]]], pictures))[0], first)
    turned = pictures[::-1]
    (swapped,) = scores(vlm, build_tree([vlm.text_ids(rendered, turned)], [[answer]], turned))
    assert found != swapped


def test_adapters_go_where_they_are_sent(vlm):
    linear = {name for name, part in vlm.model.named_modules() if isinstance(part, torch.nn.Linear)}
    decoder = {name for name in linear if name.startswith(vlm.layout.decoder_layers)}
    assert set(vlm.lora_modules("decoder")) == decoder
    beside = set(vlm.lora_modules("decoder+projector")) - decoder
    assert all(name.startswith(vlm.layout.projector) for name in beside)
    leaves = {name.rpartition(".")[2] for name in decoder}
    assert set(vlm.lora_modules("all_linear")) == {name for name in linear if name.rpartition(".")[2] in leaves}
    last = f"{vlm.layout.decoder_layers}.{len(decoder_layers(vlm)) - 1}."
    upper = {name for name in decoder if name.startswith(last)}
    assert set(vlm.lora_modules("decoder", "upper 1")) == upper
    assert set(vlm.lora_modules("decoder+projector", "upper 1")) == upper | beside
    assert set(vlm.lora_modules("all_linear")) - set(vlm.lora_modules("all_linear", "upper 1")) == decoder - upper
    vlm.add_lora(2, 4, layers="upper 1")
    adapted = {name.partition(".lora_")[0] for name, part in vlm.model.named_parameters() if part.requires_grad}
    assert adapted == upper


def test_upper_layers_are_trained_on_kept_outputs_as_on_the_whole_model(vlm):
    vlm.add_lora(2, 4, layers="upper 1")
    batch = tiny.make_batch(vlm)
    with torch.no_grad():
        plain = Scorer(vlm)(batch).log_probability_I
        scorer = Scorer(vlm, repeated=True)
        assert all(torch.allclose(scorer(batch).log_probability_I, plain, rtol=1e-4, atol=1e-4) for _ in range(2))


def test_the_picture_reaches_every_answer(vlm):
    with torch.no_grad():
        one, other = (Scorer(vlm)(tiny.make_batch(vlm, shade=shade)).log_probability_I for shade in (0, 1))
    with_picture = len(tiny.ANSWERS)
    assert (one != other)[:with_picture].all()
    torch.testing.assert_close(one[with_picture:], other[with_picture:])


def test_a_step_of_teaching_changes_the_language_model_and_leaves_the_vision_tower(vlm):
    before, pair = state(vlm), StepBatch({"retain": tiny.make_batch(vlm)})
    train(vlm, FineTuning(), iter([pair]), Schedule(learning_rate=1e-3, steps=1), vlm.train_language(), name="teach")
    changed = {name for name, value in state(vlm).items() if not torch.equal(value, before[name])}
    assert all(any(name.startswith(f"{vlm.layout.decoder_layers}.{i}.") for name in changed) for i in range(2))
    assert any(name.startswith(vlm.layout.projector) for name in changed)
    assert not any(
        name.startswith(vlm.layout.vision_tower) and not name.startswith(vlm.layout.projector) for name in changed
    )


def test_a_step_of_unlearning_changes_the_adapters_only(vlm):
    pair = StepBatch(
        {"forget": tiny.make_batch(vlm), "retain": tiny.make_batch(vlm, shade=1, answers=tiny.ANSWERS[::-1])}
    )
    trainable = vlm.add_lora(2, 4)
    before = state(vlm)
    train(vlm, NPO(), iter([pair] * 2), Schedule(learning_rate=1e-2, steps=2), trainable, name="npo")
    changed = {name for name, value in state(vlm).items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if ".lora_" in name}


def test_checkpoints_of_activations_change_no_gradient_and_adapters_learn(vlm, tmp_path):
    vlm.save(tmp_path)

    def gradients(*, checkpoints):
        config = ModelConfig(id=str(tmp_path), trainable="lora", gradient_checkpointing=checkpoints)
        loaded = VLM.load_as(config)
        adapters = loaded.add_lora(2, 4)
        loaded.model.train()
        cross_entropy(Scorer(loaded)(tiny.make_batch(loaded))).backward()
        return [parameter.grad for parameter in adapters], loaded

    plain, _ = gradients(checkpoints=False)
    twice, loaded = gradients(checkpoints=True)
    assert loaded.model.is_activation_checkpointing
    for one, other in zip(plain, twice, strict=True):
        torch.testing.assert_close(one, other)
    pair = StepBatch({"retain": tiny.make_batch(loaded)})
    schedule = Schedule(learning_rate=1e-2, steps=1)
    train(loaded, FineTuning(), iter([pair]), schedule, loaded.trainable(), name="t")
    learned = [value for name, value in state(loaded).items() if ".lora_B." in name]
    assert learned
    assert all(value.abs().sum() > 0 for value in learned)


def test_lessons_augment_the_photo_and_keep_its_place_in_the_prompt(vlm):
    asked = tuple(
        Question(task="train", input="image", question=question, answer=answer)
        for question, answer in tiny.FACTS.items()
    )
    lessons = Lessons(vlm, [Person(id="001", name="Anna Berg", images=(tiny.png(),), questions=asked)], ("image",), 9)
    ((once,),), ((again,),), ((other,),) = (lessons.rows(random.Random(seed)) for seed in (0, 0, 1))
    still = vlm.picture(tiny.photo())
    (one,), (same,), (moved,) = once.pictures, again.pictures, other.pictures
    assert once.nodes == again.nodes
    assert (one.text, one.runs) == (still.text, still.runs)
    pixels = [picture.inputs["pixel_values"] for picture in (still, one, same, moved)]
    assert torch.equal(pixels[1], pixels[2])
    assert not torch.equal(pixels[0], pixels[1])
    assert not torch.equal(pixels[1], pixels[3])
    assert len({value.shape for value in pixels}) == 1


@pytest.mark.parametrize("projector_learns", [False, True])
def test_cached_vision_features_are_bit_identical(vlm, tmp_path, monkeypatch, projector_learns):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path))
    vlm.model.requires_grad_(False)
    if projector_learns:
        vlm.train_language()
    trees = [tree_of(vlm, image) for image in IMAGES]
    plain = scores(vlm, *trees)
    looks = []
    watch = tiny.eye(vlm).register_forward_hook(lambda *_: looks.append(1))
    for expected in (1, 1):
        with cached_vision(vlm):
            assert torch.equal(scores(vlm, *trees), plain)
        assert len(looks) == expected
    watch.remove()
    assert sorted(path.suffix for path in (tmp_path / "features").iterdir()) == [".safetensors", ".sha256"]
    assert not vars(vlm.model.get_submodule(vlm.layout.vision_tower)).get("forward")


def test_it_works_in_bfloat16_too(vlm):
    exact = scores(vlm, tree_of(vlm, WIDE))
    vlm.model.to(torch.bfloat16)
    torch.testing.assert_close(scores(vlm, tree_of(vlm, WIDE)), exact, atol=0.0, rtol=0.1)
    picture = vlm.picture(WIDE)
    (rows,) = generate(vlm, [Group.of(vlm.prompt_ids(tiny.QUESTIONS, picture=picture), [picture])], max_new_tokens=2)
    assert len(rows) == len(tiny.QUESTIONS)


def test_no_hook_is_left(vlm):
    exercise(vlm)  # transformers hangs up its own at the first call
    before = hooks(vlm)
    exercise(vlm)
    assert hooks(vlm) == before
