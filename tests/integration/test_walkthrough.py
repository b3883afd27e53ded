"""The walkthrough of a deletion request, typed as it is written, on the model it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import tiny
from integration.command import unsee

PAGE = (Path(__file__).parents[2] / "docs" / "deletion.md").read_text()
CHEAP = (
    "--set",
    "method.ignorance.steps=2",
    "--set",
    "evaluation.general_items=4",
    "--set",
    "evaluation.bootstrap=100",
    "--set",
    "evaluation.max_new_tokens=4",
)


def test_it_can_be_followed_to_its_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unsee.exams.deletion.NUM_STRANGERS", 5)
    (tmp_path / "photos").mkdir()
    for shade, name in enumerate(("ada", "bela")):
        (tmp_path / "photos" / f"{name}.png").write_bytes(tiny.png(shade))
    forget, retain = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    Path("forget.csv").write_text(forget)
    Path("retain.csv").write_text(retain)
    Path("next.csv").write_text(forget.replace("Ada Novak", "Cy Dunn"))
    typed = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert len(typed) == 5
    for line in typed[1:]:  # the check of a model has tests of its own
        words = shlex.split(line)[1:]
        done = unsee([*words, *(CHEAP if words[0] == "unlearn" else ())], tmp_path / "cache")
        assert done.code in ((0, 4) if words[0] == "unlearn" else (0,)), done.err
    redacted = Path("request-017/report-redacted.html").read_text()
    assert "2026-017" in redacted and "Ada" not in redacted and str(tmp_path) not in redacted
    assert "2026-018" in Path("request-018/report.html").read_text()
