from types import SimpleNamespace

import pytest

from unsee.runs.documents import first_pictures

CASES = [SimpleNamespace(subject=subject, id=number) for number, subject in enumerate("aababb")]


@pytest.mark.parametrize(("count", "kept"), [(0, [0, 1, 2, 3, 4, 5]), (1, [0, 2]), (2, [0, 1, 2, 4])])
def test_a_method_is_given_the_first_pictures_of_each_subject(count, kept):
    assert [case.id for case in first_pictures(CASES, count)] == kept
