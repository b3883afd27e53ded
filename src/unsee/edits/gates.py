"""The gates of Neural Gate: the rows of a down projection that the pictures of a category may change.

A gate is a mask of dimensions of a layer's output, which are the rows of its down projection. Gates and the frequencies
from which they are cut are tensors (D) by "category/layer".
Shape letters: B pictures, L layers, D hidden width.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unsee.core.errors import ConfigError, ModelError
from unsee.data.pairs import PrivacyPair, by_case, by_category, to_refuse
from unsee.edits.edit import Edit
from unsee.edits.pair_rows import PairRows, Scope
from unsee.edits.partial_forward import AUTO, down_name, parse_layers
from unsee.edits.steering import Steered, scale
from unsee.forward.hooks import NeuronGate, frozen
from unsee.models.vlm import VLM

PICTURES, TOKENS = 8, 2048
"""Most pictures whose vectors are learned at once, and most tokens of them where all tokens are recomputed.

Each picture has its own vectors, so these numbers change nothing but time and memory.
"""
Cases = Sequence[Sequence[PrivacyPair]]
"""The pairs of each picture."""
GateKind = Literal["learned", "random", "none"]
Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class GateLearner:
    """A way to learn gates: vectors first, then the gates of each category are cut from its vectors.

    Attributes:
        kind: "learned"; "random" draws as many dimensions as were learned; "none" makes no gates.
        images: most pictures of a category whose vectors are learned.
        scope: the tokens at which the vectors are learned.
        pack: the pairs of some pictures -> their packed rows.
        learn: steered rows -> the vectors of their pictures, (B, L, D).
        frequency: the vectors of a category -> the numbers from which its gates are cut, (L, D).
        cut: these numbers for one layer, (D) -> the open dimensions, (D) bool.
    """

    kind: GateKind
    images: int
    scope: Scope
    pack: Callable[[Cases], PairRows]
    learn: Callable[[Steered], Tensor]
    frequency: Callable[[Tensor], Tensor]
    cut: Callable[[Tensor], Tensor]

    def gates(
        self,
        vlm: VLM,
        pairs: Sequence[PrivacyPair],
        layers: Sequence[int],
        known: Mapping[str, Tensor] | None,
        seed: int,
    ) -> tuple[Tensors, Tensors]:
        """Return the gates and the frequencies of all categories with something to refuse.

        Args:
            known: frequencies of an earlier edit; None learns them.

        Raises:
            ConfigError: the known frequencies lack a category or a layer.
        """
        categories = by_category(to_refuse(pairs)) if self.kind != "none" else {}
        keys = [f"{category}/{layer}" for category in categories for layer in layers]
        if not keys:
            return {}, {}
        if known is None:
            frequencies = self.frequencies(vlm, pairs, layers)
        elif lacking := [key for key in keys if key not in known]:
            raise ConfigError(f"frequencies: there are none of {lacking[0]} (known: {', '.join(sorted(known))})")
        else:
            frequencies = {key: known[key].to(vlm.device) for key in keys}
        gates = {key: self.cut(frequency_D) for key, frequency_D in frequencies.items()}
        if self.kind == "random":
            gates = {key: random_gate(gate_D, f"{seed} {key}") for key, gate_D in gates.items()}
        return gates, frequencies

    def frequencies(self, vlm: VLM, pairs: Sequence[PrivacyPair], layers: Sequence[int]) -> Tensors:
        """Learn the frequencies of all categories with something to refuse."""
        categories = by_category(to_refuse(pairs))
        cases = [case for some in categories.values() for case in by_case(some)[: self.images]]
        vectors_BLD = self._vectors(vlm, cases, layers)
        frequencies = {}
        for category in categories:
            own_B = [case[0].category == category for case in cases]
            for layer, frequency_D in zip(layers, self.frequency(vectors_BLD[own_B]), strict=True):
                frequencies[f"{category}/{layer}"] = frequency_D
        return frequencies

    def _vectors(self, vlm: VLM, cases: Cases, layers: Sequence[int]) -> Tensor:
        found = []
        at_once = self._pictures_at_once(cases)
        for start in range(0, len(cases), at_once):
            rows = self.pack(cases[start : start + at_once])
            with frozen(vlm.model):
                found.append(self.learn(Steered(vlm, rows, layers, combine=scale, scope=self.scope)))
        return torch.cat(found)

    def _pictures_at_once(self, cases: Cases) -> int:
        if self.scope in ("subject_last", "subject"):
            return PICTURES
        widest = max(self.pack([case]).scopes["every"].shape[1] for case in cases)
        return min(PICTURES, max(1, TOKENS // widest))


def known_frequencies(vlm: VLM, earlier: Edit | None, method: str, scope: Scope) -> Mapping[str, Tensor] | None:
    """Return the frequencies of an earlier edit; None if there is no earlier edit.

    Raises:
        ModelError: it was made for another model.
        ConfigError: it keeps no frequencies, or those of another method or of vectors at other tokens.
    """
    if earlier is None:
        return None
    if earlier.model != vlm.fingerprint():
        raise ModelError(f"frequencies: edit {earlier.id} was made for another model than {vlm.id}")
    if not earlier.frequencies:
        raise ConfigError(f"frequencies: edit {earlier.id} ({earlier.method}) keeps none")
    if earlier.method != method:
        raise ConfigError(f"frequencies: edit {earlier.id} is of method {earlier.method}, not of {method}")
    found = earlier.settings.get("vector_scope")
    if found != scope:
        raise ConfigError(f"frequencies: edit {earlier.id} is of vector_scope '{found}', and '{scope}' is asked for")
    return earlier.frequencies


def choose_layers(
    vlm: VLM, text: str, known: Mapping[str, Tensor] | None, search: Callable[[], Mapping[int, float]]
) -> list[int]:
    """Return the layers to edit: those named, those of known frequencies, or the one that a search scores lowest.

    Args:
        text: layers as `parse_layers` reads them; "auto" for the other two.
        search: the score of each layer.

    Raises:
        ConfigError: a layer is out of range.
    """
    if text != AUTO:
        return parse_layers(vlm, text)
    if known is not None:
        return sorted({int(key.rpartition("/")[2]) for key in known})
    scores = search()
    return [min(scores, key=scores.__getitem__)]


def neuron_gates(
    vlm: VLM, rows: PairRows, cases: Cases, layers: Sequence[int], gates: Mapping[str, Tensor], scope: Scope
) -> dict[str, NeuronGate]:
    """Return the gate of each down projection for packed rows, by the matrix's name.

    Each picture has the gate of its category; a category without one has the union of all gates of the layer.

    Args:
        cases: the pairs of each row.
        scope: the tokens at which the gates are placed.
    """
    found = {}
    for layer in layers if gates else ():
        here = {key: gate_D for key, gate_D in gates.items() if key.endswith(f"/{layer}")}
        any_D = torch.stack(list(here.values())).any(0)
        open_BD = torch.stack([here.get(f"{case[0].category}/{layer}", any_D) for case in cases])
        found[down_name(vlm, layer)] = NeuronGate(rows.scopes[scope], open_BD)
    return found


def gate_above(frequency_D: Tensor, threshold: float) -> Tensor:
    """Open the dimensions whose frequency is above the threshold."""
    return frequency_D > threshold


def gate_of_share(frequency_D: Tensor, share: float) -> Tensor:
    """Open the `share` of the dimensions that change most, at least one; never a dimension that does not change."""
    wanted = max(1, round(share * len(frequency_D)))
    gate_D = torch.zeros_like(frequency_D, dtype=torch.bool)
    gate_D[frequency_D.topk(wanted).indices] = True
    return gate_D & (frequency_D > 0)


def random_gate(gate_D: Tensor, seed: str) -> Tensor:
    """Open as many dimensions as a gate does, drawn at random by the seed."""
    drawn = random.Random(seed).sample(range(len(gate_D)), int(gate_D.sum()))
    random_D = torch.zeros_like(gate_D)
    random_D[drawn] = True
    return random_D
