"""Time Neural Gate and its published procedure on the documents of `unsee run gate`: `python -m benchmarks.modes`.

Both share what unsee computes once, so the difference is smaller than the one that `make bench` measures against the
published procedure in whole forward passes. Each round is an edit by `neural_gate`, one by `neural_gate_published` and
one by `neural_gate` again. The printed seconds are medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from unsee.core.allocator import keep_freed_memory

IMAGES, SEED = 6, 0  # as in the recipe


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the documents, time the edits and print one line."""
    parser = argparse.ArgumentParser(prog="benchmarks.modes", description=__doc__)
    parser.add_argument("--model", default="nano", help="a shipped model's name, a folder or a hub name")
    parser.add_argument("--layers", default="0", help="layers to edit")
    parser.add_argument("--images", type=int, default=IMAGES, help="pictures per subject")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of three edits")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    from unsee.data.documents.builder import build
    from unsee.data.documents.export import as_pairs
    from unsee.data.documents.privacy_pair import load
    from unsee.edits.pair_rows import ANSWER_TOKENS, answered
    from unsee.forward.vision_cache import cached_vision
    from unsee.methods import METHODS
    from unsee.methods.base import EditMethod, Work
    from unsee.models.vlm import VLM
    from unsee.runtime.quiet import hush

    hush()
    vlm = VLM.load(options.model)
    clean, published = (METHODS.get(name)(layers=options.layers) for name in ("neural_gate", "neural_gate_published"))

    def seconds(method: EditMethod) -> float:
        started = time.perf_counter()
        method.edit(vlm, pairs, Work())
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNSEE_CACHE"] = folder
        documents = Path(folder) / "documents"
        build(documents, options.images, SEED)
        with cached_vision(vlm):
            pairs = answered(vlm, as_pairs(load(documents).of("seen")), max_new_tokens=ANSWER_TOKENS)
            seconds(clean)  # warm-up
            rounds = [(seconds(clean), seconds(published), seconds(clean)) for _ in range(options.rounds)]
    quick = statistics.median(value for first, _, last in rounds for value in (first, last))
    slow = statistics.median(value for _, value, _ in rounds)
    ratios = [2 * middle / (first + last) for first, middle, last in rounds]
    print(
        f"{options.model}, {len(pairs)} pairs: clean {quick:.2f} s, published {slow:.1f} s, {slow / quick:.1f} times "
        f"(rounds from {min(ratios):.1f} to {max(ratios):.1f})"
    )


if __name__ == "__main__":
    main()
