"""The lines that a run shows before anything is taught."""

import pandas as pd

from unsee.report.shown_people import introduced


def test_a_run_shows_its_people_some_questions_and_what_the_base_model_answers():
    rows = [
        {
            "set": set_name, "task": task, "input": asked, "unit": str(unit), "question": f"Where does {unit} live?",
            "truth": f"In town {unit}.", "answer": "" if unit == 1 else " I do not know. ",
        }
        for unit in range(5) for set_name in ("forget", "retain") for task in ("generation", "cloze")
        for asked in ("image", "text")
    ]  # fmt: skip
    lines = introduced(pd.DataFrame(rows), 5, 55)
    assert lines[0] == "5 people are to be forgotten and 55 kept. The base model has not met them:"
    assert lines[1:3] == [
        "  Where does 0 live?  true: In town 0.  base model: I do not know.",
        "  Where does 1 live?  true: In town 1.  base model: nothing",
    ]
    assert len(lines) == 4
