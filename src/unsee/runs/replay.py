"""Replay: training text of the base model, mixed in while people are taught, so that the model keeps what it knew."""

from __future__ import annotations

from unsee.config.recipe import TeachConfig
from unsee.core.errors import ConfigError
from unsee.core.progress import Progress
from unsee.models.vlm import VLM
from unsee.nano.corpus import REPLAYED, Corpus, has_corpus
from unsee.runs.streams import DrawTree


def replay(vlm: VLM) -> DrawTree:
    """Return a function that draws trees from the training corpus of a shipped base model."""
    return Corpus(vlm, photos=2, num_strangers=120, shares=REPLAYED).tree


def resolve_replay(vlm: VLM, config: TeachConfig, progress: Progress) -> TeachConfig:
    """Return the settings with a replay of 0 for a model whose training data are not known.

    Raises:
        ConfigError: the recipe itself asks for replay with such a model.
    """
    if not config.replay or has_corpus(vlm):
        return config
    unknown = f"nothing is known of what model {vlm.id} was trained on"
    if "replay" in config.model_fields_set:
        raise ConfigError(f"teach.replay: {config.replay} asked for, but {unknown}; set it to 0")
    progress.say(f"teach.replay is 0, because {unknown}")
    return config.model_copy(update={"replay": 0.0})
