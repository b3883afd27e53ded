import pandas as pd
import pytest
from synthetic import CONTROLS, METHODS, Mind, Model, make_answers

from unsee.scoring.intervals import Estimate
from unsee.scoring.modalities import ALL, compare
from unsee.scoring.people import find_signal
from unsee.scoring.signal import CellName

BY_IMAGE, BY_TEXT = CellName("forget", "classification", "image"), CellName("forget", "classification", "text")


def compared(*models):
    answers = make_answers((*CONTROLS, *models))
    return compare(answers, find_signal(answers))


def test_what_image_questions_forget_is_above_zero_and_what_text_questions_forget_below():
    found = compared(*METHODS)
    assert found.methods == ["gradient_ascent", "gradient_difference", "kl_minimisation", "npo"]
    by_cell = {contrast.cell: contrast.differences for contrast in found.contrasts}
    assert by_cell[BY_IMAGE]["npo"].low > 0 > by_cell[BY_TEXT]["npo"].high
    assert by_cell[BY_IMAGE][ALL].value == pytest.approx(
        sum(by_cell[BY_IMAGE][method].value for method in found.methods) / 4
    )
    sentence = found.sentence()
    assert sentence.startswith("Asked with the image, image questions forget more in 6 of 6 cells")
    assert "Asked in text, image questions forget more in 0 of 6 cells and text questions in 6." in sentence
    assert len(sentence) < 200


def test_equal_models_do_not_differ():
    answers = make_answers((*CONTROLS, Model("npo", "image", Mind((0.3, 0.3), (0.3, 0.3), 0.9))))
    again = answers[answers["method"] == "npo"].assign(modality="text")
    answers = pd.concat([answers, again], ignore_index=True)
    found = compare(answers, find_signal(answers))
    assert {contrast.differences[ALL] for contrast in found.contrasts} == {Estimate(value=0.0, low=0.0, high=0.0)}
    assert "forget more in 0 of 6 cells and text questions in 0, and 6 may be chance." in found.sentence()


def test_without_both_kinds_there_is_nothing_to_compare():
    assert compared(Model("npo", "image"), Model("kl_minimisation", "text"), Model("npo", "both")) is None
