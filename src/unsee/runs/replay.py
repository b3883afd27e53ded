"""Replay: text that the base model knows, mixed in while people are taught, so that it keeps what it could do.

It is the training text of a shipped model. Of any other model that text is not at hand: it replays its own answers to
everyday questions and to questions about portraits of nobody, which it writes once.
"""

from __future__ import annotations

import random

from unsee.core.source import source_hash
from unsee.data.everyday import EVERYDAY
from unsee.data.people.portraits import draw_look, draw_portrait, draw_scene
from unsee.data.people.questions import appearance
from unsee.forward.prompts import clean_question
from unsee.forward.trees import Tree, build_tree
from unsee.models.family import Picture
from unsee.models.vlm import VLM
from unsee.nano.corpus import REPLAYED, Corpus, has_corpus
from unsee.runs.streams import DrawTree, Write

_PORTRAITS, _PORTRAIT_PIXELS = 16, 384
_TOGETHER = 8  # everyday questions of one tree
ANSWER_TOKENS = 32
"""The longest own answer; one that is longer is cut there, and its end is not taught."""


def replay(vlm: VLM, write: Write) -> DrawTree:
    """Return a function that draws trees of the base model's training text, or of its own answers.

    Args:
        vlm: the base model, whose processor is used.
        write: returns what the base model answers in its own words.
    """
    if has_corpus(vlm):
        return Corpus(vlm, photos=2, num_strangers=120, shares=REPLAYED).tree
    everyday, portraits = _own_answers(vlm, write)
    return lambda rng: rng.choice(everyday if rng.random() < 0.5 else portraits)


def _own_answers(vlm: VLM, write: Write) -> tuple[list[Tree], list[Tree]]:
    """Return what the base model answers to everyday questions, and about portraits, some questions a tree."""
    parts = [EVERYDAY[start : start + _TOGETHER] for start in range(0, len(EVERYDAY), _TOGETHER)]
    asked: list[tuple[list[Picture], list[list[int]]]] = [([], vlm.prompt_ids(part)) for part in parts]
    asked += [_about_a_portrait(vlm, number) for number in range(_PORTRAITS)]
    silent = [
        build_tree(prompts, [[]] * len(prompts), pictures, written=range(len(prompts))) for pictures, prompts in asked
    ]
    end = vlm.answer_ids([""])[0]
    trees: tuple[list[Tree], list[Tree]] = [], []
    for (pictures, prompts), answers in zip(asked, write(silent, ANSWER_TOKENS, source_hash(__name__)), strict=True):
        ended = [ids if len(ids) == ANSWER_TOKENS else [*ids, *end] for ids in answers]
        words = [[ids] if vlm.family.image_token not in ids else [] for ids in ended]  # a picture that is not there
        if any(words):
            trees[bool(pictures)].append(build_tree(prompts, words, pictures))
    return trees


def _about_a_portrait(vlm: VLM, number: int) -> tuple[list[Picture], list[list[int]]]:
    rng = random.Random(f"replay {number}")
    look, scene = draw_look(rng, ("female", "male")[number % 2]), draw_scene(rng)
    picture = vlm.picture(draw_portrait(look, scene, _PORTRAIT_PIXELS))
    questions = [clean_question(question) for question in appearance(look, scene)]
    return [picture], vlm.prompt_ids(questions, picture=picture)
