"""Pictures as captions: a vision tower and a projector whose output for a patch is close to the embedding of a word.

A portrait is shown to the decoder as "hair colour: red", "glasses: round glasses" and so on, a document as "name: Ada",
"number: 417" ..., one token a patch, in fixed places. A decoder that never saw a picture can then read one. Neither
stage runs the decoder: only its word embeddings are used.
Shape letters: B pictures, P patches, F patch features, D width of the decoder, L labels, W words in captions.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from unsee.core.files import keep
from unsee.nano.documents import DIGITS, DOCUMENT_LABELS
from unsee.nano.vision import LABELS, crop_and_normalise, draw_training_documents, draw_training_portraits

log = logging.getLogger(__name__)

PORTRAIT, DOCUMENT = "portrait", "document"
LABELS_OF: Mapping[str, Mapping[str, Sequence[str]]] = {PORTRAIT: LABELS, DOCUMENT: DOCUMENT_LABELS}
_LINES: Mapping[str, Mapping[str, Sequence[str]]] = {
    PORTRAIT: {name.replace("_", " "): (name,) for name in LABELS},
    DOCUMENT: {
        "kind": ("kind",), "name": ("name",), "number": ("number_1", "number_2", "number_3"),
        "amount": ("amount_1", "amount_2"), "city": ("city",), "occupation": ("occupation",), "colour": ("colour",),
        "ink": ("ink",), "border": ("border",), "shape": ("shape",), "table": ("table",),
    },
}  # fmt: skip
"""The lines of a caption: the word for what is seen, and the labels that its value is made of."""
LEARNING_RATE, TOWER_RATE = 2e-3, 1e-3
PORTRAITS_A_STEP, DOCUMENTS_A_STEP = 24, 24
SHARPNESS = 16.0  # of the choice of a word, per half of a word embedding's squared length
VALUE_WEIGHT = 5.0  # of tokens that differ between captions, beside 1 for the words before them


class Captions:
    """The token of each patch, by kind of picture and labels.

    Args:
        tokenizer: the decoder's.
        patches: number of patches of a picture; the rest of a caption is empty lines.
    """

    def __init__(self, tokenizer: Any, patches: int) -> None:
        self._tokenizer = tokenizer
        self._tables = {kind: self._table(kind, patches) for kind in LABELS_OF}

    @property
    def words(self) -> Tensor:
        """Every token that a caption may hold, ascending (W)."""
        tables = [table.flatten() for parts in self._tables.values() for table, _ in parts]
        return torch.tensor(sorted(set(torch.cat(tables).tolist())))

    def of(self, kind: str, labels_BL: Tensor) -> Tensor:
        """Return the token of each patch (B, P)."""
        return torch.cat([table[labels_BL[:, label]] for table, label in self._tables[kind]], 1)

    def values(self, kind: str) -> dict[str, list[int]]:
        """Return the patches of a caption that hold the value of each label."""
        names, first = list(LABELS_OF[kind]), 0
        found: dict[str, list[int]] = {}
        for table, label in self._tables[kind]:
            if len(table.unique(dim=0)) > 1:
                found[names[label]] = list(range(first, first + table.shape[1]))
            first += table.shape[1]
        return found

    def _table(self, kind: str, patches: int) -> list[tuple[Tensor, int]]:
        """Return parts of the caption: the tokens for each value of a label (values, tokens), and the label."""
        names = list(LABELS_OF[kind])
        (blank,) = self._ids("\n")
        parts: list[tuple[Tensor, int]] = []
        for word, labels in _LINES[kind].items():
            parts.append(
                (
                    torch.tensor([self._ids(f"{word}:")]).expand(len(LABELS_OF[kind][labels[0]]), -1),
                    names.index(labels[0]),
                )
            )
            for label in labels:
                values = LABELS_OF[kind][label]
                spelled = [self._ids(value if values is DIGITS else f" {value}") for value in values]
                longest = max(map(len, spelled)) + (label == labels[-1])
                rows = [ids + [blank] * (longest - len(ids)) for ids in spelled]
                parts.append((torch.tensor(rows), names.index(label)))
        spare = patches - sum(table.shape[1] for table, _ in parts)
        if spare < 0:
            raise ValueError(f"the caption of a {kind} has {-spare} tokens more than a picture has patches")
        first = parts[0]
        return [*parts, (torch.full((len(first[0]), spare), blank), first[1])]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


class Captioner(nn.Module):
    """A vision tower and a projector, trained to write the caption of a picture in word embeddings.

    Args:
        tower: the vision tower, whose weights are trained on.
        projector: maps patch features to the width of the decoder.
        captions: the token of each patch.
        embeddings_VD: the decoder's word embeddings.
    """

    def __init__(self, tower: PreTrainedModel, projector: nn.Module, captions: Captions, embeddings_VD: Tensor) -> None:
        super().__init__()
        self.tower, self.projector = tower, projector
        self._captions = captions
        words = captions.words
        self._words_WD = embeddings_VD[words].clone()
        self._index_V = torch.full((len(embeddings_VD),), -1).index_put((words,), torch.arange(len(words)))
        self._half = self._words_WD.square().sum(1).mean() / 2

    @torch.no_grad()
    def begin(self, pixels_BHWC: Tensor) -> None:
        """Draw the projector's weights to the scale of these pictures' features and of the word embeddings."""
        features = self._features(crop_and_normalise(pixels_BHWC, None)).flatten(0, 1)
        first: Any = self.projector.linear_1
        last: Any = self.projector.linear_2
        first.weight.normal_(0, first.in_features**-0.5).div_(features.std(0))
        first.bias.copy_(-(first.weight @ features.mean(0)))
        last.weight.normal_(0, 0.3 * last.in_features**-0.5 * float(self._words_WD.std()))
        last.bias.copy_(self._words_WD.mean(0))

    def forward(self, pixels_BCHW: Tensor, tokens_BP: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each patch the loss (B, P), and True where the nearest word is the right one."""
        written_BPD = self.projector(self._features(pixels_BCHW))
        right_BP = self._index_V[tokens_BP]
        nearness_BPW = (written_BPD @ self._words_WD.T - self._words_WD.square().sum(1) / 2) * (SHARPNESS / self._half)
        choice_BP = nn.functional.cross_entropy(nearness_BPW.transpose(1, 2), right_BP, reduction="none")
        distance_BP = (written_BPD - self._words_WD[right_BP]).square().sum(-1) / self._half
        return choice_BP + distance_BP, nearness_BPW.argmax(-1) == right_BP

    def _features(self, pixels_BCHW: Tensor) -> Tensor:
        features: Tensor = self.tower(pixels_BCHW).last_hidden_state[:, 1:]
        return features


