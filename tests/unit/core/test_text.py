import pytest
from scripts import SCRIPTS

from unsee.core.text import is_file_name, markdown, one_line, same_form, several_lines, spaced, special_token, words


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_every_script_has_words(text):
    said = words(text)
    assert said and "".join(said) == "".join(c for c in "".join(said) if c in text)
    assert words(text) == words(" ".join(said))
    assert spaced(text)


def test_words_keep_their_marks():
    assert words("Łódź") == ["Łódź"] != words("ódź")
    assert words("Jose\u0301") == words("José") == ["José"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("北京city") == ["北", "京", "city"]
    assert spaced("He is 3.5 m, isn't he?") == ["He", "is", "3.5", "m,", "isn't", "he?"]
    assert spaced("他在Oslo。") == ["他", "在", "Oslo。"]


@pytest.mark.parametrize(
    "text",
    [
        "jose\u0301 o'brien",
        "JOSÉ  O\u2019BRIEN",
        " José\u00a0O\u02bcBrien",
        "Jo\u200bsé O'Brien\ufeff",
        "\u202dJosé O'Brien",
    ],
)
def test_one_name_has_one_form(text):
    assert same_form(text) == "josé o'brien"
    assert same_form("Jose O'Brien") != "josé o'brien"
    assert same_form("\u200b \ufeff") == ""


@pytest.mark.parametrize("text", ["001", "42", "celebrity-001", "José M.", "王芳", "a b"])
def test_ids_are_names_of_files(text):
    assert is_file_name(text)


@pytest.mark.parametrize(
    "text", ["", " ", ".", "..", "../x", "a/b", "a\\b", "/etc", "a\0b", "a\nb", "x" * 200, "\u202ea"]
)
def test_paths_are_no_names_of_files(text):
    assert not is_file_name(text)


@pytest.mark.parametrize(
    "mark", ["<image>", "<|im_end|>", "<|image_pad|>", "</s>", "[INST]", "<end_of_turn>", "<start_of_image>", "<Img>"]
)
def test_marks_that_models_read_are_found(mark):
    assert special_token(f"Is {mark} it?") == mark


@pytest.mark.parametrize("text", ["a < b > c", "<image 1>", "the image", "[1]", "<strong>", "x | y"])
def test_plain_text_holds_no_mark(text):
    assert special_token(text) == ""


def test_control_characters_are_shown_as_escapes():
    assert one_line("a\x1b[31mb\x07\r\n\u202ec\u2028\x9b\ud800é王") == r"a\x1b[31mb\x07\r\n\u202ec\u2028\x9b\ud800é王"
    assert several_lines("2 problems\n  a\tb\n  c\nd") == "2 problems\n  a\\tb\n  c\\nd"
    assert len(several_lines("x" * 100_000)) < 2000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b\nc", r"a\|b c"),
        ("[x](javascript:1)", r"[x\](javascript:1)"),
        ("<b>&amp;", r"\<b\>\&amp;"),
        ("*a* _b_ `c` ~d~ $e$", r"\*a\* \_b\_ \`c\` \~d\~ \$e\$"),
        ("# a", r"\# a"),
        ("---", r"\---"),
        ("0.82 [0.75, 0.88]", "0.82 [0.75, 0.88]"),
        ("npo_both", "npo_both"),
        ("- a", r"\- a"),
        ("12. a", r"12\. a"),
        ("https://a.b www.c.d", r"https\://a.b www\.c.d"),
        ("Ada O'Brien, 3-4 (x) #1", "Ada O'Brien, 3-4 (x) #1"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text, shown):
    assert markdown(text) == shown
