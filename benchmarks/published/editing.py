"""A Neural Gate edit whose every step is a forward pass of the whole model, for one picture or one pair at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unsee.data.pairs import PrivacyPair, by_case, by_category
from unsee.edits.pair_rows import Query, queries, subject_tokens
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.models.vlm import VLM

CONTEXTS = (
    "{}", "The image shows that. {}", "Therefore, it is. {}", "Because I am just. {}", "I am an AI. {}",
    "You want to. {}",
)  # fmt: skip
BENIGN_WORDS, BENIGN_WEIGHT, THRESHOLD = 5, 1.25, 0.3
VECTOR_START, VECTOR_RATE, VECTOR_STEPS, VECTOR_PULL, VECTOR_ENOUGH = 2.0, 0.5, 25, 0.001, 0.05
EDIT_RATE, EDIT_STEPS, EDIT_ENOUGH, EPSILON = 1e-5, 10, 1e-3, 1e-3


@dataclass(frozen=True)
class Rows:
    """Questions with their answers, one row each, padded on the right."""

    inputs: dict[str, Any]
    labels_BT: Tensor
    subject_B: Tensor
    sensitive_B: Tensor


def edit(
    vlm: VLM, pairs: Sequence[PrivacyPair], layers: Sequence[int], images: int = 10
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the change of each layer's down projection, by name, and the gates, by "category/layer"."""
    vlm.model.requires_grad_(False)
    modules = [vlm.model.get_submodule(down_name(vlm, layer)) for layer in layers]
    start = [module.weight.detach().half() for module in modules]
    weights = [matrix.clone() for matrix in start]
    gates: dict[str, Tensor] = {}
    for module, weight in zip(modules, weights, strict=True):
        module.forward = partial(_linear, module, weight)  # type: ignore[method-assign]
    try:
        for category, some in by_category(pairs).items():
            signs = [_vectors(vlm, case[0], layers) < 0 for case in by_case(some)[:images]]
            open_LD = torch.stack(signs).float().mean(0) > THRESHOLD
            gates |= {f"{category}/{layer}": open_D for layer, open_D in zip(layers, open_LD, strict=True)}
            for pair in (pair for case in by_case(some) for pair in case):
                _step(vlm, pair, layers, open_LD, weights)
    finally:
        for module in modules:
            del module.forward
    changes = (weight.float() - old.float() for weight, old in zip(weights, start, strict=True))
    return dict(zip((down_name(vlm, layer) for layer in layers), changes, strict=True)), gates


def _linear(module: Any, weight: Tensor, hidden: Tensor) -> Tensor:
    return F.linear(hidden, weight.to(hidden.dtype), module.bias)


def _vectors(vlm: VLM, pair: PrivacyPair, layers: Sequence[int]) -> Tensor:
    """Return tanh(u) of one picture: factors at the subject's last token in each layer that make the model refuse."""
    asked = replace(pair, sensitive=pair.request or pair.sensitive)
    rows = write(vlm, queries([asked], contexts=CONTEXTS, benign_words=BENIGN_WORDS))
    shape = (len(layers), vlm.model.config.get_text_config().hidden_size)
    u_LD = torch.full(shape, VECTOR_START, dtype=torch.float16, device=vlm.device, requires_grad=True)
    optimiser = torch.optim.Adam([u_LD], lr=VECTOR_RATE, eps=EPSILON)
    with _at_subject(vlm, layers, rows, lambda index, at: at * u_LD[index].float().tanh()):
        for _ in range(VECTOR_STEPS):
            loss = _loss(vlm, rows) + VECTOR_PULL * (u_LD.float() - VECTOR_START).abs().mean()
            if loss.item() < VECTOR_ENOUGH:
                break
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return u_LD.detach().float().tanh()


def _step(vlm: VLM, pair: PrivacyPair, layers: Sequence[int], open_LD: Tensor, weights: Sequence[Tensor]) -> None:
    """Take the steps of one pair with a new optimiser. The gates filter the gradient at the subject's last token."""
    rows = write(vlm, queries([pair], benign_words=BENIGN_WORDS))
    for weight in weights:
        weight.requires_grad_(True)
    optimiser = torch.optim.Adam(weights, lr=EDIT_RATE, eps=EPSILON)
    with _at_subject(vlm, layers, rows, lambda index, at: torch.where(open_LD[index], at, at.detach())):
        for _ in range(EDIT_STEPS):
            loss = _loss(vlm, rows)
            if loss.item() < EDIT_ENOUGH:
                break
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    for weight in weights:
        weight.requires_grad_(False)


def write(vlm: VLM, asked: Sequence[Query]) -> Rows:
    """Return the rows of one picture; each contains the picture."""
    template = vlm.template(with_image=True)
    image = asked[0].pair.picture()
    picture = vlm.picture(image)
    texts = [
        f"{template.before}{query.question}{template.between}{template.lead}{query.answer}"
        + (template.after if query.whole else "")
        for query in asked
    ]
    start = vlm.processor.tokenizer.bos_token
    inputs = vlm.processor(  # type: ignore[operator]
        images=[[image] for _ in texts], text=texts, padding=True, padding_side="right", return_tensors="pt",
        add_special_tokens=not (start and texts[0].startswith(start)),
    )  # fmt: skip
    inputs = dict(inputs.to(vlm.device))
    labels = torch.full_like(inputs["input_ids"], -100)
    subject = []
    for row, query in enumerate(asked):
        (answer,) = vlm.answer_ids([query.answer], end=query.whole)
        end = int(inputs["attention_mask"][row].sum())
        labels[row, end - len(answer) : end] = inputs["input_ids"][row, end - len(answer) : end]
        subject.append(end - len(answer) - subject_tokens(vlm, [query], picture)[0][-1])
    sensitive = torch.tensor([query.sensitive for query in asked], device=vlm.device)
    return Rows(inputs, labels, torch.tensor(subject, device=vlm.device), sensitive)


def answer_losses(vlm: VLM, rows: Rows) -> Tensor:
    """Return the mean loss per answer token of each row."""
    labels = rows.labels_BT[:, 1:]
    logits = vlm.model(**rows.inputs).logits[:, :-1].float()
    loss = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=-100)
    return loss.sum(1) / (labels != -100).sum(1)


def _loss(vlm: VLM, rows: Rows) -> Tensor:
    losses = answer_losses(vlm, rows)
    return losses[rows.sensitive_B].mean() + BENIGN_WEIGHT * losses[~rows.sensitive_B].mean()


@contextmanager
def _at_subject(vlm: VLM, layers: Sequence[int], rows: Rows, change: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """Change each layer's output at the subject's last token of every row, within the block."""
    row_indices = torch.arange(len(rows.subject_B))

    def changed(index: int, _: nn.Module, __: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[row_indices, rows.subject_B] = change(index, hidden[row_indices, rows.subject_B])
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handles = [
        decoder_layers(vlm)[layer].register_forward_hook(partial(changed, index)) for index, layer in enumerate(layers)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
