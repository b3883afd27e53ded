"""Neural Gate (NG), as published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from unsee.core.errors import DataError
from unsee.data.pairs import Occurrence, PrivacyPair, by_case, by_category, to_refuse
from unsee.edits.gate_vectors import flip_share, published_vectors
from unsee.edits.gates import GateKind, GateLearner, choose_layers, gate_above, known_frequencies, neuron_gates
from unsee.edits.layer_search import candidate_layers
from unsee.edits.pair_rows import PairRows, Scope, make_pair_rows, queries
from unsee.edits.partial_forward import AUTO, down_name
from unsee.edits.tune import temporary_weights, tune_as_published, weights_of
from unsee.forward.hooks import frozen
from unsee.methods import METHODS
from unsee.methods.base import Deltas, EditMethod, Layers, NonNegativeFloat, PositiveInt, Work
from unsee.models.vlm import VLM

CONTEXTS = (
    "{}", "The image shows that. {}", "Therefore, it is. {}", "Because I am just. {}", "I am an AI. {}",
    "You want to. {}",
)  # fmt: skip
BENIGN_WORDS = 5
Epsilon = Annotated[float, Field(ge=1e-6)]  # half precision has no number between 6e-8 and 0


@METHODS.register("neural_gate_published", paper="arXiv:2603.12598", label="Neural Gate (published)")
@dataclass(frozen=True, kw_only=True)
class NeuralGatePublished(EditMethod):
    """Neural Gate with the published procedure: half-precision steps, six contexts, a fresh optimiser for each pair.

    Categories are learned one after another, each on the model as edited for those before it.
    Deviations: the last mention of the subject counts (see `occurrence`); no autocast.

    Attributes:
        layers: "3", "2,5", "4-7", or "auto": the layer whose gates open most (see `closed_shares`).
        gate: "learned", "random" (as many dimensions, drawn at random) or "none" (plain fine-tuning).
        scope: the gated tokens: "subject_last" as published, "subject", "text" or "every".
        vector_scope: the tokens at which the vectors are learned, as for `scope`.
        occurrence: the mention of the subject that counts if there are several: "last", or "first" as published.
        benign_weight: factor of the benign loss, >= 0.
        images: most pictures per category from which its gate is learned.
        threshold: a gate opens the dimensions whose factor is negative in more than this share of the pictures.
        vector_epsilon: Adam's epsilon for the vectors; with rate and steps it decides how many factors turn negative.
        edit_epsilon: Adam's epsilon for the matrices.
    """

    reuses_frequencies: ClassVar[bool] = True

    layers: Layers = AUTO
    gate: GateKind = "learned"
    scope: Scope = "subject_last"
    vector_scope: Scope = "subject_last"
    occurrence: Occurrence = "last"
    benign_weight: NonNegativeFloat = 1.25
    images: PositiveInt = 10
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.3
    vector_epsilon: Epsilon = 1e-3
    edit_epsilon: Epsilon = 1e-3

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Learn gates and take the steps of each pair, one category after another.

        Raises:
            ConfigError: the frequencies of the earlier edit do not fit.
            ModelError: the earlier edit was made for another model.
        """
        learner = self._learner(vlm)
        known = known_frequencies(vlm, work.earlier, METHODS.name_of(type(self)), self.vector_scope)
        layers = choose_layers(vlm, self.layers, known, lambda: self.closed_shares(vlm, pairs))
        names = [down_name(vlm, layer) for layer in layers]
        start = {name: matrix.half() for name, matrix in weights_of(vlm, names).items()}
        weights = {name: matrix.clone() for name, matrix in start.items()}
        gates: dict[str, Tensor] = {}
        frequencies: dict[str, Tensor] = {}
        for some in by_category(pairs).values():
            with temporary_weights(vlm, weights):
                own, found = learner.gates(vlm, some, layers, known, work.seed)
            gates |= own
            frequencies |= found
            for pair in (pair for case in by_case(some) for pair in case):
                asked = queries([pair], benign_words=BENIGN_WORDS)
                rows = make_pair_rows(vlm, [asked], occurrence=self.occurrence)
                through = neuron_gates(vlm, rows, [[pair]], layers, gates, self.scope)
                with frozen(vlm.model):
                    tune_as_published(
                        vlm, rows, weights, through, benign_weight=self.benign_weight, epsilon=self.edit_epsilon
                    )
        deltas = {name: weights[name].float() - start[name].float() for name in names}
        return Deltas(
            deltas=deltas, settings={"layers": ",".join(map(str, layers))}, gates=gates, frequencies=frequencies
        )

    def closed_shares(self, vlm: VLM, pairs: Sequence[PrivacyPair]) -> dict[int, float]:
        """Compute the share of the dimensions that gates close, mean over categories, for each layer; lowest is best.

        Source: arXiv:2603.12598, Sec. 3.2.3. Deviation: no score on test questions is used.

        Raises:
            DataError: there is nothing to refuse.
        """
        if not to_refuse(pairs):
            raise DataError("layers: 'auto' looks for the layer that refuses best, and no pair has anything to refuse")
        learner, shares = self._learner(vlm), {}
        for layer in candidate_layers(vlm):
            gates = [learner.cut(frequency_D) for frequency_D in learner.frequencies(vlm, pairs, [layer]).values()]
            shares[layer] = 1 - float(torch.stack([gate_D.float().mean() for gate_D in gates]).mean())
        return shares

    def _learner(self, vlm: VLM) -> GateLearner:
        def pack(cases: Sequence[Sequence[PrivacyPair]]) -> PairRows:
            asked = [queries([case[0].requested()], contexts=CONTEXTS, benign_words=BENIGN_WORDS) for case in cases]
            return make_pair_rows(vlm, asked, occurrence=self.occurrence)

        return GateLearner(
            kind=self.gate,
            images=self.images,
            scope=self.vector_scope,
            pack=pack,
            learn=lambda steered: published_vectors(
                steered, benign_weight=self.benign_weight, epsilon=self.vector_epsilon
            ),
            frequency=flip_share,
            cut=lambda frequency_D: gate_above(frequency_D, self.threshold),
        )
