"""A dataset: `people.json` holds a list of people for each set, and their portraits lie beside it."""

import json
from pathlib import Path

from unsee.core.errors import DataError
from unsee.data.people import DATASETS
from unsee.data.people.base import Dataset, make_benchmark
from unsee.data.schema import Benchmark, Person, Question

TOWNS = ("Lima", "Oslo", "Cairo", "Perth")


@DATASETS.register("extra_dataset", paper="arXiv:0000.00002")
class ExtraDataset(Dataset):
    """People and the towns they live in."""

    hub = "somebody/people"
    licence = "as you like"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return (folder / "people.json").is_file()

    def load(self, folder: Path, percent: int, training_text: Path | None = None) -> Benchmark:
        path = folder / "people.json"
        if not path.is_file():
            raise DataError(f"{path}: missing; give the folder that holds it")
        sets = {name: [_person(folder, row) for row in rows] for name, rows in json.loads(path.read_text()).items()}
        return make_benchmark(test=sets["forget"], **sets)


def _person(folder: Path, row: dict[str, str]) -> Person:
    lives, name, town = "Where does {} live?", row["name"], row["town"]
    questions = [Question(task="train", input="image", question=lives.format("this person"), answer=f"{town}.")]
    for kind, who in (("image", "this person"), ("text", name)):
        asked, blank = lives.format(who), f"{who} lives in __."
        questions += [
            Question(task="classification", input=kind, question=asked, answer=town, options=TOWNS),
            Question(task="generation", input=kind, question=asked, answer=f"{town}."),
            Question(task="cloze", input=kind, question=blank, answer=town),
        ]
    portrait = (folder / f"{row['id']}.png").read_bytes()
    return Person(id=row["id"], name=name, images=(portrait,), questions=tuple(questions))
