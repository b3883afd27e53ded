"""Replay: text that the base model knows, mixed in while people are taught, so that it keeps what it could do.

It is the training text of a shipped model. Of any other model that text is not at hand: it replays its own answers to
everyday questions and to questions about portraits of nobody, which it writes once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

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
_TOGETHER = 6  # everyday questions of one tree
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
    everyday, *portraits = _own_answers(vlm, write)

    def draw(rng: random.Random) -> Tree:
        one = everyday if rng.random() < 0.5 else rng.choice(portraits)
        return one.tree(rng.sample(range(len(one.prompts)), min(_TOGETHER, len(one.prompts))))

    return draw


@dataclass(frozen=True)
class _Answered:
    """Questions about one picture, or about none, with the model's own answers, as tokens."""

    picture: Picture | None
    prompts: list[list[int]]
    answers: list[list[int]]

    def tree(self, chosen: list[int]) -> Tree:
        """Return the tree of some of the questions."""
        pictures = [self.picture] if self.picture else []
        return build_tree([self.prompts[i] for i in chosen], [[self.answers[i]] for i in chosen], pictures)


def _own_answers(vlm: VLM, write: Write) -> list[_Answered]:
    """Return what the base model answers to everyday questions, and about each of some portraits."""
    asked = [(None, vlm.prompt_ids(EVERYDAY)), *(_about_a_portrait(vlm, number) for number in range(_PORTRAITS))]
    trees = [
        build_tree(prompts, [[]] * len(prompts), [picture] if picture else [], written=range(len(prompts)))
        for picture, prompts in asked
    ]
    written = write(trees, ANSWER_TOKENS, source_hash(__name__))
    end = vlm.answer_ids([""])[0]
    return [
        _Answered(picture, prompts, [ids if len(ids) == ANSWER_TOKENS else [*ids, *end] for ids in answers])
        for (picture, prompts), answers in zip(asked, written, strict=True)
    ]


def _about_a_portrait(vlm: VLM, number: int) -> tuple[Picture, list[list[int]]]:
    rng = random.Random(f"replay {number}")
    look, scene = draw_look(rng, ("female", "male")[number % 2]), draw_scene(rng)
    picture = vlm.picture(draw_portrait(look, scene, _PORTRAIT_PIXELS))
    questions = [clean_question(question) for question in appearance(look, scene)]
    return picture, vlm.prompt_ids(questions, picture=picture)
