"""The data of a stage: one stream for each group of sides, with replay mixed in, and single passes for statistics."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import get_args

from unsee.config.protocols import TrainingConfig
from unsee.data.people.questions import training_text
from unsee.data.schema import Input
from unsee.forward.trees import Tree
from unsee.methods.base import Asked, Batches, GradientMethod, Others, Side, StepBatch
from unsee.models.vlm import VLM
from unsee.runs.method_runs import INPUTS, Material
from unsee.training.batches import MakeRows, Row, Stream
from unsee.training.lessons import Lessons

DrawTree = Callable[[random.Random], Tree]
Write = Callable[[Sequence[Tree], int, str], list[list[list[int]]]]
"""Returns the answers to the prompts of each tree, as tokens without end token, at most so many.

The last argument is a hash of everything that decides the trees: answers are written once for each.
"""


def side_streams(
    vlm: VLM,
    sides: Sequence[Side],
    material: Material,
    inputs: Sequence[Input],
    seed: str,
    *,
    retain_inputs: Sequence[Input] | None = None,
    whole_sides: Sequence[Side] = (),
    others: Others = "retain",
) -> list[Stream]:
    """Return one stream for the forget side and the sides aligned with it, and one for the retain side.

    Args:
        vlm: the model, whose tokenizer and image processor are used.
        sides: the sides that a method looks at; the first decides which stream comes first.
        material: the people on each side, and how a step is made up.
        inputs: how the people to forget are asked about.
        seed: of the rows and their order, together with the side.
        retain_inputs: how the people to keep are asked about; by default as the recipe says.
        whole_sides: the sides of which every position is scored.
        others: who takes the place of the people to forget on these sides (`IN_PLACE`); people to keep where nobody is
            invented, as in a run about documents.
    """
    config = material.unlearn
    in_place = (others == "strangers" and material.strangers) or material.retain
    streams = []
    for group in _aligned(sides):
        people, kinds = material.forget, inputs
        if group == ("retain",):
            people, kinds = material.retain, retain_inputs or INPUTS[config.retain_modality]
        lessons = Lessons(
            vlm, people, kinds, config.turns, config.protocol, variants=config.variants, sides=group,
            others=in_place,
            stand_ins=material.stand_ins, seed=seed,
        )  # fmt: skip
        stream = make_stream(vlm, lessons.rows, group, config, f"{seed}-{group[0]}")
        streams.append(replace(stream, whole_sides=tuple(side for side in group if side in whole_sides)))
    return streams


def ways_of_asking(material: Material) -> dict[Side, set[Input]]:
    """Return how the training text of each side is asked."""
    forget, retain = (
        {question.input for person in people for question in training_text(person)}
        for people in (material.forget, material.retain)
    )
    return {side: retain if side == "retain" else forget for side in get_args(Side)}


def one_pass(vlm: VLM, asked: Asked, material: Material, seed: str) -> Iterator[StepBatch]:
    """Yield the batches of one pass over the questions of a side that are asked in one way, if there are some."""
    side, kind = asked
    if kind in ways_of_asking(material)[side]:
        (stream,) = side_streams(vlm, (side,), material, (kind,), seed, retain_inputs=(kind,))
        yield from stream.epoch(0)


def batches_of(vlm: VLM, material: Material, seed: str) -> Batches:
    """Return what a method calls for one pass over the questions of a side that are asked in one way."""
    return lambda side, kind: (step.of(side).to(vlm.device) for step in one_pass(vlm, (side, kind), material, seed))


def fisher_questions(
    vlm: VLM, method: GradientMethod, material: Material, seed: str
) -> dict[Asked, Iterator[StepBatch]]:
    """Return one pass over the questions whose Fisher information a method asks for, as far as there are some."""
    kinds = ways_of_asking(material)
    return {asked: one_pass(vlm, asked, material, seed) for asked in method.fisher if asked[1] in kinds[asked[0]]}


def make_stream(vlm: VLM, make_rows: MakeRows, sides: tuple[Side, ...], config: TrainingConfig, seed: str) -> Stream:
    """Return the stream of some rows, batched as a recipe says."""
    return Stream(
        make_rows=make_rows,
        sides=sides,
        vlm=vlm,
        seed=seed,
        batch_tokens=config.batch_tokens,
        batch_examples=config.batch_examples,
        labels=config.labels,
    )


def with_replay(make_rows: MakeRows, draw: DrawTree, share: float) -> MakeRows:
    """Add trees to the rows of each epoch until they hold a share of all tokens."""

    def mixed(rng: random.Random) -> list[Row]:
        rows = make_rows(rng)
        wanted = sum(tree.num_tokens for (tree,) in rows) * share / (1 - share)
        while wanted > 0:
            rows.append((draw(rng),))
            wanted -= rows[-1][0].num_tokens
        return rows

    return mixed


def _aligned(sides: Sequence[Side]) -> list[tuple[Side, ...]]:
    """Group the sides about people to forget, which are aligned answer by answer, and the retain side."""
    forget: tuple[Side, ...] = tuple(side for side in sides if side != "retain")
    retain: tuple[Side, ...] = tuple(side for side in sides if side == "retain")
    groups = [group for group in (forget, retain) if group]
    return groups[::-1] if sides[0] == "retain" else groups
