"""Neural Gate (NG)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsee.core.errors import ConfigError, DataError, ModelError
from unsee.data.pairs import Occurrence, PrivacyPair, by_case, by_category, to_refuse
from unsee.edits.edit import Edit
from unsee.edits.gate_vectors import (
    Steered,
    changes,
    flips,
    gate_above,
    gate_of_share,
    published_vectors,
    random_gate,
    scaled,
    sparse_vectors,
)
from unsee.edits.layer_search import carried_over, halves
from unsee.edits.pair_rows import Scope, Sheet, make_sheet, make_sheets, queries, shuffled
from unsee.edits.partial_forward import AUTO, decoder_layers, down_name, parse_layers
from unsee.edits.tune import Course, Weights, matrices, refuse, tune, tune_as_published, working_with
from unsee.forward.hooks import Gate, frozen
from unsee.methods import METHODS
from unsee.methods.base import (
    Deltas,
    EditMethod,
    Layers,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    Work,
)
from unsee.models.vlm import VLM

CONTEXTS = (
    "{}", "The image shows that. {}", "Therefore, it is. {}", "Because I am just. {}", "I am an AI. {}",
    "You want to. {}",
)  # fmt: skip
BENIGN_WORDS = 5
PICTURES, TOKENS = 8, 2048
"""Pictures whose vectors are learned at once, at most, and where every token runs at most so many tokens of them.

