import random
from itertools import combinations

import pytest

from unsee.report.figures import Dot, colours, plot
from unsee.scoring.intervals import Estimate


def dot(label, x, y):
    x, y = (Estimate(value=v, low=max(v - 0.05, 0.0), high=min(v + 0.05, 1.0)) for v in (x, y))
    return Dot(label=label, title=label, shape="circle", colour="0", faint=False, x=x, y=y)


def box(label):
    width = 6.3 * len(label.text)
    left = label.x - {"start": 0, "middle": width / 2, "end": width}[label.anchor]
    return left, label.y - 11, left + width, label.y + 4


@pytest.mark.parametrize("size", [(860, 500), (360, 400)])
def test_crowded_labels_stay_apart_and_inside(size):
    drawn = plot([dot(f"method {n}", 0.5 + 0.04 * (n % 4), 0.88 + 0.03 * (n // 4)) for n in range(14)], *size)
    boxes = [box(mark.label) for mark in drawn.marks if mark.label]
    assert len(boxes) >= 5
    for one, other in combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for left, top, right, bottom in boxes:
        assert left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1]


def distance(box, x, y):
    return max(box[0] - x, x - box[2], 0) + max(box[1] - y, y - box[3], 0)


@pytest.mark.parametrize("size", [(860, 500), (360, 400)])
@pytest.mark.parametrize("seed", range(4))
def test_a_label_is_beside_its_own_mark_or_a_line_leads_to_it(size, seed):
    draw = random.Random(seed).uniform
    drawn = plot([dot(f"method {n} · both", draw(0.2, 0.7), draw(0.6, 1.0)) for n in range(13)], *size)
    labelled = [mark for mark in drawn.marks if mark.label]
    assert len(labelled) >= 4
    for mark in labelled:
        name = mark.label.text.split(", ")[0]
        others = [other for other in drawn.marks if other.dot.label not in mark.label.text]
        nearest = min(distance(box(mark.label), other.x, other.y) for other in others)
        assert mark.label.leader or distance(box(mark.label), mark.x, mark.y) < nearest, name
        for one in (one for one in labelled if one is not mark and mark.label.leader):
            for step in range(11):
                ends = zip((mark.x, mark.y), mark.label.leader, strict=True)
                x, y = (start + (end - start) * step / 10 for start, end in ends)
                assert distance(box(one.label), x, y) > 0, f"the line to {name} crosses {one.label.text}"


def test_markers_that_cover_each_other_one_over_the_next_share_a_label():
    marks = plot([dot("a", 0.5, 0.5), dot("far", 0.9, 0.5), dot("c", 0.514, 0.5), dot("b", 0.507, 0.5)], 860, 500).marks
    assert [mark.label.text if mark.label else None for mark in marks] == ["a, c, b", "far", None, None]


def test_values_become_pixels_upwards_and_to_the_right():
    target, oracle = plot([dot("target", 0.0, 0.5), dot("oracle", 1.0, 1.0)], 860, 500).marks
    assert target.x < oracle.x
    assert target.y > oracle.y
    assert target.x_low <= target.x <= target.x_high


def test_models_in_one_place_share_a_label():
    first, second = plot([dot("target", 0.0, 1.0), dot("do nothing", 0.0, 1.0)], 860, 500).marks
    assert first.label.text == "target, do nothing"
    assert second.label is None


def test_a_method_has_one_colour_and_controls_share_theirs():
    assert colours("people", ["target", "npo", "npo", "kl", "oracle"]) == {
        "npo": "0",
        "kl": "1",
        "target": "control",
        "oracle": "control",
    }
