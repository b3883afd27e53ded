"""`python -m benchmarks.modes`: what both modes of Neural Gate take on the documents of `unsee run gate`, in turn.

The modes share all that unsee computes once, so that this is less than `make bench` shows of the published procedure
done in whole passes. Each round is a clean edit, a reference edit and a clean edit; what is printed are medians.
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

IMAGES, SEED = 6, 0  # those of the recipe


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the documents, edit and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.modes", description=__doc__)
    parser.add_argument("--model", default="nano", help="a shipped model's name, a folder or a hub name")
    parser.add_argument("--layers", default="0")
    parser.add_argument("--images", type=int, default=IMAGES, help="pictures a subject")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    keep_freed_memory()
    from unsee.cli.terminal import hush
    from unsee.data.documents.builder import build
    from unsee.data.documents.export import as_pairs
    from unsee.data.documents.privacy_pair import load
    from unsee.edits.pair_rows import answered
    from unsee.forward.vision_cache import cached_vision
    from unsee.methods.base import Work
    from unsee.methods.neural_gate import NeuralGate
    from unsee.models.vlm import VLM
    from unsee.runs.stages import ANSWER_TOKENS

    hush()
    vlm = VLM.load(options.model)
    clean, reference = (NeuralGate(mode=mode, layers=options.layers) for mode in ("clean", "reference"))

    def seconds(method: NeuralGate) -> float:
        started = time.perf_counter()
        method.edit(vlm, pairs, Work())
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNSEE_CACHE"] = folder
        documents = Path(folder) / "documents"
        build(documents, options.images, SEED)
        with cached_vision(vlm):
            pairs = answered(vlm, as_pairs(load(documents).of("seen")), max_new_tokens=ANSWER_TOKENS)
            seconds(clean)  # libraries get ready
            rounds = [(seconds(clean), seconds(reference), seconds(clean)) for _ in range(options.rounds)]
    quick = statistics.median(value for first, _, last in rounds for value in (first, last))
    slow = statistics.median(value for _, value, _ in rounds)
    ratios = [2 * middle / (first + last) for first, middle, last in rounds]
    print(
        f"{options.model}, {len(pairs)} pairs: clean {quick:.2f} s, reference {slow:.1f} s, {slow / quick:.1f} times "
        f"(rounds from {min(ratios):.1f} to {max(ratios):.1f})"
    )


if __name__ == "__main__":
    main()
