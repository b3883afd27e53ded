"""Detoxifying with intraoperative neural monitoring (DINM)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from unsee.config.search import Range
from unsee.data.pairs import PrivacyPair, to_refuse
from unsee.edits.pair_rows import PairRows, Query, greedy_answers, make_pair_rows, shuffled_pair_rows
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.tune import TuningPlan, tune
from unsee.forward.hooks import capture
from unsee.forward.losses import Scored, kl_divergence
from unsee.methods import METHODS
from unsee.methods.base import Deltas, EditMethod, NonNegativeFloat, PositiveFloat, PositiveInt, Work
from unsee.models.vlm import VLM


@METHODS.register("dinm", paper="arXiv:2403.14472", label="DINM")
@dataclass(frozen=True, kw_only=True)
class DINM(EditMethod):
    """Tune the down projection of the layer whose states differ most between refusing and answering.

    Deviations: the unsafe answer is the model's own greedy answer; the general questions whose answers are kept are
    the benign ones; the learning rate is relative to the matrix, not 5e-4.

    Attributes:
        keep_weight: factor of KL(unedited || edited) on the benign answers, >= 0.
        learning_rate: Adam's step as a share of the matrix's root mean square, > 0.
        epochs: passes over the pairs.
        pictures: pictures per step.
        answer_tokens: longest own answer of the model to a private question.
    """

    keep_weight: NonNegativeFloat = 1.0
    learning_rate: Annotated[PositiveFloat, Range(0.01, 0.3)] = 0.06
    epochs: Annotated[PositiveInt, Range(1, 6)] = 2
    pictures: PositiveInt = 1
    answer_tokens: PositiveInt = 24

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Minimise `CE(refusal) + keep_weight * KL(unedited || edited)` in the layer with the largest distance."""
        distances = self.distances(vlm, pairs)
        name = down_name(vlm, int(distances.argmax()))
        batches = shuffled_pair_rows(vlm, pairs, pictures=self.pictures, seed=work.seed)
        plan = TuningPlan(learning_rate=self.learning_rate, epochs=self.epochs)
        deltas = tune(
            vlm, batches, [name], plan, self._objective, compares=True, seed=work.seed, progress=work.progress
        )
        return Deltas(deltas=deltas, settings={"layer": int(distances.argmax())})

    def distances(self, vlm: VLM, pairs: Sequence[PrivacyPair]) -> Tensor:
        """Compute the distance, at each layer, of the last state of the refusal from that of the own answer, mean."""
        pairs = to_refuse(pairs)
        said = greedy_answers(vlm, [(pair, pair.sensitive) for pair in pairs], self.answer_tokens)
        totals = torch.zeros(len(decoder_layers(vlm)), device=vlm.device)
        for start in range(0, len(pairs), self.pictures):
            group = list(zip(pairs, said, strict=True))[start : start + self.pictures]
            refused = [[Query(pair, pair.sensitive, pair.refusal, True)] for pair, _ in group]
            leaked = [[Query(pair, pair.sensitive, own or pair.sensitive, True)] for pair, own in group]
            apart = _last_states(vlm, make_pair_rows(vlm, refused)) - _last_states(vlm, make_pair_rows(vlm, leaked))
            totals += apart.norm(dim=-1).sum(1)
        return totals / len(pairs)

    def _objective(self, scored: Scored, before: Scored | None, rows: PairRows) -> Tensor:
        benign_N = ~rows.sensitive_I[scored.item_N]
        loss = rows.loss_B(scored, 0.0).mean()
        if before is None or not benign_N.any():
            return loss
        return loss + self.keep_weight * kl_divergence(before.only(benign_N), scored.only(benign_N))


@torch.no_grad()
def _last_states(vlm: VLM, rows: PairRows) -> Tensor:
    """Return the output of every layer at the last token of every answer, (layers, I, D)."""
    batch = rows.batch
    last_I = torch.stack([batch.source_N[batch.item_N == item][-1] for item in range(batch.num_items)])
    with capture(decoder_layers(vlm)) as seen:
        vlm.hidden(batch.inputs)
    return torch.stack([layer.output.flatten(0, 1)[last_I].float() for layer in seen])
