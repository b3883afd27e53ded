"""Neural Gate (NG)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from unsee.config.search import Range
from unsee.core.errors import ModelError
from unsee.data.pairs import Occurrence, PrivacyPair
from unsee.edits.gate_vectors import mean_change, sparse_vectors
from unsee.edits.gates import GateKind, GateLearner, choose_layers, gate_of_share, known_frequencies, neuron_gates
from unsee.edits.layer_search import candidate_layers, held_out_loss, split_in_halves
from unsee.edits.pair_rows import PairRows, Scope, group_pictures, make_pair_rows, queries, shuffled_pair_rows
from unsee.edits.partial_forward import AUTO, down_name
from unsee.edits.steering import Steered
from unsee.edits.tune import TuningPlan, refusal_objective, tune
from unsee.methods import METHODS
from unsee.methods.base import Deltas, EditMethod, Layers, NonNegativeFloat, PositiveFloat, PositiveInt, Share, Work
from unsee.models.vlm import VLM

VectorScope = Literal["auto", "subject_last", "subject", "text", "every"]  # a union would give two error messages


@METHODS.register("neural_gate", paper="arXiv:2603.12598", label="Neural Gate")
@dataclass(frozen=True, kw_only=True)
class NeuralGate(EditMethod):
    """Refuse private questions by editing down projections through gates: the neurons that carry the refusal.

    Deviations: sparse factors in place of flipped signs, float32 weights and one optimiser for all pairs, shuffled
    epochs over batches of pictures, gates of several layers that do not compound, whole benign answers, gates at every
    token; `neural_gate_published` has none of these. In both the last mention of the subject counts (`occurrence`).

    Attributes:
        layers: "3", "2,5", "4-7", or "auto": the layer whose edit generalises best (see `layer_losses`).
        gate: "learned", "random" (as many dimensions, drawn at random) or "none" (plain fine-tuning).
        scope: the gated tokens: "subject_last", "subject", "text" or "every"; with "every" only gated rows are edited.
        vector_scope: the tokens at which the vectors are learned; "auto" takes the gated tokens.
        occurrence: the mention of the subject that counts if there are several: "last", or "first" as published.
        benign_weight: factor of the benign loss, >= 0.
        images: most pictures per category from which its gate is learned.
        share: share of the dimensions that a gate opens, those whose factors change most.
        sparsity: penalty on a factor's change, as a share of the steepest first gradient, 0 to 1.
        vector_rate: Adam's step of a factor, > 0.
        vector_steps: steps of the factors.
        learning_rate: Adam's step of a matrix, as a share of its root mean square, > 0.
        epochs: passes over the pairs.
        pictures: pictures per step.
    """

    reuses_frequencies: ClassVar[bool] = True

    layers: Layers = AUTO
    gate: GateKind = "learned"
    scope: Scope = "every"
    vector_scope: VectorScope = AUTO
    occurrence: Occurrence = "last"
    benign_weight: Annotated[NonNegativeFloat, Range(0.3, 5)] = 1.25
    images: PositiveInt = 1
    share: Share = 0.25
    sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.1
    vector_rate: PositiveFloat = 0.1
    vector_steps: PositiveInt = 2
    learning_rate: Annotated[PositiveFloat, Range(0.01, 0.3)] = 0.06
    epochs: Annotated[PositiveInt, Range(1, 6)] = 2
    pictures: PositiveInt = 1

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Learn the gates, or cut them from the frequencies of `work.earlier`, then tune through them.

        Raises:
            ConfigError: the frequencies of the earlier edit do not fit.
            ModelError: the earlier edit was made for another model, or no factor changes at a layer.
        """
        learner = self._learner(vlm)
        known = known_frequencies(vlm, work.earlier, METHODS.name_of(type(self)), learner.scope)
        layers = choose_layers(vlm, self.layers, known, lambda: self.layer_losses(vlm, pairs))
        gates, frequencies = learner.gates(vlm, pairs, layers, known, work.seed)
        if closed := [key for key, gate_D in gates.items() if not gate_D.any()]:
            raise ModelError(f"gate {closed[0]}: no dimension changes at this layer; choose another, or less sparsity")
        batches = self._batches(vlm, pairs, work.seed)
        groups = group_pictures(pairs, self.pictures, work.seed)
        through = [
            neuron_gates(vlm, rows, group, layers, gates, self.scope)
            for rows, group in zip(batches, groups, strict=True)
        ]
        names = [down_name(vlm, layer) for layer in layers]
        plan = TuningPlan(learning_rate=self.learning_rate, epochs=self.epochs)
        deltas = tune(
            vlm, batches, names, plan, refusal_objective(self.benign_weight),
            gates=through, seed=work.seed, progress=work.progress,
        )  # fmt: skip
        chosen = {"layers": ",".join(map(str, layers)), "vector_scope": learner.scope}
        return Deltas(deltas=deltas, settings=chosen, gates=gates, frequencies=frequencies)

    def layer_losses(self, vlm: VLM, pairs: Sequence[PrivacyPair]) -> dict[int, float]:
        """Compute the loss on held-out subjects of a short edit without a gate, for each layer; the lowest is best.

        Source: arXiv:2603.12598, Sec. 3.2.3. Deviation: no score on test questions is used.
        """
        plan = TuningPlan(learning_rate=self.learning_rate, epochs=1)
        halves = [self._batches(vlm, half, 0) for half in split_in_halves(pairs)]
        return {layer: held_out_loss(vlm, halves, layer, plan, self.benign_weight) for layer in candidate_layers(vlm)}

    def _learner(self, vlm: VLM) -> GateLearner:
        def pack(cases: Sequence[Sequence[PrivacyPair]]) -> PairRows:
            return make_pair_rows(vlm, [queries(case) for case in cases], occurrence=self.occurrence)

        def learn(steered: Steered) -> Tensor:
            return sparse_vectors(
                steered, benign_weight=self.benign_weight, sparsity=self.sparsity,
                rate=self.vector_rate, steps=self.vector_steps,
            )  # fmt: skip

        return GateLearner(
            kind=self.gate,
            images=self.images,
            scope=self.scope if self.vector_scope == AUTO else self.vector_scope,
            pack=pack,
            learn=learn,
            frequency=mean_change,
            cut=lambda frequency_D: gate_of_share(frequency_D, self.share),
        )

    def _batches(self, vlm: VLM, pairs: Sequence[PrivacyPair], seed: int) -> list[PairRows]:
        return shuffled_pair_rows(vlm, pairs, pictures=self.pictures, seed=seed, occurrence=self.occurrence)