def train_captions(captioner: Captioner, captions: Captions, pictures: Mapping[str, Tensor], steps: int) -> None:
    """Train tower and projector for `steps` steps of portraits and documents.

    Args:
        captioner: changed in place.
        captions: the tokens of the patches.
        pictures: pixels and labels as `draw_pictures` returns them.
        steps: training steps.
    """
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    kinds = ((PORTRAIT, PORTRAITS_A_STEP), (DOCUMENT, DOCUMENTS_A_STEP))
    tokens = {kind: captions.of(kind, pictures[f"{kind}_labels"]) for kind, _ in kinds}
    weight_BP = {kind: 1 + (VALUE_WEIGHT - 1) * (tokens[kind] != tokens[kind][0]).any(0).float() for kind, _ in kinds}
    captioner.begin(torch.cat([pictures[kind][:64] for kind, _ in kinds]))
    parts = ((captioner.projector, LEARNING_RATE), (captioner.tower, TOWER_RATE))
    optimiser = torch.optim.AdamW([{"params": [*part.parameters()], "peak": peak} for part, peak in parts])
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / 20, 1.5 * (steps - step) / steps)
        rows = {kind: torch.randint(len(tokens[kind]), (count,), generator=generator) for kind, count in kinds}
        pixels = crop_and_normalise(torch.cat([pictures[kind][rows[kind]] for kind, _ in kinds]), generator)
        loss_BP, right_BP = captioner(pixels, torch.cat([tokens[kind][rows[kind]] for kind, _ in kinds]))
        weights = torch.cat([weight_BP[kind].expand(count, -1) for kind, count in kinds])
        loss = (loss_BP * weights).sum() / weights.sum()
        loss.backward()
        nn.utils.clip_grad_norm_(captioner.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step % 50 == 0:
            log.info("captions step=%d loss=%.3f right=%.3f", step, loss.item(), right_BP.float().mean().item())
    captioner.requires_grad_(False)


@torch.no_grad()
def read_off(captioner: Captioner, captions: Captions, pictures: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the share of pictures in which every token of a label's value is the nearest word, by label."""
    found: dict[str, float] = {}
    for kind in LABELS_OF:
        tokens_BP = captions.of(kind, pictures[f"{kind}_labels"])
        _, right_BP = captioner(crop_and_normalise(pictures[kind], None), tokens_BP)
        for name, places in captions.values(kind).items():
            prefix = "" if kind == PORTRAIT else "document_"
            found[prefix + name] = float(right_BP[:, places].all(1).float().mean())
    return found


def draw_pictures(count: int, seed: int, kept: Path, processes: int = 1) -> dict[str, Tensor]:
    """Return `count` portraits and as many documents with their labels, from a file if it is there."""
    if not kept.is_file():
        portraits, documents = (
            draw(count, seed, processes) for draw in (draw_training_portraits, draw_training_documents)
        )
        drawn = {PORTRAIT: portraits, DOCUMENT: documents}
        tensors = {kind: pixels for kind, (pixels, _) in drawn.items()}
        tensors |= {f"{kind}_labels": labels for kind, (_, labels) in drawn.items()}
        keep(kept, lambda part: save_file(tensors, part))
    return load_file(kept)
