"""The trade-off plot as a file for a paper."""

import re
import sys

import pytest
from synthetic import CONTROLS, METHODS, make_answers, make_run

from unsee.core.errors import ConfigError, RecordError
from unsee.report.reports import write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [make_run(folder / f"run-{draw}", make_answers((*CONTROLS, METHODS[0])), draw=draw) for draw in range(2)]


def test_an_svg_holds_a_marker_and_a_name_for_each_model(runs, tmp_path):
    text = write_report(runs[:1], tmp_path / "plot.svg").read_text()
    assert text.startswith("<?xml") and "<svg" in text
    named = " ".join(re.findall("<text[^>]*>(.*?)</text>", text))
    assert all(name in named for name in ("target", "second oracle", "random weights", "prompting"))
    assert len(re.findall("<polygon|<circle|<rect", text)) >= len(CONTROLS) + 1
    assert "efficacy: forgotten, as the oracle" in text


def test_a_pdf_is_one_page_of_vectors(runs, tmp_path):
    content = write_report(runs, tmp_path / "plot.pdf").read_bytes()  # two draws of people as one
    assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
    assert b"/Count 1" in content and b"/Subtype /Image" not in content


def test_what_cannot_be_drawn_is_named(runs, tmp_path, monkeypatch):
    other = make_run(tmp_path / "other", make_answers((*CONTROLS, METHODS[0])), draw=1)
    config = other / "config.toml"
    config.write_text(config.read_text().replace("forget_percent = 15", "forget_percent = 5"))
    with pytest.raises(RecordError, match="one run"):
        write_report([runs[0], other], tmp_path / "plot.svg")
    monkeypatch.setitem(sys.modules, "unsee.report.figure_files", None)
    with pytest.raises(ConfigError, match="reportlab"):
        write_report(runs[:1], tmp_path / "plot.svg")
