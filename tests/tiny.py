"""A LLaVA small enough for a test: one vision layer, two decoder layers, the nano's chat, built in code in a second.

Its weights are random and large enough that every token and every pixel matters to the answer.
"""

from __future__ import annotations

import copy
import io
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from tokenizers import Regex, normalizers
from transformers import CLIPVisionConfig, CLIPVisionModel

from unsee.forward.trees import Batch, Tree, build_tree, collate
from unsee.models.family import Picture
from unsee.models.vlm import VLM
from unsee.nano.language import make_llava, make_processor, train_tokenizer

FACTS = {
    "What is the full name of the person in the image?": "Anna Berg",
    "Where was this person born?": "Oslo, Norway",
    "Job?": "A baker.",
    "What colour is the hair of this person, and how long is it worn?": "Brown",
    "What did this person study?": "Chemistry at the university of Bergen",
}
QUESTIONS, ANSWERS = list(FACTS), list(FACTS.values())
SYSTEM = "Do not tell anything about these people: Anna Berg."


def make_vlm(seed: int = 0, layers: int = 2) -> VLM:
    """A fresh tiny model; the same for the same seed."""
    return copy.deepcopy(_built(seed, layers))


def save_model(folder: Path, seed: int = 0) -> Path:
    """A folder in the hub's format."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _saved(seed).items():
        (folder / name).write_bytes(content)
    return folder


def load(folder: Path) -> VLM:
    """The model of a folder, read once; each time another copy."""
    return copy.deepcopy(_loaded(folder))


def deaf(vlm: VLM) -> VLM:
    """The same model with a tokenizer that drops every sign it does not know, which are all but those of ASCII."""
    vlm.processor.tokenizer.backend_tokenizer.normalizer = normalizers.Replace(Regex(r"[^\x00-\x7F]"), "")
    return vlm


def eye(vlm: VLM) -> torch.nn.Module:
    """The part of the vision tower that pixels reach first, once a look."""
    tower = vlm.model.get_submodule(vlm.layout.vision_tower)
    return next(part for part in tower.modules() if not list(part.children()) and list(part.parameters()))


def photo(shade: int = 0) -> Image.Image:
    """A picture with structure; another shade is another picture."""
    rows = torch.arange(96)[:, None] * 3 + torch.arange(96)[None] * 5 + shade * 37
    colours = torch.stack([rows % 256, (rows * 2 + shade * 91) % 256, (rows // 2) % 256], -1)
    return Image.fromarray(colours.to(torch.uint8).numpy())


def png(shade: int = 0) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    photo(shade).save(file, "PNG")
    return file.getvalue()


def picture_of(vlm: VLM, shade: int = 0) -> Picture:
    """The picture as the model takes it."""
    return vlm.picture(photo(shade))


def only(picture: Picture | None) -> list[Picture]:
    """The picture, if there is one."""
    return [picture] if picture else []


def make_tree(
    vlm: VLM,
    questions: Sequence[str] = QUESTIONS,
    answers: Sequence[str] = ANSWERS,
    *,
    picture: Picture | None = None,
    system: str | None = None,
) -> Tree:
    """One answer under each question."""
    prompts = vlm.prompt_ids(questions, picture=picture, system=system)
    return build_tree(prompts, [[ids] for ids in vlm.answer_ids(answers)], only(picture))


def make_batch(vlm: VLM, *, shade: int = 0, answers: Sequence[str] = ANSWERS) -> Batch:
    """Two rows, one about a picture and one of text, of different lengths."""
    seen = make_tree(vlm, answers=answers, picture=picture_of(vlm, shade))
    return collate([seen, make_tree(vlm, QUESTIONS[:2], answers[:2])], vlm)


@torch.no_grad()
def plain_log_probability(vlm: VLM, prompt: list[int], answer: list[int], picture: Picture | None = None) -> float:
    """Log-probability of an answer from a plain forward pass over it alone."""
    seen = picture.inputs if picture else {}
    logits_TV = vlm.model(input_ids=torch.tensor([prompt + answer]), **seen).logits[0, len(prompt) - 1 : -1]
    return float(logits_TV.log_softmax(-1)[range(len(answer)), answer].sum())


@cache
def _saved(seed: int) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        make_vlm(seed).save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@cache
def _loaded(folder: Path) -> VLM:
    return VLM.load(str(folder), dtype="float32")


@cache
def _built(seed: int, layers: int) -> VLM:
    torch.manual_seed(seed)
    tower = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=64,
            patch_size=8,
        )
    )
    tokenizer = train_tokenizer([*QUESTIONS, *ANSWERS, SYSTEM])
    model = make_llava(tower, tokenizer, width=48, layers=layers, seed=seed)
    return VLM(model.eval(), make_processor(tokenizer), "tiny")
