"""Measure every work the published way and with unsee: `python -m benchmarks`. Writes a table, a file and a drawing."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from benchmarks.material import Material
    from benchmarks.measure import Measured
    from benchmarks.works import Job, Work

RESULTS = Path(__file__).parent / "results"
PERCENT = 15


class TableRow(NamedTuple):
    """One work, as text."""

    work: str
    published: str
    ours: str
    ratio: str
    published_mib: str
    ours_mib: str
    tokens: str
    limit: str
    answers: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every work, print the table and write the file. Return 1 if the sides of a work answered differently."""
    options = _options(arguments)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    from benchmarks.limit import machine, product_flops, versions
    from benchmarks.material import Material
    from benchmarks.works import works
    from unsee.cli.terminal import print_table
    from unsee.data.people.builder import build
    from unsee.runtime.quiet import hush

    if options.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks: --device cuda: torch finds no GPU", file=sys.stderr)
        return 2
    hush()
    chosen = {name: work for name, work in works().items() if not options.only or name in options.only}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "people"
        build(data, people=options.people, celebrities=options.celebrities, percents=(PERCENT,))
        material = Material(
            options.model, data, percent=PERCENT, retain=options.people // 2, celebrities=options.celebrities,
            pictures=options.pictures,
        )  # fmt: skip
        limit = product_flops(torch.device(options.device))
        results: dict[str, Any] = {
            "schema": "unsee.benchmarks/1",
            "settings": {
                "model": Path(options.model).name,
                "device": options.device,
                "repeats": options.repeats,
                "people": options.people,
                "celebrities": options.celebrities,
                "pictures": options.pictures,
            },
            "machine": machine() | {"matrix_product_gflops": round(limit / 1e9, 1)},
            "versions": versions(),
            "works": [],
        }
        shared: Measurements = {}
        for name, work in chosen.items():
            started = time.monotonic()
            results["works"].append(compare(name, work, material, options.repeats, limit, shared))
            _say(work.name, started)
            _write(options.out, results)
    results["npo_over_gradient_ascent"] = _peaks_of_npo(dict(zip(chosen, results["works"], strict=True)))
    _write(options.out, results)
    if options.growth:
        from benchmarks.growth import draw, grow

        started = time.monotonic()
        points = list(grow())
        _say("how the cost grows", started)
        results["growth"] = [asdict(point) for point in points]
        (options.out / "growth.svg").write_text(draw(points))
        _write(options.out, results)
    print_table([_row(entry) for entry in results["works"]])
    for suffix, ratio in results["npo_over_gradient_ascent"].items():
        print(f"peak memory of ours, npo{suffix} over gradient_ascent{suffix}: {ratio:.2f}")
    print(options.out / "latest.json")
    return 0 if all(entry["same_answers"] for entry in results["works"]) else 1


Measurements = dict[tuple[Callable[["Material"], "Job"], "Material"], list["Measured"]]
"""Measurements by side and material, so that a side that two works share is measured once."""


def compare(
    name: str, work: Work, material: Material, repeats: int, limit: float, shared: Measurements | None = None
) -> dict[str, Any]:
    """Measure both sides of a work in turn, then count the operations of unsee's side.

    The ratio of the seconds is None unless all answers are the same.
    """
    from benchmarks.measure import measure

    material, shared = work.about(material), {} if shared is None else shared
    for number, (side, prepare) in itertools.product(range(repeats), work.sides.items()):
        if len(measured := shared.setdefault((prepare, material), [])) == number:
            measured.append(measure(name, side, material))
    published, ours = (shared[prepare, material] for prepare in work.sides.values())
    pairs = list(zip(published, ours, strict=True))
    same = all(work.same(published.answers, ours.answers) for published, ours in pairs)
    entry: dict[str, Any] = {"work": work.name, **_side("published", published), **_side("ours", ours)}
    entry["ratio"] = round(entry["published_seconds"] / entry["ours_seconds"], 2) if same else None
    ratios = [one.seconds / other.seconds for one, other in pairs]
    entry["ratio_range"] = [round(min(ratios), 2), round(max(ratios), 2)] if same else None
    entry |= {"same_answers": same, "agreed": work.agreed}
    if ours[0].tokens:
        counted = measure(name, "ours", material, count=True)
        entry["ours_share_of_matrix_product"] = round(counted.flops / entry["ours_seconds"] / limit, 3)
        entry["ours_share_of_tokens"] = round(ours[0].tokens / published[0].tokens, 3)
    return entry


def _say(what: str, started: float) -> None:
    print(f"{what}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _peaks_of_npo(entries: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return the peak memory of our NPO divided by that of our gradient ascent, for each size of step.

    This is what the reference model costs.
    """
    peaks = {name: entry["ours_peak_mib"] for name, entry in entries.items()}
    names = [(name, name.replace("npo", "gradient_ascent")) for name in peaks if name.startswith("npo")]
    return {name.removeprefix("npo"): round(peaks[name] / peaks[other], 3) for name, other in names if other in peaks}


def _side(side: str, measured: Sequence[Measured]) -> dict[str, Any]:
    seconds, peaks = [one.seconds for one in measured], [one.peak_mib for one in measured]
    return {
        f"{side}_seconds": round(statistics.median(seconds), 3),
        f"{side}_seconds_range": [round(min(seconds), 3), round(max(seconds), 3)],
        f"{side}_peak_mib": round(statistics.median(peaks), 1),
        f"{side}_peak_mib_range": [round(min(peaks), 1), round(max(peaks), 1)],
        f"{side}_tokens": measured[0].tokens,
    }


def _row(entry: dict[str, Any]) -> TableRow:
    def seconds(side: str) -> str:
        low, high = entry[f"{side}_seconds_range"]
        return f"{entry[f'{side}_seconds']:.2f} s [{low:.2f}, {high:.2f}]"

    share, tokens = entry.get("ours_share_of_matrix_product"), entry.get("ours_share_of_tokens")
    return TableRow(
        entry["work"], seconds("published"), seconds("ours"),
        f"{entry['ratio']:.1f}" if entry["same_answers"] else "",
        f"{entry['published_peak_mib']:.0f}", f"{entry['ours_peak_mib']:.0f}",
        "" if tokens is None else f"{tokens:.2f}", "" if share is None else f"{share:.2f}",
        "the same" if entry["same_answers"] else "differ",
    )  # fmt: skip


def _write(folder: Path, results: dict[str, Any]) -> None:
    from unsee.core.files import write

    write(folder / "latest.json", json.dumps(results, indent=1, allow_nan=False) + "\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--model", default="nano", help="a shipped model's name, a folder or a hub name")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each side of every work")
    parser.add_argument(
        "--people", type=int, default=40, help=f"people in the data; {PERCENT} %% are forgotten, half are asked about"
    )
    parser.add_argument("--celebrities", type=int, default=2, help="public figures in the data")
    parser.add_argument("--pictures", type=int, default=3, help="pictures of the Neural Gate edit, five pairs each")
    parser.add_argument("--only", nargs="+", default=(), metavar="WORK", help="short names of the works to measure")
    parser.add_argument(
        "--growth", action=argparse.BooleanOptionalAction, default=True, help="measure how the cost grows, too"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
