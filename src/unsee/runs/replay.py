"""Replay in teaching: text that the base model was trained on, so that it does not forget what it could do before."""

from __future__ import annotations

from unsee.config.recipe import TeachConfig
from unsee.core.errors import ConfigError
from unsee.models.vlm import VLM
from unsee.nano.corpus import REPLAYED, Corpus, has_corpus
from unsee.runs.streams import DrawTree


def replay(vlm: VLM) -> DrawTree:
    """Return a function that draws a tree of the corpus that a shipped base model was trained on."""
    return Corpus(vlm, photos=2, num_strangers=120, shares=REPLAYED).tree


def check_replay(vlm: VLM, config: TeachConfig) -> None:
    """Refuse replay for a model whose training data are not known.

    Raises:
        ConfigError: replay is asked for.
    """
    if config.replay and not has_corpus(vlm):
        raise ConfigError(
            f"teach.replay: {config.replay} asked for, but nothing is known of what model {vlm.id} was trained on; "
            "set it to 0"
        )
