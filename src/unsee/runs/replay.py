"""Replay: training text of the base model, mixed in while people are taught, so that the model keeps what it knew."""

from __future__ import annotations

from unsee.config.recipe import TeachConfig
from unsee.core.errors import ConfigError
from unsee.models.vlm import VLM
from unsee.nano.corpus import REPLAYED, Corpus, has_corpus
from unsee.runs.streams import DrawTree


def replay(vlm: VLM) -> DrawTree:
    """Return a function that draws trees from the training corpus of a shipped base model."""
    return Corpus(vlm, photos=2, num_strangers=120, shares=REPLAYED).tree


def check_replay(vlm: VLM, config: TeachConfig) -> None:
    """Refuse replay for a model whose training data are not known.

    Raises:
        ConfigError: the recipe wants replay for such a model.
    """
    if config.replay and not has_corpus(vlm):
        raise ConfigError(
            f"teach.replay: {config.replay} asked for, but nothing is known of what model {vlm.id} was trained on; "
            "set it to 0"
        )
