"""A utility benchmark: `items.json` holds questions about one photo beside it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unsee.scoring.intervals import Bootstrap, Draws
from unsee.utility import UTILITY
from unsee.utility.base import Mark, UtilityBenchmark, UtilityItem, mean


@UTILITY.register("extra_utility", paper="arXiv:0000.00006")
@dataclass(frozen=True, kw_only=True)
class ExtraUtility(UtilityBenchmark):
    """Questions about a photo."""

    max_new_tokens = 2

    def items(self, folder: Path) -> Iterator[UtilityItem]:
        photo = (folder / "photo.png").read_bytes()
        for number, (question, truth) in enumerate(json.loads((folder / "items.json").read_text())):
            yield UtilityItem(
                id=str(number), unit=str(number), group="all", text=question, images=(photo,), truth=truth
            )

    def mark(self, item: UtilityItem, answer: str) -> Mark:
        return Mark(answer, float(item.truth in answer), bool(answer))

    def metrics(self, bootstrap: Bootstrap) -> dict[str, Draws]:
        return {"contained": mean(bootstrap, bootstrap.answers)}
