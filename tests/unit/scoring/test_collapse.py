import pytest

from unsee.scoring.collapse import is_degenerate, words

LEXICON = frozenset(words("Ada lives in Oslo. She works as a botanist there, and I don't know more about her."))


@pytest.mark.parametrize("text", ["", " ", "...", "US US US", "in in in Oslo", "Ada lives in " * 4, "qx zzt Ada"])
def test_empty_repetitive_and_wordless_answers_are_degenerate(text):
    assert is_degenerate(text, LEXICON)


@pytest.mark.parametrize("text", ["Oslo", "Oslo Oslo", "Ada lives in Oslo.", "I don't know.", "She lives in Quito."])
def test_short_true_false_and_declining_answers_are_not(text):
    assert not is_degenerate(text, LEXICON)
