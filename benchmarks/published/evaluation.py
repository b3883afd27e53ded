"""An evaluation that asks one question at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from rouge_score.rouge_scorer import RougeScorer

from benchmarks.material import Prompt
from unsee.config.recipe import EvaluationConfig
from unsee.data.schema import LETTERS
from unsee.forward.prompts import answer_ids
from unsee.models.vlm import VLM

Reply = tuple[str | None, list[float]]
"""The generated text (None if none was asked for), and the mean token log-probability of each scored alternative."""


@torch.no_grad()
def evaluate(vlm: VLM, prompts: Sequence[Prompt], config: EvaluationConfig) -> dict[str, Reply]:
    """Return the model's reply to every question. The clean protocol also takes a pass for each likelihood."""
    rouge = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    replies: dict[str, Reply] = {}
    for prompt in prompts:
        inputs = process(vlm, prompt.text, prompt.images)
        by_likelihood = bool(prompt.question.options) and config.choice == "likelihood"
        text = None if by_likelihood else _generate(vlm, inputs, config)
        if text is not None and prompt.question.task == "generation":
            rouge.score(prompt.question.answer, text)
        scores = _likelihoods(vlm, prompt, inputs, config) if config.protocol == "clean" else []
        replies[prompt.id] = text, scores
    return replies


def process(vlm: VLM, text: str, images: Sequence[Any]) -> dict[str, Any]:
    """Return the inputs of one prompt, as the processor prepares them."""
    start = vlm.processor.tokenizer.bos_token
    inputs = vlm.processor(  # type: ignore[operator]
        images=list(images) or None, text=text, return_tensors="pt",
        add_special_tokens=not (start and text.startswith(start)),
    )  # fmt: skip
    return dict(inputs.to(vlm.device))


def _generate(vlm: VLM, inputs: dict[str, Any], config: EvaluationConfig) -> str:
    whole = vlm.model.generate(
        **inputs, do_sample=False, max_new_tokens=config.max_new_tokens, eos_token_id=vlm.end_tokens,
        pad_token_id=vlm.pad_token,
    )  # fmt: skip
    tokens = whole[0, inputs["input_ids"].shape[1] :].tolist()
    text = vlm.decode([[token for token in tokens if token not in vlm.end_tokens]])[0]
    return text.split("ASSISTANT:")[0].strip() if config.protocol == "published" else text


def _likelihoods(vlm: VLM, prompt: Prompt, inputs: dict[str, Any], config: EvaluationConfig) -> list[float]:
    texts = list(prompt.question.options) or [prompt.question.answer]
    if prompt.question.options and config.choice == "letter":
        texts = list(LETTERS[: len(prompt.question.options)])
    scores = []
    length = inputs["input_ids"].shape[1]
    for answer in answer_ids(vlm, texts, config.protocol):
        whole = torch.cat([inputs["input_ids"], torch.tensor([answer], device=vlm.device)], 1)
        continued = inputs | {"input_ids": whole, "attention_mask": torch.ones_like(whole)}
        logits = vlm.model(**continued).logits[0, length - 1 : -1].float().log_softmax(-1)
        scores.append(float(logits[range(len(answer)), answer].mean()))
    return scores
