"""The exam of an attack: the questions under attack, asked in another way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from unsee.attacks.base import QUESTION, Asking, QuestionAttack
from unsee.core.errors import ModelError
from unsee.data.schema import Person
from unsee.exams.people import Exam
from unsee.exams.plan import Item, PromptGroup
from unsee.models.family import Picture
from unsee.models.vlm import VLM


class AttackedExams:
    """Makes an exam for each way of asking.

    Args:
        vlm: prepares the pictures.
        exam: an exam that holds the questions under attack.
        people: everybody whom they are about.
        retain: people to keep, for examples.
        seed: of pictures and examples.
        sets: the sets of the questions under attack.
    """

    def __init__(
        self, vlm: VLM, exam: Exam, people: Sequence[Person], retain: Sequence[Person], seed: int,
        sets: Sequence[str] = ("forget",),
    ) -> None:  # fmt: skip
        self._vlm = vlm
        self._exam = exam
        self._people = {person.id: person for person in people}
        self._retain = retain
        self._seed = seed
        self._groups = [group for group in exam.prompt_groups if group.items[0].set in sets]

    def plain(self, is_asked: Callable[[Item], bool] = lambda item: True) -> Exam:
        """Return the exam with the questions under attack only, all or some of them."""
        return self._changed("plain", lambda item: item if is_asked(item) else None)

    def ask(self, name: str, attack: QuestionAttack, variant: str, asking: Asking) -> Exam:
        """Return the exam with the questions as an attack asks them.

        Args:
            name: of the attack.
            attack: draws the pictures.
            variant: the name of the asking.
            asking: how to ask.
        """
        settings: Any = attack
        changed = [name, asdict(settings), variant, asdict(asking), self._seed]

        def around(item: Item) -> Item | None:
            question = item.question
            if asking.samples and question.task == "classification":
                return None
            if asking.pictures and question.input == "text":
                return None
            turns = [*self._examples(item, asking.examples), *asking.turns]
            said = tuple(
                (text.replace(QUESTION, question.question), answer.replace(QUESTION, question.question))
                for text, answer in turns
            )
            worded = replace(question, question=asking.wording.replace(QUESTION, question.question))
            return replace(item, question=worded, turns=said, opening=asking.opening)

        def pictured(group: PromptGroup) -> Iterator[PromptGroup]:
            if asking.pictures == "photo":
                yield replace(group, pictures=(*group.pictures[:-1], self._drawn(attack, variant, group.items[0], "")))
            for item in group.items if asking.pictures == "question" else ():
                drawn = self._drawn(attack, variant, item, item.question.question)
                yield replace(group, items=[item], pictures=(*group.pictures[:-1], drawn))

        return self._changed(changed, around, pictured if asking.pictures else None, asking.samples)

    def _changed(
        self,
        key: object,
        change: Callable[[Item], Item | None],
        pictured: Callable[[PromptGroup], Iterator[PromptGroup]] | None = None,
        samples: int = 0,
    ) -> Exam:
        groups = []
        for group in self._groups:
            kept = replace(group, items=[item for item in group.items if change(item)])
            if kept.items:
                groups += list(pictured(kept)) if pictured else [kept]
        asked = []
        for group in groups:
            # A picture belongs to the beginning of its group, so questions after different turns are different groups.
            alike: dict[object, list[Item]] = {}
            for item in (one for item in group.items if (one := change(item))):
                alike.setdefault(item.turns if group.pictures else (), []).append(item)
            asked += [replace(group, items=items) for items in alike.values()]
        ids = [item.id for group in asked for item in group.items]
        return self._exam.asking(asked, [key, ids], samples)

    def _drawn(self, attack: QuestionAttack, variant: str, item: Item, question: str) -> Picture:
        """Return the picture for the photo of an item, whose number ends the item's ID."""
        person, photo = self._people[item.unit], int(item.id.rpartition("/")[2])
        rng = random.Random(f"{self._seed}-{variant}-{person.id}-{photo}-{question}")
        return self._vlm.picture(attack.picture(variant, person.image(photo), question, rng))

    def _examples(self, item: Item, count: int) -> list[tuple[str, str]]:
        """Return answered questions about people to keep, of the same task, by name."""
        rng = random.Random(f"{self._seed}-examples-{item.id}")
        people = rng.sample(self._retain, min(count, len(self._retain)))
        asked = [[q for q in one.questions if (q.task, q.input) == (item.question.task, "text")] for one in people]
        return [(one.question, one.answer) for one in (rng.choice(own) for own in asked if own)]


def takes_system(vlm: VLM, system: str) -> bool:
    """Return False for a chat template that drops or refuses a system prompt."""
    try:
        vlm.template(with_image=False, system=system)
    except ModelError:
        return False
    return True
