"""Modality-aware neuron unlearning (MANU): prune the neurons that matter to what is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from unsee.config.search import Range
from unsee.data.schema import Input
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.tune import linear_module
from unsee.forward.hooks import capture
from unsee.forward.trees import Batch
from unsee.methods import METHODS
from unsee.methods.base import Asked, Batches, Deltas, Share, StatisticsMethod, Work
from unsee.models.vlm import VLM

ACTIVE = 0.1  # a neuron counts as active above this
GAP_EPSILON, RATIO_EPSILON = 1e-6, 1e-5
CODE_WEIGHTS = (2.0, 0.0, 2.0, 2.0)  # of the absolute, frequency, variance and root-mean-square scores


@dataclass(frozen=True)
class Activity:
    """Means over answers of what each neuron does at the last token; neurons of all layers one after another (J).

    Attributes:
        size_J: the absolute value.
        active_J: 1 where it is above `ACTIVE`.
        square_J: the square.
        variance_J: the variance.
    """

    size_J: Tensor
    active_J: Tensor
    square_J: Tensor
    variance_J: Tensor


@METHODS.register("manu", paper="arXiv:2502.15910", label="MANU")
@dataclass(frozen=True, kw_only=True)
class MANU(StatisticsMethod):
    """Prune the neurons whose activity differs most between image and text on what is forgotten and least on the rest.

    A neuron is an input of a down projection of the decoder, z its value at the token that predicts the last one of an
    answer, m an image and t a text question. Source: arXiv:2502.15910: the importance on a side is the sum of
    `|zm - zt| / (zm + zt)` of the mean absolute values, the same of the shares of answers with |z| > 0.1, the root of
    the same of the mean squares, and `sqrt(var m + var t)`; the score is importance(forget) / importance(retain); the
    neurons with the highest scores of all layers are set to 0. The variant "code" has the scores of the authors' code,
    `2 abs + 2 std + 2 rms`, each as forget / retain - 1, for image and for text questions, and prunes the best of both.
    Deviations: means in place of sums, because a person may have more questions of one kind; the vision tower is left
    alone. The authors' code scores outputs of five matrices of a few layers and sets rows to 0, which for the down
    projection are no neurons; here both variants prune the same kind of neuron, in all layers.

    Attributes:
        share: share of the decoder's neurons to prune, > 0; with "code" for each way of asking. Published: .02 to .1.
        variant: the scores: "paper" or "code".
    """

    share: Annotated[Share, Range(0.005, 0.2)] = 0.02
    variant: Literal["paper", "code"] = "paper"

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Both ways of asking, which the scores compare."""
        return ("image", "text")

    def compute(self, vlm: VLM, batches: Batches, work: Work) -> Deltas:
        """Return the changes that set the columns of the chosen neurons to 0."""
        activity: dict[Asked, Activity] = {}
        with work.progress.task("neurons", len(self.sides) * len(self.inputs)) as advance:
            for side in self.sides:
                for kind in self.inputs:
                    activity[side, kind] = observe(vlm, batches(side, kind))
                    advance(1)
        chosen_J = self.chosen(activity)
        names = [down_name(vlm, layer) for layer in range(len(decoder_layers(vlm)))]
        matrices = [linear_module(vlm, name).weight.detach().float() for name in names]
        per_layer = chosen_J.split([matrix.shape[1] for matrix in matrices])
        deltas = {name: -matrix * one for name, matrix, one in zip(names, matrices, per_layer, strict=True)}
        return Deltas(deltas=deltas, settings={"neurons": int(chosen_J.sum())})

    def chosen(self, activity: dict[Asked, Activity]) -> Tensor:
        """Return True for the neurons to prune, from what they do on each side with image and text questions."""
        if self.variant == "paper":
            forget, retain = (importance(activity[side, "image"], activity[side, "text"]) for side in self.sides)
            scores = [forget / (retain + GAP_EPSILON)]
        else:
            scores = [ratio_score(activity["forget", kind], activity["retain", kind]) for kind in self.inputs]
        chosen_J = torch.zeros_like(scores[0], dtype=torch.bool)
        for score_J in scores:
            chosen_J[score_J.topk(max(1, round(self.share * len(score_J)))).indices] = True
        return chosen_J


@torch.no_grad()
def observe(vlm: VLM, batches: Iterator[Batch]) -> Activity:
    """Return what the neurons of all decoder layers do at the token that predicts the last one of each answer."""
    downs = [linear_module(vlm, down_name(vlm, layer)) for layer in range(len(decoder_layers(vlm)))]
    count, sums = 0, []
    for batch in batches:
        is_last_N = batch.item_N != torch.cat([batch.item_N[1:], batch.item_N.new_tensor([-1])])
        with capture(downs) as seen:
            vlm.hidden(batch.inputs)
        value_IJ = torch.cat([one.input.flatten(0, 1)[batch.source_N[is_last_N]] for one in seen], 1).double()
        parts = (value_IJ, value_IJ.abs(), (value_IJ.abs() > ACTIVE).double(), value_IJ.square())
        sums.append(torch.stack([part.sum(0) for part in parts]))
        count += len(value_IJ)
    mean_J, size_J, active_J, square_J = torch.stack(sums).sum(0) / count
    return Activity(size_J, active_J, square_J, (square_J - mean_J.square()).clamp(min=0))


def importance(image: Activity, text: Activity) -> Tensor:
    """Return the importance of each neuron by the gap between both ways of asking."""
    spread_J = (image.variance_J + text.variance_J).sqrt()
    return (
        gap(image.size_J, text.size_J)
        + gap(image.active_J, text.active_J)
        + spread_J
        + gap(image.square_J, text.square_J).sqrt()
    )


def gap(one_J: Tensor, other_J: Tensor) -> Tensor:
    """Return the difference of two positive numbers in units of their sum, 0 to 1."""
    return (one_J - other_J).abs() / (one_J + other_J + GAP_EPSILON)


def ratio_score(forget: Activity, retain: Activity) -> Tensor:
    """Return the score of the authors' code: how much more a neuron does on what is forgotten."""
    one, other = ((of.size_J, of.active_J, of.variance_J.sqrt(), of.square_J.sqrt()) for of in (forget, retain))
    ratios = [mine / (theirs + RATIO_EPSILON) - 1 for mine, theirs in zip(one, other, strict=True)]
    return torch.stack([weight * ratio for weight, ratio in zip(CODE_WEIGHTS, ratios, strict=True)]).sum(0)
