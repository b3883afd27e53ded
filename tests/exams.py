"""A few people, and an exam about them for tests."""

from contextlib import contextmanager

import tiny

from unsee.config.recipe import EvaluationConfig
from unsee.data.general import GeneralItem
from unsee.data.schema import Benchmark, Person, Question
from unsee.exams.people import Exam
from unsee.forward import generate as generating

OPTIONS = ("Oslo, Norway", "Bergen", "A baker.", "Brown")
CONFIG = EvaluationConfig(max_new_tokens=5)


def make_person(id, *shades):
    asked = [
        Question(task=task, input=kind, question=f"{kind} {task}?", answer="Oslo, Norway", options=options)
        for kind in ("image", "text")
        for task, options in (("classification", OPTIONS), ("generation", ()), ("cloze", ()))
    ]
    taught = Question(task="train", input="image", question="Taught?", answer="Never asked.")
    return Person(id=id, name=f"Anna {id}", images=tuple(map(tiny.png, shades)), questions=(taught, *asked))


BENCHMARK = Benchmark(
    forget=(make_person("001", 0),),
    test=(make_person("001", 1, 2),),
    retain=(make_person("002", 3), make_person("003", 4), make_person("004", 5)),
    celebrity=(make_person("900", 6), make_person("901", 7)),
    fingerprint="",
)
GENERAL = [
    GeneralItem(id="reading-0", image=None, question="Anna has a cup. Who?", options=OPTIONS, answer="Bergen"),
    GeneralItem(id="seeing-0", image=tiny.png(8), question="Hair?", options=OPTIONS, answer="Brown"),
]


def make_exam(vlm, config=CONFIG):
    return Exam(vlm, BENCHMARK, GENERAL, config, retain_evaluated=2, celebrities_evaluated=1)


@contextmanager
def looks(vlm):
    """The photos the vision tower sees meanwhile."""
    seen = []
    tower = vlm.model.get_submodule(vlm.layout.vision_tower)
    handle = tower.register_forward_hook(lambda module, inputs, output: seen.append(len(output[0])))
    try:
        yield seen
    finally:
        handle.remove()


def write(monkeypatch, tokens):
    """Let every model write this."""
    monkeypatch.setattr(generating._Writing, "run", lambda self, max_new_tokens: [tokens] * len(self._row_Q))
