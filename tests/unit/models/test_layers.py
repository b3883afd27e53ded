import pytest

from unsee.core.errors import ConfigError
from unsee.models.layers import parse_layers


@pytest.mark.parametrize(
    ("text", "layers"),
    [("0", [0]), ("5,2", [2, 5]), ("3-5", [3, 4, 5]), ("0, 4-5", [0, 4, 5]), ("upper 2", [4, 5]),
     ("upper 6", [0, 1, 2, 3, 4, 5]), ("all", [0, 1, 2, 3, 4, 5])],
)  # fmt: skip
def test_layers_are_parsed(text, layers):
    assert parse_layers(text, 6, "here") == layers


@pytest.mark.parametrize("text", ["6", "4-9", "5-3", "upper 7", "upper 0", "0-99999999999"])
def test_layers_that_do_not_exist_are_a_sentence_with_those_that_do(text):
    with pytest.raises(ConfigError, match=rf"^here: '{text}' is out of range; the decoder has .*[56]"):
        parse_layers(text, 6, "here")


@pytest.mark.parametrize("text", ["", "x", "-1", "upper", "upper x", "lower 2", "1;2"])
def test_layers_of_another_form_are_a_sentence_with_the_forms(text):
    with pytest.raises(ConfigError, match=r"^here: must be written as 3, 2,5, 4-7, 'upper 4' or 'all', got"):
        parse_layers(text, 6, "here")
