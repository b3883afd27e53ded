"""Refusal by a text classifier from a local folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from unsee.core.errors import ModelError
from unsee.core.source import source_hash
from unsee.refusals import REFUSALS
from unsee.refusals.base import RefusalJudge, Reply

_BATCH = 32


@REFUSALS.register("classifier")
@dataclass(frozen=True)
class Classifier(RefusalJudge):
    """A sequence classifier in a local folder decides; its input is question and answer as a pair.

    Attributes:
        folder: a classifier in the hub's format, safetensors only.
        labels: the labels that mean refusal; by default those whose name contains "refus" or "reject".
    """

    folder: Path
    labels: tuple[str, ...] = ()

    def refused(self, replies: Sequence[Reply]) -> list[bool]:
        """Decide in batches, on the CPU.

        Raises:
            ModelError: the folder has no classifier, or the classifier has no such label.
        """
        tokenizer, model, refusing = self._loaded
        refused: list[bool] = []
        for start in range(0, len(replies), _BATCH):
            part = replies[start : start + _BATCH]
            inputs = tokenizer(
                [reply.question for reply in part], [reply.answer for reply in part],
                padding=True, truncation="only_first", return_tensors="pt",
            )  # fmt: skip
            with torch.no_grad():
                refused += [label in refusing for label in model(**inputs).logits.argmax(-1).tolist()]
        return refused

    def fingerprint(self) -> str:
        """Return a hash of labels, code and files; the path of the folder does not count."""
        digest = hashlib.sha256(f"{self.labels!r} {source_hash(__name__)}".encode())
        for path in sorted(path for path in self.folder.iterdir() if path.is_file()):
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    @cached_property
    def _loaded(self) -> tuple[Any, Any, set[int]]:
        if not (self.folder / "config.json").is_file():
            raise ModelError(f"refusal judge {self.folder}: no folder with a config.json; give a local classifier")
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder)
            model = AutoModelForSequenceClassification.from_pretrained(self.folder, use_safetensors=True).eval()
        except Exception as error:  # transformers, tokenizers and safetensors raise many types
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"refusal judge {self.folder}: cannot be loaded: {reason}") from error
        names = {str(name): int(index) for index, name in model.config.id2label.items()}
        wanted = self.labels or [n for n in names if "refus" in n.casefold() or "reject" in n.casefold()]
        if not wanted or any(name not in names for name in wanted):
            asked = ", ".join(self.labels) or "anything with 'refus' or 'reject'"
            raise ModelError(f"refusal judge {self.folder}: has no label {asked} (has: {', '.join(names)})")
        return tokenizer, model, {names[name] for name in wanted}
