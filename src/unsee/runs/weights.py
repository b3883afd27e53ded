"""The weights of one trained or edited model, and the one model in memory that takes them in turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from unsee.config.recipe import ModelConfig
from unsee.edits.edit import Edit, Editor
from unsee.models.vlm import VLM


@dataclass(frozen=True)
class Weights:
    """A trained or edited model: the files to load in order onto the base model.

    Attributes:
        key: the key of everything that went into it, source code included; names its files in the cache.
        draws: the key of everything but the source code; seeds what is drawn when training goes on from here, so that
            rewriting code moves no figure.
        files: weights or adapters, in order.
        edit: the file of an edit that is applied on top of them.
    """

    key: str
    draws: str
    files: tuple[Path, ...] = ()
    edit: Path | None = None


class LoadedModel:
    """The one model in memory; it takes any weights that were made from it.

    Args:
        vlm: the base model.
        config: which part of it is trained, and how.
    """

    def __init__(self, vlm: VLM, config: ModelConfig) -> None:
        self.vlm = vlm
        self.config = config
        self._holds: Weights | None = None
        self._editor: Editor | None = None

    def load(self, weights: Weights) -> VLM:
        """Return the model with these weights in it."""
        if self._holds != weights:
            self._undo_edit()
            if self._holds is None or self._holds.files != weights.files:
                self._load_files(weights)
            if weights.edit:
                self.vlm.merge_lora()
                self._editor = Editor(self.vlm)
                self._editor.apply(Edit.load(weights.edit))
            self._holds = weights
        return self.vlm

    @contextmanager
    def merged(self, weights: Weights) -> Iterator[VLM]:
        """Give the model with these weights and its adapter merged into them; the block must leave it unchanged."""
        vlm = self.load(weights)
        vlm.merge_lora()
        try:
            yield vlm
        finally:
            self._forget_merged()

    def start_training(self, weights: Weights) -> list[nn.Parameter]:
        """Load weights and return the parameters to train on top of them; `finish_training` says what came out."""
        self.load(weights)
        trainable = self._add_lora() if self.config.trainable == "lora" else self.vlm.train_language()
        self._holds = None
        return trainable

    def finish_training(self, weights: Weights) -> None:
        """Note what the model holds after training, so that it is not loaded again."""
        self._holds = None if self.vlm.divided else weights

    def _undo_edit(self) -> None:
        if self._editor:
            self._editor.revert()
            self._editor = None
            self._forget_merged()

    def _forget_merged(self) -> None:
        """Have a merged adapter loaded anew when its weights are wanted again."""
        if self.config.trainable == "lora":
            self._holds = None

    def _load_files(self, weights: Weights) -> None:
        """Load base weights, then the last file, which holds everything; with LoRA each file, which is one adapter."""
        if self.config.trainable == "lora" or not weights.files or self.vlm.divided:
            self.vlm.reload()
        if self.config.trainable == "full" and weights.files:
            self.vlm.train_language()
            self.vlm.load_trained(weights.files[-1])
        for path in weights.files if self.config.trainable == "lora" else ():
            self._add_lora()
            self.vlm.load_trained(path)

    def _add_lora(self) -> list[nn.Parameter]:
        model = self.config
        return self.vlm.add_lora(model.lora_rank, model.lora_alpha, model.lora_targets, dropout=model.lora_dropout)
