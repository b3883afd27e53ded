"""`neural_gate_published` against a plain version of the published procedure; each difference would be noticed."""

from dataclasses import replace

import privacy
import pytest
import tiny
import torch

from benchmarks.published import editing
from unsee.edits.pair_rows import PLAIN, make_pair_rows
from unsee.methods import neural_gate_published
from unsee.methods.base import Work
from unsee.methods.neural_gate_published import NeuralGatePublished

pytestmark = pytest.mark.slow

LONG = "Brown, worn long by most people born where this person was born"
PAIRS = [
    replace(pair, request="Where was the person born?", benign_answer=LONG)
    for pair in privacy.make_pairs(4, 2, categories=2)
]


@pytest.fixture(scope="module")
def published():
    """The change of layer 0 and the gates by the plain procedure."""
    return editing.edit(tiny.make_vlm(), PAIRS, [0])


def compared(published, vlm, layers="0", pairs=PAIRS):
    """Compare the gates, and return the largest relative distance between the changes of a matrix."""
    edit = NeuralGatePublished(layers=layers).edit(vlm, pairs, Work())
    deltas, gates = published
    assert edit.deltas.keys() == deltas.keys() and edit.gates.keys() == gates.keys()
    same_gates = all(torch.equal(edit.gates[key], gate) for key, gate in gates.items())
    return same_gates, max(float((edit.deltas[name] - delta).norm() / delta.norm()) for name, delta in deltas.items())


def test_gates_and_matrix_are_those_of_the_plain_procedure(published):
    _, gates = published
    assert set(gates) == {"person 0/0", "person 1/0"}
    assert all(0 < int(gate.sum()) < len(gate) for gate in gates.values())
    same_gates, apart = compared(published, tiny.make_vlm())
    assert same_gates and apart < 0.01


@pytest.mark.soak
def test_gates_and_matrices_of_two_layers_are_those_of_the_plain_procedure():
    published = _, gates = editing.edit(tiny.make_vlm(layers=3), PAIRS[:4], [0, 1])
    assert set(gates) == {"person 0/0", "person 0/1", "person 1/0", "person 1/1"}
    assert all(gate.any() for gate in gates.values())
    assert not torch.equal(gates["person 0/0"], gates["person 0/1"])
    same_gates, apart = compared(published, tiny.make_vlm(layers=3), "0-1", PAIRS[:4])
    assert same_gates and apart < 0.01


def one_optimiser_for_all_pairs(monkeypatch):
    made, Adam = {}, torch.optim.Adam

    def kept(parameters, **options):
        key = tuple(map(id, parameters))
        if key not in made:
            made[key] = Adam(parameters, **options)
        return made[key]

    monkeypatch.setattr(torch.optim, "Adam", kept)


def no_gate_on_the_benign_row(monkeypatch):
    def ungated(*arguments, **options):
        rows = make_pair_rows(*arguments, **options)
        rows.scopes["subject_last"].view(-1)[rows.last_I[~rows.sensitive_I]] = False
        return rows

    monkeypatch.setattr(neural_gate_published, "make_pair_rows", ungated)


@pytest.mark.soak
@pytest.mark.parametrize(
    "other",
    [
        one_optimiser_for_all_pairs,
        no_gate_on_the_benign_row,
        lambda monkeypatch: monkeypatch.setattr(neural_gate_published, "CONTEXTS", PLAIN),
        lambda monkeypatch: monkeypatch.setattr(neural_gate_published, "BENIGN_WORDS", None),
        lambda monkeypatch: monkeypatch.setattr("unsee.data.pairs.PrivacyPair.requested", lambda pair: pair),
    ],
    ids=["optimiser", "benign row", "contexts", "benign words", "request"],
)
def test_a_procedure_without_one_of_the_steps_has_other_gates_or_another_matrix(published, monkeypatch, other):
    other(monkeypatch)
    same_gates, apart = compared(published, tiny.make_vlm())
    assert not same_gates or apart > 0.05