Each picture has its own vectors: their number changes nothing but time and memory.
"""
_IMAGES = {"reference": 10, "clean": 1}
Epsilon = Annotated[float, Field(ge=1e-6)]  # half precision knows nothing between 6e-8 and 0
Frequencies = Mapping[str, Tensor]
Where = Literal["auto", "subject_last", "subject", "text", "every"]  # a union would make two messages of one mistake


@METHODS.register("neural_gate", paper="arXiv:2603.12598")
@dataclass(frozen=True, kw_only=True)
class NeuralGate(EditMethod):
    """Refuse private questions by editing down projections through a gate of the neurons that carry the refusal.

    `clean`: sparse factors, float32 masters, one optimiser, shuffled epochs over batches of pictures, gates that are
    independent of each other, benign answers in full. `reference`: the published procedure with its half-precision
    steps, six contexts, fresh optimiser per pair and one category after another.

    Deviation from the published code in both: the subject is the last mention in the question (see `occurrence`).

    Attributes:
        mode: "clean" or "reference".
        layers: "3", "2,5", "4-7", or "auto": the best that `locate` finds.
        gate: "learned", "random" (as many dimensions drawn blindly) or "none".
        scope: the tokens at which the gate stands: "subject_last", "subject", "text" or "every"; "auto" is
            "subject_last" in reference, as published, and "every" in clean: the gated rows alone are edited.
        vector_scope: the tokens at which the vectors are learned; "auto" is "subject_last" in reference, as published,
            and where the gate stands in clean: elsewhere they say little about the rows that the gate lets through.
        occurrence: which mention of the subject counts where there are several: "last", or "first" as published.
        benign_weight: factor of the benign loss, >= 0.
        images: pictures per category from which the gate is learned, at most; 0 for 10 in reference, as published, and
            for 1 in clean.
        threshold: reference: a dimension is in the gate if it turns in more than this share of the pictures.
        vector_epsilon: reference: Adam's epsilon for the vectors; with rate and steps it decides how many turn.
        edit_epsilon: reference: Adam's epsilon for the matrices.
        share: clean: the gate holds this share of the dimensions, those whose factors change most.
        sparsity: clean: penalty on a factor's change, as a share of the steepest first gradient, 0 to 1.
        vector_rate: clean: Adam's step of a factor.
        vector_steps: clean: steps of the factors.
        learning_rate: clean: Adam's step of a matrix, as a share of its root mean square.
        epochs: clean: passes over the pairs.
        pictures: clean: pictures per step.
    """

    reuses_frequencies: ClassVar[bool] = True

    mode: Literal["clean", "reference"] = "clean"
    layers: Layers = AUTO
    gate: Literal["learned", "random", "none"] = "learned"
    scope: Where = AUTO
    vector_scope: Where = AUTO
    occurrence: Occurrence = "last"
    benign_weight: NonNegativeFloat = 1.25
    images: NonNegativeInt = 0
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.3
    vector_epsilon: Epsilon = 1e-3
    edit_epsilon: Epsilon = 1e-3
    share: Share = 0.25
    sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.1
    vector_rate: PositiveFloat = 0.1
    vector_steps: PositiveInt = 2
    learning_rate: PositiveFloat = 0.06
    epochs: PositiveInt = 2
    pictures: PositiveInt = 1

    def compute(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Deltas:
        """Compute the edit, from the frequencies of `work.earlier` if there is one.

        Raises:
            ConfigError: the earlier edit is of another mode or vector scope, or lacks frequencies that are needed.
            ModelError: it was made for another model, or no dimension changes at a layer (clean).
        """
        if work.earlier:
            self._check(vlm, work.earlier)
        known = work.earlier.frequencies if work.earlier else None
        layers = self._layers(vlm, pairs, known)
        if self.mode == "reference":
            deltas, gates, frequencies = self._as_published(vlm, pairs, layers, known, work.seed)
        else:
            deltas, gates, frequencies = self._cleanly(vlm, pairs, layers, known, work)
        chosen = {"layers": ",".join(map(str, layers)), "vector_scope": self._vector_scope}
        return Deltas(deltas=deltas, settings=chosen, gates=gates, frequencies=frequencies)

    def locate(self, vlm: VLM, pairs: Sequence[PrivacyPair]) -> dict[int, float]:
        """What speaks against each layer from a tenth to six tenths of the depth, as published; the lowest is best.

        In reference the share of the dimensions that the gate would shut. In clean the loss that a pass over half of
        the categories (of one category, half of the pictures), through no gate, leaves on the other half, nats per
        token, mean over all pictures left out: what counts is what an edit does to subjects it did not see.

        Source: arXiv:2603.12598, Sec. 3.2.3. Deviation: nothing is chosen by a score on test questions.

        Raises:
            DataError: reference: there is nothing to refuse.
        """
        depth = len(decoder_layers(vlm))
        layers = range(round(depth / 10), min(depth - 1, int(depth * 0.6)) + 1)
        if self.mode == "clean":
            course = Course(learning_rate=self.learning_rate, epochs=1)
            sheets = [self._sheets(vlm, half, 0) for half in halves(pairs)]
            return {layer: carried_over(vlm, sheets, layer, course, self.benign_weight) for layer in layers}
        return {layer: self._shut(vlm, pairs, layer) for layer in layers}

    def _shut(self, vlm: VLM, pairs: Sequence[PrivacyPair], layer: int) -> float:
        if not (private := to_refuse(pairs)):
            raise DataError("layers: 'auto' looks for the layer that refuses best, and no pair has anything to refuse")
        found = self._frequencies(vlm, by_category(private), [layer])
        return 1 - float(
            torch.stack([self._cut(frequency_LD[0]).float().mean() for frequency_LD in found.values()]).mean()
        )

    @property
    def _gate_scope(self) -> Scope:
        if self.scope == AUTO:
            return "subject_last" if self.mode == "reference" else "every"
        return self.scope

    @property
    def _vector_scope(self) -> Scope:
        if self.vector_scope == AUTO:
            return "subject_last" if self.mode == "reference" else self._gate_scope
        return self.vector_scope

    def _check(self, vlm: VLM, earlier: Edit) -> None:
        """Refuse frequencies that mean something else here."""
        if earlier.model != vlm.fingerprint():
            raise ModelError(f"frequencies: edit {earlier.id} was made for another model than {vlm.id}")
        if not earlier.frequencies:
            raise ConfigError(f"frequencies: edit {earlier.id} ({earlier.method}) keeps none")
        for name, wanted in (("mode", self.mode), ("vector_scope", self._vector_scope)):
            if (found := earlier.settings.get(name, "subject_last")) != wanted:  # older edits do not say
                raise ConfigError(f"frequencies: edit {earlier.id} is of {name} '{found}', and '{wanted}' is asked for")

    def _layers(self, vlm: VLM, pairs: Sequence[PrivacyPair], known: Frequencies | None) -> list[int]:
        if self.layers != AUTO:
            return parse_layers(vlm, self.layers)
        if known is not None:
            return sorted({int(key.rpartition("/")[2]) for key in known})
        against = self.locate(vlm, pairs)
        return [min(against, key=against.__getitem__)]

    def _frequencies(
        self, vlm: VLM, categories: Mapping[str, Sequence[PrivacyPair]], layers: Sequence[int]
    ) -> dict[str, Tensor]:
        """What the gate of each category is cut from, (L, D)."""
        count = self.images or _IMAGES[self.mode]
        cases = [case for pairs in categories.values() for case in by_case(pairs)[:count]]
        found = []
        at_once = self._at_once(vlm, cases)
        for start in range(0, len(cases), at_once):
            sheet = self._questions(vlm, cases[start : start + at_once])
            with frozen(vlm.model):
                steered = Steered(vlm, sheet, layers, combine=scaled, scope=self._vector_scope)
                if self.mode == "reference":
                    vectors = published_vectors(
                        steered, len(layers), benign_weight=self.benign_weight, epsilon=self.vector_epsilon
                    )
                else:
                    vectors = sparse_vectors(
                        steered, len(layers), benign_weight=self.benign_weight, sparsity=self.sparsity,
                        rate=self.vector_rate, steps=self.vector_steps,
                    )  # fmt: skip
            found.append(vectors)
        vectors_BLD = torch.cat(found)
        frequency = flips if self.mode == "reference" else changes
        own = [case[0].category for case in cases]
        return {name: frequency(vectors_BLD[[one == name for one in own]]) for name in categories}

    def _at_once(self, vlm: VLM, cases: Sequence[Sequence[PrivacyPair]]) -> int:
        if self._vector_scope in ("subject_last", "subject"):
            return PICTURES
        widest = max(self._questions(vlm, [case]).scopes["every"].shape[1] for case in cases)
        return min(PICTURES, max(1, TOKENS // widest))

    def _questions(self, vlm: VLM, cases: Sequence[Sequence[PrivacyPair]]) -> Sheet:
        if self.mode == "reference":
            asked = [queries([case[0].requested()], contexts=CONTEXTS, benign_words=BENIGN_WORDS) for case in cases]
        else:
            asked = [queries(case) for case in cases]
        return make_sheet(vlm, asked, occurrence=self.occurrence)

    def _cut(self, frequency_D: Tensor) -> Tensor:
        if self.mode == "reference":
            return gate_above(frequency_D, self.threshold)
        return gate_of_share(frequency_D, self.share)

    def _gates(
        self, vlm: VLM, pairs: Sequence[PrivacyPair], layers: Sequence[int], known: Frequencies | None, seed: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Gates and frequencies by "category/layer"; none without a gate, or of categories with nothing to refuse."""
        categories = by_category(to_refuse(pairs)) if self.gate != "none" else {}
        keys = [f"{category}/{layer}" for category in categories for layer in layers]
        if not keys:
            return {}, {}
        if known is None:
            found = self._frequencies(vlm, categories, layers)
            frequencies = dict(zip(keys, torch.cat([*found.values()]), strict=True))
        elif lacking := [key for key in keys if key not in known]:
            raise ConfigError(f"frequencies: there are none of {lacking[0]} (known: {', '.join(sorted(known))})")
        else:
            frequencies = {key: known[key].to(vlm.device) for key in keys}
        gates = {key: self._cut(frequency_D) for key, frequency_D in frequencies.items()}
        closed = [key for key, gate_D in gates.items() if not gate_D.any()]
        if closed and self.mode == "clean":  # the published numbers may open nothing; that is a result
            raise ModelError(f"gate {closed[0]}: no dimension changes at this layer; choose another, or less sparsity")
        if self.gate == "random":
            gates = {key: random_gate(gate_D, f"{seed} {key}") for key, gate_D in gates.items()}
        return gates, frequencies

    def _through(
        self, vlm: VLM, sheet: Sheet, cases: Sequence[Sequence[PrivacyPair]], layers: Sequence[int],
        gates: Mapping[str, Tensor],
    ) -> dict[str, Gate]:  # fmt: skip
        """The gates of a sheet by matrix: each picture has its category's, or all of them as one if that has none."""
        through = {}
        for layer in layers if gates else ():
            here = {key: gate_D for key, gate_D in gates.items() if key.endswith(f"/{layer}")}
            any_D = torch.stack(list(here.values())).any(0)
            open_BD = torch.stack([here.get(f"{case[0].category}/{layer}", any_D) for case in cases])
            through[down_name(vlm, layer)] = Gate(sheet.scopes[self._gate_scope], open_BD)
        return through

    def _cleanly(
        self, vlm: VLM, pairs: Sequence[PrivacyPair], layers: Sequence[int], known: Frequencies | None, work: Work
    ) -> tuple[Weights, dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
        gates, frequencies = self._gates(vlm, pairs, layers, known, work.seed)
        names = [down_name(vlm, layer) for layer in layers]
        sheets = self._sheets(vlm, pairs, work.seed)
        groups = shuffled(pairs, self.pictures, work.seed)
        through = [self._through(vlm, sheet, group, layers, gates) for sheet, group in zip(sheets, groups, strict=True)]
        course = Course(learning_rate=self.learning_rate, epochs=self.epochs)
        objective, shown = refuse(self.benign_weight), work.progress
        deltas = tune(vlm, sheets, names, course, objective, gates=through, seed=work.seed, progress=shown)
        return deltas, gates, frequencies

    def _sheets(self, vlm: VLM, pairs: Sequence[PrivacyPair], seed: int) -> list[Sheet]:
        return make_sheets(vlm, pairs, pictures=self.pictures, seed=seed, occurrence=self.occurrence)

    def _as_published(
        self, vlm: VLM, pairs: Sequence[PrivacyPair], layers: Sequence[int], known: Frequencies | None, seed: int
    ) -> tuple[Weights, dict[str, Tensor], dict[str, Tensor]]:
        names = [down_name(vlm, layer) for layer in layers]
        start = {name: matrix.half() for name, matrix in matrices(vlm, names).items()}
        weights = {name: matrix.clone() for name, matrix in start.items()}
        gates: dict[str, Tensor] = {}
        frequencies: dict[str, Tensor] = {}
        for some in by_category(pairs).values():
            with working_with(vlm, weights):
                own, found = self._gates(vlm, some, layers, known, seed)
            gates |= own
            frequencies |= found
            for pair in (pair for case in by_case(some) for pair in case):
                asked = queries([pair], benign_words=BENIGN_WORDS)
                sheet = make_sheet(vlm, [asked], occurrence=self.occurrence)
                through = self._through(vlm, sheet, [[pair]], layers, gates)
                with frozen(vlm.model):
                    tune_as_published(
                        vlm, sheet, weights, through, benign_weight=self.benign_weight, epsilon=self.edit_epsilon
                    )
        return {name: weights[name].float() - start[name].float() for name in names}, gates, frequencies
