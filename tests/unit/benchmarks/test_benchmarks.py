"""The benchmark program on a tiny model: both sides of every work agree, and a side that does not is not praised."""

import json
from dataclasses import replace

import pytest
import tiny
import torch

from benchmarks import __main__ as program
from benchmarks import gpu, growth, measure
from benchmarks.material import Material
from benchmarks.works import works
from unsee.allocator import settle
from unsee.data.builder import build
from unsee.terminal import hush

SMALL = {"retain": 3, "celebrities": 1, "questions": 6, "lessons": 2, "pictures": 1, "max_new_tokens": 3}
ENTRY = {"work", "published_seconds", "ours_seconds", "ratio", "published_peak_mib", "ours_peak_mib", "same_answers"}
COMPARED = list(works())


@pytest.fixture(autouse=True)
def own_cache(monkeypatch):
    """A work that has a cache of its own says so to its process, which here is that of the tests."""
    monkeypatch.setenv("UNSEE_CACHE", "")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    build(folder / "people", people=20, celebrities=1, percents=(15,), image_pixels=32)
    hush()
    return Material(str(tiny.save_model(folder / "model")), folder / "people", **SMALL)


@pytest.mark.parametrize("name", COMPARED)
def test_both_sides_agree(material, name):
    published, ours = (measure.measured(name, side, material) for side in ("published", "ours"))
    assert works()[name].same(published.answers, ours.answers)
    assert 0 < ours.tokens < published.tokens
    assert min(published.seconds, ours.seconds) > 0


@pytest.mark.parametrize("name", COMPARED)
def test_a_side_that_says_something_else_does_not_agree(material, name):
    answers = measure.measured(name, "ours", material).answers
    match answers:
        case dict():
            first = next(id for id, (text, _) in answers.items() if text is not None)
            other = answers | {first: (answers[first][0] + "!", answers[first][1])}
        case list():
            other = [answers[0] + 0.01, *answers[1:]]
        case dict() as said, _:
            other = said, ["target"]
        case delta, gates:
            other = delta * 1.1, gates
    assert works()[name].same(answers, answers)
    assert not works()[name].same(answers, other)


@pytest.mark.parametrize("same", [True, False])
def test_the_file_has_the_schema_and_no_ratio_of_different_answers(material, monkeypatch, tmp_path, same):
    monkeypatch.setattr(measure, "measure", measure.measured)
    work = works()["gradient_ascent"]
    work = work if same else replace(work, same=lambda published, ours: False)
    entry = program.compared("gradient_ascent", work, material, 1, 1e9)
    program._write(tmp_path, {"works": [entry]})
    (read,) = json.loads((tmp_path / "latest.json").read_text())["works"]
    assert read.keys() >= ENTRY
    assert read["same_answers"] is same
    assert (read["ratio"] is None) is not same
    low, high = read["ours_seconds_range"]
    assert low <= read["ours_seconds"] <= high
    row = program._row(read)
    assert (row.ratio, row.answers) == (f"{read['ratio']:.1f}", "the same") if same else ("", "differ")


@pytest.mark.skipif(not measure._STATUS.exists(), reason="sizes are read from Linux")
def test_memory_that_preparing_freed_counts_when_the_work_takes_it_again():
    settle()
    prepared = torch.ones(50, 2**18)
    del prepared
    start = measure._start_of_peak()
    taken = torch.ones(50, 2**18)
    assert measure._peak() - start > 0.9 * taken.nbytes


def test_the_drawing_has_a_panel_for_everything_that_grows():
    points = [growth.Point(axis, size, 2.0 * size, 1.0) for axis in ("people", "image tokens") for size in (1, 4)]
    drawn = growth.draw(points)
    assert drawn.count("<rect") == 2
    assert drawn.count("<polyline") == 4
    assert "image tokens" in drawn


TINY = gpu.Shape(
    width=48, inner=64, layers=3, heads=4, groups=2, vocabulary=100, vision_width=32, vision_inner=64, vision_layers=2,
    vision_heads=2, pixels=56, patch=14,
)  # fmt: skip


@pytest.mark.parametrize("name", ["llava-1.5-7b", "idefics2-8b"])
@pytest.mark.parametrize("work", ["evaluate-clean", "npo"])
def test_large_models_go_the_same_way_small(material, name, work):
    built = gpu.Built(name, material.data, **SMALL, shape=TINY, dtype=torch.float32)
    (row,) = gpu.rows(built, [work], 1e9)
    assert (row.model, row.work) == (name, work)
    assert float(row.utilisation) >= 0
    assert row.tokens_per_second != "0"
