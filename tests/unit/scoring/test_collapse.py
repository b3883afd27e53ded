import pandas as pd
import pytest

from unsee.scoring.collapse import is_degenerate, lexicon, words

LEXICON = frozenset(words("Ada lives in Oslo. She works as a botanist there, and I don't know more about her."))


@pytest.mark.parametrize("text", ["", " ", "...", "US US US", "in in in Oslo", "Ada lives in " * 4, "qx zzt Ada"])
def test_empty_repetitive_and_wordless_answers_are_degenerate(text):
    assert is_degenerate(text, LEXICON)


@pytest.mark.parametrize("text", ["Oslo", "Oslo Oslo", "Ada lives in Oslo.", "I don't know.", "She lives in Quito."])
def test_short_true_false_and_declining_answers_are_not(text):
    assert not is_degenerate(text, LEXICON)


@pytest.mark.parametrize("method", ["base", "target", "npo"])
def test_what_the_base_model_says_and_common_english_are_made_of_words(method):
    """A model that knows the world may say what stands in no question, and unlearning may leave it fluent."""
    said = "Paris is the capital city, famous for museums and the Eiffel Tower."
    answers = pd.DataFrame(
        {"question": ["Where?"], "truth": ["Oslo"], "options": [[]], "method": method, "answer": said}
    )
    known = lexicon(answers)
    assert not is_degenerate("This is a picture of a man who was born in the last year.", known)
    assert is_degenerate("Famous museums, Eiffel Tower, capital city.", known) == (method == "npo")
