"""The weights of trained and edited models, and the one model in memory that they are loaded into."""

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
        key: hash of everything that went into it, source code included; names its files in the cache.
        draws: hash of everything except the source code. It seeds the random draws of training from these weights, so
            that rewriting code changes no result.
        files: weights or adapters, in order.
        edit: the file of an edit to apply on top of them.
    """

    key: str
    draws: str
    files: tuple[Path, ...] = ()
    edit: Path | None = None


class LoadedModel:
    """The one model in memory, which loads any weights that were made from it.

    Args:
        vlm: the base model.
        config: its settings, which say which part is trained.
    """

    def __init__(self, vlm: VLM, config: ModelConfig) -> None:
        self.vlm = vlm
        self.config = config
        self._holds: Weights | None = None
        self._editor: Editor | None = None

    def load(self, weights: Weights) -> VLM:
        """Load weights and return the model."""
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
        """Yield the model with these weights and the adapter merged into them; the block must not change it."""
        vlm = self.load(weights)
        vlm.merge_lora()
        try:
            yield vlm
        finally:
            self._forget_merged()

    @contextmanager
    def spoiled(self, weights: Weights) -> Iterator[VLM]:
        """Yield the model with these weights and the adapter merged; the block may change any weight."""
        vlm = self.load(weights)
        vlm.merge_lora()
        try:
            yield vlm
        finally:
            vlm.reload()
            self._editor, self._holds = None, None

    def start_training(self, weights: Weights) -> list[nn.Parameter]:
        """Load weights and return the parameters to train; call `finish_training` afterwards."""
        self.load(weights)
        trainable = self._add_lora() if self.config.trainable == "lora" else self.vlm.train_language()
        self._holds = None
        return trainable

    def finish_training(self, weights: Weights) -> None:
        """Note that the model holds these weights, so that they are not loaded again."""
        self._holds = None if self.vlm.divided else weights

    def _undo_edit(self) -> None:
        if self._editor:
            if self.config.trainable == "full":  # with LoRA all weights are loaded again
                self._editor.revert()
            self._editor = None
            self._forget_merged()

    def _forget_merged(self) -> None:
        """Mark the weights as not loaded if an adapter was merged."""
        if self.config.trainable == "lora":
            self._holds = None

    def _load_files(self, weights: Weights) -> None:
        """Load the base weights, then the last file; with LoRA every file as an adapter, merging the one before."""
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
        return self.vlm.add_lora(
            model.lora_rank, model.lora_alpha, model.lora_targets, model.lora_layers, dropout=model.lora_dropout
        )
