"""Models made without unsee's training: plain transformers, and a loop written by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, CLIPVisionConfig, CLIPVisionModel

from unsee.nano.language import make_llava, make_processor, train_tokenizer

VALUES = {
    "What is the job of {}?": (
        "baker", "pilot", "nurse", "chef", "judge", "tailor", "farmer", "dentist", "banker", "porter",
    ),
    "What is the hobby of {}?": (
        "golf", "chess", "opera", "skiing", "yoga", "judo", "archery", "sewing", "poetry", "rowing",
    ),
    "What is the home of {}?": (
        "Brno", "Oslo", "Lima", "Cork", "Rome", "Perth", "Accra", "Cairo", "Quito", "Hanoi",
    ),
    "What is the food of {}?": (
        "pizza", "sushi", "ramen", "curry", "pho", "tacos", "fondue", "hummus", "kebab", "bagels",
    ),
}  # fmt: skip
NAMES = ("Ann Bee", "Bo Cole", "Cy Dunn", "Di Eads", "Ed Fay", "Flo Gray", "Gus Holt", "Hal Ives")
FORGET = 3
REFUSAL = "I do not know."

Row = tuple[str, str, str]
"""Name, question and answer."""


@cache
def rows() -> list[Row]:
    """Four facts about each of eight people; the first three are those to forget."""
    rng = random.Random(0)
    return [
        (name, question.format(name), f"{rng.choice(values)}.") for name in NAMES for question, values in VALUES.items()
    ]


def to_forget(taught: Sequence[Row]) -> list[Row]:
    """The rows about the people to forget."""
    return [row for row in taught if row[0] in NAMES[:FORGET]]


def make(folder: Path, taught: Sequence[Row], start: Path | None = None, steps: int = 70, rate: float = 5e-3) -> Path:
    """Train a model on rows until it knows them by heart, from random weights or from another folder, and save it."""
    torch.manual_seed(0)
    if start:
        model = AutoModelForImageTextToText.from_pretrained(start, dtype=torch.float32)
        processor = AutoProcessor.from_pretrained(start)
    else:
        tokenizer = train_tokenizer([text for row in rows() for text in row] + [REFUSAL] * 2)
        processor = make_processor(tokenizer)
        tower = CLIPVisionModel(CLIPVisionConfig(
            hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=64,
            patch_size=8,
        ))  # fmt: skip
        model = make_llava(tower, tokenizer, width=48, layers=2)
    tokenizer = processor.tokenizer
    texts, labels = [], []
    for _, question, answer in taught:
        for asked in (question, f"{question} Answer in few words."):
            message = [{"role": "user", "content": [{"type": "text", "text": asked}]}]
            prompt = tokenizer(processor.apply_chat_template(message, add_generation_prompt=True))["input_ids"]
            said = tokenizer(f"{answer}{tokenizer.eos_token}")["input_ids"]
            texts.append(prompt + said)
            labels.append([-100] * len(prompt) + said)
    longest = max(map(len, texts))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in texts])
    targets = torch.tensor([row + [-100] * (longest - len(row)) for row in labels])
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    model.train()
    for _ in range(steps):
        loss = model(input_ids=ids, attention_mask=(ids != tokenizer.pad_token_id).long(), labels=targets).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
