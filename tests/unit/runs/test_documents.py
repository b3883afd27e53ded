from types import SimpleNamespace

import pytest

from unsee.core.errors import ConfigError, DataError
from unsee.methods import METHODS
from unsee.runs.documents import _check_answers, _further, first_pictures
from unsee.runs.method_runs import MethodRun

CASES = [SimpleNamespace(subject=subject, id=number) for number, subject in enumerate("aababb")]


@pytest.mark.parametrize(("count", "kept"), [(0, [0, 1, 2, 3, 4, 5]), (1, [0, 2]), (2, [0, 1, 2, 4])])
def test_a_method_is_given_the_first_pictures_of_each_subject(count, kept):
    assert [case.id for case in first_pictures(CASES, count)] == kept


def test_further_subjects_come_after_the_first_ones_whatever_their_names_are():
    splits = {"d": "seen_private", "a": "further_private", "e": "seen_harmless", "b": "further_harmless", "c": "seen"}
    benchmark = SimpleNamespace(cases=[SimpleNamespace(subject=name, split=splits[name]) for name in sorted(splits)])

    def given(**wanted):
        run = MethodRun("ft_l", "", 0, METHODS.get("ft_l")(), **wanted)
        return "".join(case.subject for case in _further(benchmark, run))

    assert [given(private=1), given(private=2), given(harmless=1), given(private=2, harmless=2)] == [
        "d",
        "da",
        "e",
        "daeb",
    ]
    with pytest.raises(ConfigError, match=r"^method\.ft_l\.private: must be at most 2, got 3; .* of 2 further private"):
        given(private=3)


def test_a_method_that_compares_image_and_text_questions_is_refused_because_documents_are_asked_with_the_picture():
    runs = [MethodRun(name, "", 0, METHODS.get(name)()) for name in ("npo", "manu")]
    _check_answers(runs[:1], [])
    with pytest.raises(DataError, match=r"^method\.manu: compares questions with the picture and as text alone"):
        _check_answers(runs, [])
