"""Pins what every family is asked, word for word, under both protocols.

`tests/golden/<family>.txt` holds one prompt for each protocol, task and input, as text before image placeholders are
expanded. A changed prompt makes figures incomparable, so a change here is a decision, never a side effect.
"""

from pathlib import Path

import families
import pytest

from unsee.config.recipe import EvaluationConfig
from unsee.data.schema import Question
from unsee.forward.prompts import render, render_lesson
from unsee.models import MODELS

GOLDEN = Path(__file__).parents[2] / "golden"
OPTIONS = ("Oslo", "Lima", "Cairo", "Perth")
ANSWERS = {"classification": "Lima", "generation": "She was born in Lima.", "cloze": "Lima", "train": "In Lima."}
PROTOCOLS = {
    "clean": EvaluationConfig(),
    "clean by letter": EvaluationConfig(choice="letter"),
    "published": EvaluationConfig(protocol="published"),
}


def make_question(task, kind, who):
    text = f"{who} lives in ____." if task == "cloze" else f"Where was {who} born?"
    options = OPTIONS if task == "classification" else ()
    return Question(task=task, input=kind, question=text, answer=ANSWERS[task], options=options)


def prompts(vlm):
    """Every prompt under its name; two shots stand before the tasks that have shots."""
    for protocol, config in PROTOCOLS.items():
        for task in ("classification", "generation", "cloze"):
            for kind in ("image", "text"):
                asked, *shots = (make_question(task, kind, who) for who in ("Ada", "Bo", "Cleo"))
                shots = shots if protocol == "published" and task != "generation" else []
                yield f"{protocol}, {task}, {kind}", render(vlm, asked, config, shots=shots)
    for protocol in ("clean", "published"):
        for kind in ("image", "text"):
            yield f"{protocol}, train, {kind}", render_lesson(vlm, make_question("train", kind, "Ada"), protocol)


def written(vlm):
    return "".join(f"===== {name}\n{prompt}|END\n" for name, prompt in prompts(vlm))


@pytest.mark.parametrize("family", MODELS.names())
def test_every_prompt_of_every_family_is_the_one_on_file(family):
    assert written(families.make_vlm(family)) == (GOLDEN / f"{family}.txt").read_text(encoding="utf-8")
