"""An evaluation one question at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from rouge_score.rouge_scorer import RougeScorer

from benchmarks.material import Asked
from unsee.config.recipe import EvaluationConfig
from unsee.data.schema import LETTERS
from unsee.forward.prompts import answer_ids
from unsee.models.vlm import VLM

Said = tuple[str | None, list[float]]
"""What was written, if anything was asked for, and of each alternative that was scored the mean log-probability of its
tokens."""


@torch.no_grad()
def evaluate(vlm: VLM, asked: Sequence[Asked], config: EvaluationConfig) -> dict[str, Said]:
    """What the model says to every question. The clean protocol needs likelihoods as well: a pass for each of them."""
    rouge = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    said: dict[str, Said] = {}
    for one in asked:
        inputs = prompt(vlm, one.text, one.images)
        by_likelihood = bool(one.question.options) and config.choice == "likelihood"
        text = None if by_likelihood else _written(vlm, inputs, config.max_new_tokens)
        if text is not None and one.question.task == "generation":
            rouge.score(one.question.answer, text)
        scores = _likelihoods(vlm, one, inputs, config) if config.protocol == "clean" else []
        said[one.id] = text, scores
    return said


def prompt(vlm: VLM, text: str, images: Sequence[Any]) -> dict[str, Any]:
    """One prompt as the processor makes it."""
    start = vlm.processor.tokenizer.bos_token
    inputs = vlm.processor(  # type: ignore[operator]
        images=list(images) or None, text=text, return_tensors="pt",
        add_special_tokens=not (start and text.startswith(start)),
    )  # fmt: skip
    return dict(inputs.to(vlm.device))


def _written(vlm: VLM, inputs: dict[str, Any], max_new_tokens: int) -> str:
    whole = vlm.model.generate(
        **inputs, do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=vlm.end_tokens,
        pad_token_id=vlm.pad_token,
    )  # fmt: skip
    tokens = whole[0, inputs["input_ids"].shape[1] :].tolist()
    return vlm.decode([[token for token in tokens if token not in vlm.end_tokens]])[0]


def _likelihoods(vlm: VLM, one: Asked, inputs: dict[str, Any], config: EvaluationConfig) -> list[float]:
    texts = list(one.question.options) or [one.question.answer]
    if one.question.options and config.choice == "letter":
        texts = list(LETTERS[: len(one.question.options)])
    found = []
    length = inputs["input_ids"].shape[1]
    for answer in answer_ids(vlm, texts, config.protocol):
        whole = torch.cat([inputs["input_ids"], torch.tensor([answer], device=vlm.device)], 1)
        continued = inputs | {"input_ids": whole, "attention_mask": torch.ones_like(whole)}
        logits = vlm.model(**continued).logits[0, length - 1 : -1].float().log_softmax(-1)
        found.append(float(logits[range(len(answer)), answer].mean()))
    return found
