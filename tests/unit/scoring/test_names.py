import pytest

from unsee.methods import METHODS
from unsee.scoring.names import readable, readable_model


def test_a_method_says_itself_how_it_is_written():
    assert [readable(name) for name in ("npo", "kl_minimisation", "ft_l")] == ["NPO", "KL minimisation", "FT-L"]
    assert {leaf.name: readable(leaf.name) for leaf in METHODS.leaves()} == {
        leaf.name: leaf.label for leaf in METHODS.leaves()
    }


def test_any_other_name_is_written_with_spaces():
    assert [readable(name) for name in ("do_nothing", "gate_25", "oracle_2")] == [
        "do nothing",
        "gate 25",
        "second oracle",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("npo-both", "NPO · both"),
        ("gradient_ascent-text-3", "gradient ascent · text · seed 3"),
        ("gate-1", "gate · seed 1"),
        ("share-03", "share-03"),
        ("target", "target"),
    ],
)
def test_models_of_the_log_are_methods_with_modality_and_seed(name, words):
    assert readable_model(name, ["npo", "share-03", "gate"]) == words
