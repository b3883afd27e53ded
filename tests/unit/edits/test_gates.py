import privacy
import pytest
import tiny
import torch

from unsee.edits import gates
from unsee.edits.gate_vectors import mean_change, sparse_vectors
from unsee.edits.gates import GateLearner, choose_layers, gate_above, gate_of_share, neuron_gates, random_gate
from unsee.edits.pair_rows import make_pair_rows, queries
from unsee.edits.partial_forward import down_name


@pytest.fixture
def vlm():
    return tiny.make_vlm()


def make_learner(vlm, scope="every", learn=None):
    return GateLearner(
        kind="learned", images=1, scope=scope,
        pack=lambda cases: make_pair_rows(vlm, [queries(case) for case in cases]),
        learn=learn or (lambda steered: sparse_vectors(steered, benign_weight=1, sparsity=0.1, rate=0.1, steps=1)),
        frequency=mean_change, cut=lambda frequency: gate_of_share(frequency, 0.25),
    )  # fmt: skip


def test_a_gate_is_learned_for_each_category_from_the_first_of_its_pictures(vlm):
    learned = []

    def learn(steered):
        learned.append(steered.rows.num_rows)
        return torch.full(steered.shape_BLD, 3.0)

    learner = make_learner(vlm, learn=learn)
    opened, frequencies = learner.gates(vlm, privacy.make_pairs(6, 1, categories=2), [0, 1], None, 0)
    assert sum(learned) == 2
    assert list(opened) == list(frequencies) == ["person 0/0", "person 0/1", "person 1/0", "person 1/1"]
    assert all(torch.equal(frequency, torch.full((48,), 2.0)) for frequency in frequencies.values())
    assert all(int(gate.sum()) == 12 for gate in opened.values())


def test_the_widest_picture_limits_the_pictures_that_are_learned_at_once(vlm, monkeypatch):
    short, long = privacy.make_pairs(2, 1), privacy.make_pairs(2, 6)[6:]
    learner, cases = make_learner(vlm), [short[:1], long]
    widest = max(learner.pack([case]).scopes["every"].shape[1] for case in cases)
    for tokens, at_once in ((2 * widest - 1, 1), (2 * widest, 2)):
        monkeypatch.setattr(gates, "TOKENS", tokens)
        assert learner._pictures_at_once(cases) == at_once


def test_a_picture_has_the_gate_of_its_category_or_the_union_of_all_gates(vlm):
    cases = [[privacy.make_pair(0)], [privacy.make_pair(1, category="other")]]
    rows = make_pair_rows(vlm, [queries(case) for case in cases])
    low, high = torch.arange(48) < 5, torch.arange(48) > 40
    named = {"person/0": low, "ticket/0": high, "person/1": high}
    found = neuron_gates(vlm, rows, cases, [0, 1], named, "text")
    assert list(found) == [down_name(vlm, 0), down_name(vlm, 1)]
    assert torch.equal(found[down_name(vlm, 0)].open_BD, torch.stack([low, low | high]))
    assert torch.equal(found[down_name(vlm, 1)].open_BD, torch.stack([high, high]))
    assert torch.equal(found[down_name(vlm, 0)].at_BT, rows.scopes["text"])
    assert not neuron_gates(vlm, rows, cases, [0, 1], {}, "text")


def test_layers_are_those_named_or_those_of_known_frequencies_or_the_lowest_of_a_search(vlm):
    known = {"person/1": torch.ones(1), "a/b/0": torch.ones(1)}
    assert choose_layers(vlm, "1", known, dict) == [1]
    assert choose_layers(vlm, "auto", known, dict) == [0, 1]
    assert choose_layers(vlm, "auto", None, lambda: {0: 0.5, 1: 0.25, 2: 0.75}) == [1]


def test_a_frequency_at_the_threshold_opens_nothing():
    assert gate_above(torch.tensor([0.3, 0.31, 0.0]), 0.3).tolist() == [False, True, False]


def test_a_gate_of_a_share_holds_the_most_changed_dimensions():
    strength = torch.tensor([0.1, 0.0, 0.5, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert gate_of_share(strength, 0.2).nonzero()[:, 0].tolist() == [2, 3]
    assert gate_of_share(strength, 0.01).nonzero()[:, 0].tolist() == [2]
    assert int(gate_of_share(strength, 1.0).sum()) == 3  # the rest was not changed at all


def test_a_random_gate_has_the_same_size_and_depends_on_the_seed_alone():
    gate = torch.arange(48) < 7
    drawn = random_gate(gate, "0 a")
    assert int(drawn.sum()) == 7
    assert torch.equal(drawn, random_gate(gate, "0 a"))
    assert not torch.equal(drawn, random_gate(gate, "1 a"))
