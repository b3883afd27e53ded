from dataclasses import replace

import privacy

from unsee.data.pairs import by_category
from unsee.edits.layer_search import split_in_halves


def test_halves_share_no_category():
    one, other = split_in_halves(privacy.make_pairs(6, 2, categories=3))
    assert set(by_category(one)) == {"person 0", "person 2"} and set(by_category(other)) == {"person 1"}


def test_each_half_of_one_category_has_something_to_refuse_and_something_to_keep():
    pairs = privacy.make_pairs(20, 2, categories=1)
    pairs = [*pairs[:20], *(replace(pair, sensitive="") for pair in pairs[20:])]
    one, other = split_in_halves(pairs)
    assert not {pair.case for pair in one} & {pair.case for pair in other}
    for half in (one, other):
        assert {bool(pair.sensitive) for pair in half} == {True, False}


def test_a_single_picture_is_both_halves():
    (one, other), pairs = (
        split_in_halves(privacy.make_pairs(1, 2, categories=1)),
        privacy.make_pairs(1, 2, categories=1),
    )
    assert len(one) == len(other) == len(pairs)
