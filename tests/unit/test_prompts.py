import pytest

from unsee.data.schema import Question
from unsee.prompts import BLANK, LETTER, SHORT, ask


def question(task, **fields):
    return Question(task=task, input="image", question="Where was she born, in __?", answer="Lima", **fields)


@pytest.mark.parametrize("task", ["train", "generation"])
def test_open_questions_are_asked_as_they_are(task):
    assert ask(question(task)) == ask(question(task), "letter") == "Where was she born, in __?"


def test_blanks_and_choices_say_what_is_wanted():
    assert ask(question("cloze")) == f"Where was she born, in __? {BLANK}"
    choice = question("classification", options=("Oslo", "Lima", "Cairo", "Perth"))
    assert ask(choice) == f"Where was she born, in __? {SHORT}"
    assert ask(choice, "letter") == f"Where was she born, in __?\nA: Oslo\nB: Lima\nC: Cairo\nD: Perth\n{LETTER}"


def test_by_likelihood_the_options_are_not_shown():
    assert "Cairo" not in ask(question("classification", options=("Oslo", "Lima", "Cairo", "Perth")))
