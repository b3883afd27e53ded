"""The plan of an exam: questions that share a prompt, with their photos and the answered questions before them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from unsee.config.recipe import EvaluationConfig
from unsee.core.errors import ConfigError
from unsee.core.record import GENERAL_SET
from unsee.data.english import english_items
from unsee.data.general import GeneralItem, general_items
from unsee.data.schema import Benchmark, Input, Person, Question, Task
from unsee.data.world import world_items
from unsee.models.family import Picture
from unsee.models.vlm import VLM

CellKey = tuple[str, Task, Input]
"""Set, task and input of a question."""
TASKS = tuple(task for task in get_args(Task) if task != "train")


@dataclass(frozen=True)
class Item:
    """One question of the exam.

    Attributes:
        set: the set of the benchmark.
        unit: the ID of the unit for intervals: the person, or in the general set the item.
        id: the ID of the item, the same for every model.
        question: the question.
        turns: earlier turns of the chat, each with what the user said and what the model answered.
        opening: the beginning of the answer, which is given.
    """

    set: str
    unit: str
    id: str
    question: Question
    turns: tuple[tuple[str, str], ...] = ()
    opening: str = ""

    @property
    def cell(self) -> CellKey:
        """Set, task and input."""
        return self.set, self.question.task, self.question.input


@dataclass(frozen=True)
class PromptGroup:
    """Items that share pictures and shots (answered questions about other people), so they share most of a prompt."""

    items: list[Item]
    pictures: tuple[Picture, ...] = ()
    shots: tuple[Question, ...] = ()


class ExamPlan:
    """Chooses the photos and the shots for the questions about the people of a set.

    Random choices are seeded by `config.seed`, set and task.
    """

    def __init__(self, vlm: VLM, config: EvaluationConfig, benchmark: Benchmark) -> None:
        self._vlm = vlm
        self._config = config
        self._benchmark = benchmark
        self._pictures: dict[bytes, Picture] = {}
        alike = not config.choice_shots and not config.cloze_shots and config.test_image == "all"
        self._together: Sequence[tuple[Task, ...]] = [TASKS] if alike else [(task,) for task in TASKS]

    def prompt_groups(self, name: str, people: Sequence[Person]) -> Iterator[PromptGroup]:
        """Yield the prompt groups of one set, without questions about people who serve as shots for their task.

        Raises:
            ConfigError: everybody in the set serves as a shot.
        """
        shown = {task: self._shots(name, task, people) for task in TASKS}
        for task, examples in shown.items():
            if people and {person.id for person in people} <= {person.id for person in examples}:
                raise ConfigError(
                    f"evaluation: everybody in the {name} set serves as a shot ({task}), which leaves nobody to ask; "
                    "use fewer shots, or evaluation.shots_from = 'retain'"
                )
        for person in people:
            for tasks in self._together:
                examples = shown[tasks[0]]
                if person.id not in {example.id for example in examples}:
                    yield from self._of_person(name, person, tasks, examples)

    def _of_person(
        self, name: str, person: Person, tasks: tuple[Task, ...], examples: Sequence[Person]
    ) -> Iterator[PromptGroup]:
        """Yield one group per photo, and one for the questions by name."""
        asked = [question for question in person.questions if question.task != "train"]
        numbered = [
            (f"{name}/{person.id}/{i:02}-{question.task}-{question.input}", question)
            for i, question in enumerate(asked)
            if question.task in tasks
        ]
        with_image = [(id, question) for id, question in numbered if question.input == "image"]
        if with_image:
            shots, pictures = self._block(examples, tasks, "image")
            chosen = self._photos(name, person, tasks)
            named = {question.photo for _, question in with_image if question.photo is not None}
            for photo in sorted(named.union(chosen)):
                items = [
                    Item(name, person.id, f"{id}/{photo}", question)
                    for id, question in with_image
                    if question.photo == photo or (question.photo is None and photo in chosen)
                ]
                if items:
                    yield PromptGroup(items, (*pictures, self._picture(person, photo)), shots)
        items = [Item(name, person.id, id, question) for id, question in numbered if question.input == "text"]
        if items:
            yield PromptGroup(items, (), self._block(examples, tasks, "text")[0])

    def _photos(self, name: str, person: Person, tasks: tuple[Task, ...]) -> Sequence[int]:
        photos = range(len(person.images))
        if self._config.test_image == "all":
            return photos
        return [random.Random(f"{self._config.seed}-photo-{name}-{tasks[0]}-{person.id}").choice(photos)]

    def _shots(self, name: str, task: Task, people: Sequence[Person]) -> tuple[Person, ...]:
        """Draw the people who serve as shots; questions about celebrities, whom no model is taught, have none.

        As published, they are shown in the order of `Full_Set`, which is that of their IDs.
        """
        count = {"classification": self._config.choice_shots, "cloze": self._config.cloze_shots}.get(task, 0)
        if not count or not people or name == "celebrity":
            return ()
        if self._config.shots_from == "retain":
            pool = self._benchmark.retain
        else:  # as published, shots of the test set show the original questions and photos
            pool = self._benchmark.forget if name == "test" else tuple(people)
        rng = random.Random(f"{self._config.seed}-shots-{name}-{task}")
        return tuple(sorted(rng.sample(pool, min(count, len(pool))), key=lambda person: person.id))

    def _block(
        self, examples: Sequence[Person], tasks: tuple[Task, ...], kind: Input
    ) -> tuple[tuple[Question, ...], tuple[Picture, ...]]:
        """Return the shots of one input, with the photo of each person once per question."""
        shots: list[Question] = []
        pictures: list[Picture] = []
        for person in examples:
            asked = [question for question in person.questions if (question.task, question.input) == (tasks[0], kind)]
            asked = asked[:1] if self._config.shot_questions == "first" else asked
            shots += asked
            pictures += [self._picture(person, question.photo or 0) for question in asked if kind == "image"]
        return tuple(shots), tuple(pictures)

    def _picture(self, person: Person, index: int = 0) -> Picture:
        """Return a photo preprocessed for the model; equal photos become one object."""
        image = person.images[index]
        if image not in self._pictures:
            self._pictures[image] = self._vlm.picture(person.image(index))
        return self._pictures[image]


def general_questions(config: EvaluationConfig, seed: int) -> list[GeneralItem]:
    """Return the questions of the general set."""
    world, english = world_items(config.world_items, seed), english_items(config.english_items, seed)
    return [*general_items(config.general_items, seed), *world, *english]


def general_group(vlm: VLM, item: GeneralItem) -> PromptGroup:
    """Return the prompt group of one general item, without shots."""
    question = Question(
        task=item.task,
        input="text" if item.image is None else "image",
        question=item.question,
        answer=item.answer,
        options=item.options,
    )
    image = Person(id=item.id, name="", images=(item.image,), questions=()).image() if item.image else None
    pictures = (vlm.picture(image),) if image else ()
    return PromptGroup([Item(GENERAL_SET, item.id, item.id, question)], pictures)
