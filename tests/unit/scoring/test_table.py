from synthetic import make_answers

from unsee.scoring.people import score
from unsee.scoring.table import rows, written


def test_the_best_comes_first_and_numbers_carry_their_interval():
    table = rows(score(make_answers(), 50))
    assert [row.method for row in table[:2]] == ["oracle", "second oracle"]
    assert table[0].efficacy == "1.00 [1.00, 1.00]"
    assert {row.verdict for row in table} == {"ok", "collapsed"}


def test_a_missing_number_is_a_dash():
    assert written(None) == "-"
