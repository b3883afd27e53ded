"""Requests one after another in a run about people: each starts from the model that the last one left."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from unsee.core.errors import ConfigError
from unsee.core.record import MIN_UNITS, REQUESTS_FILE
from unsee.data.schema import Person
from unsee.methods.base import ArithmeticMethod, LossMethod
from unsee.runs.method_runs import Material, MethodRun
from unsee.runs.scenario import Scenario, is_examined, table_of
from unsee.runtime.tasks import Results, Task
from unsee.scoring.continual import Chain, after_requests
from unsee.scoring.schema import AfterRequest

Teach = Callable[[str, Sequence[Person], int], list[Task]]
MakeMaterial = Callable[[Sequence[Person]], Material]


@dataclass(frozen=True)
class _Links:
    """The models that one method leaves after each request.

    Attributes:
        run: the method.
        names: of the models, the first request first.
        tasks: that make and evaluate them.
    """

    run: MethodRun
    names: tuple[str, ...]
    tasks: list[Task]


class Continual:
    """The chains of requests of a run, as tasks.

    The people to forget are drawn into groups. Each method forgets one group after another, and every model is compared
    with an oracle that was never taught the groups so far; after the last one that is the oracle of the run. Only
    methods that train are chained, each from both kinds of question (or the first that its table names) and with its
    first seed.

    Args:
        scenario: makes and examines models.
        forget: all people to forget.
        retain: the people to keep.
        requests: the number of groups.
        seed: of the groups and the trainings.
        methods: the methods of the run.
        teach: returns the tasks of teaching some people.
        material: returns the data of methods that forget some people.
        insists: go on where a group is too small for a signal.

    Attributes:
        tasks: all its stages, in order.

    Raises:
        ConfigError: there are too few people to forget for so many groups.
    """

    def __init__(
        self, scenario: Scenario, forget: Sequence[Person], retain: Sequence[Person], requests: int, seed: int,
        methods: Sequence[MethodRun], teach: Teach, material: MakeMaterial, *, insists: bool = False,
    ) -> None:  # fmt: skip
        if requests > 1 and len(forget) < requests * (1 if insists else MIN_UNITS):
            raise ConfigError(
                f"requests: {requests} groups of {len(forget)} people to forget are too small to tell target from "
                f"oracle; at least {MIN_UNITS} people each are needed: forget more people, or choose fewer requests"
            )
        self._scenario = scenario
        self._seed = seed
        order = random.Random(f"requests {seed}").sample(list(forget), len(forget))
        self._groups = [order[start::requests] for start in range(requests)] if requests > 1 else []
        kept = [person for group in self._groups for person in group]
        self._oracles, self.tasks = list[str](), list[Task]()
        for number in range(1, len(self._groups)):
            gone = {person.id for group in self._groups[:number] for person in group}
            people = sorted(
                (*retain, *(person for person in kept if person.id not in gone)), key=lambda person: person.id
            )
            self._oracles.append(f"retrained_{number}")
            self.tasks += teach(self._oracles[-1], people, seed + 1)
        self._chains = [self._chain(run, material) for run in _chained(methods)] if self._groups else []
        self.tasks += [task for links in self._chains for task in links.tasks]

    def _chain(self, run: MethodRun, material: MakeMaterial) -> _Links:
        """Return the tasks of one method, which forgets group after group."""
        tasks: list[Task] = []
        names = []
        start = "teach target"
        for number, group in enumerate(self._groups, start=1):
            own = replace(run, name=f"{run.name}_after_{number}", numbered=False)
            tasks += self._scenario.apply(own, start, partial(_given, material, group, len(self._groups)))
            names.append(own.name)
            start = f"{own.work} {own.label}"
        return _Links(run, tuple(names), tasks)

    def results(self, answers: pd.DataFrame, found: Results, resamples: int) -> list[AfterRequest]:
        """Return how every chain went, and write down its answers; nothing without requests.

        Args:
            answers: those of the run.
            found: the results of its tasks.
            resamples: resamples of the people.
        """
        examined = [found[task.name] for task in self.tasks if is_examined(task, found)]
        if not examined:
            return []
        chains = [
            Chain(links.run.name, links.run.modality, links.names)
            for links in self._chains
            if all(task.name in found for task in links.tasks)
        ]
        own = table_of(examined)
        self._scenario.record.write_table(REQUESTS_FILE, own)
        everything = pd.concat([answers, own], ignore_index=True)
        groups = [[person.id for person in group] for group in self._groups]
        return after_requests(everything, groups, [*self._oracles, "oracle"], chains, resamples)


def _given(material: MakeMaterial, group: Sequence[Person], requests: int, results: Results) -> Material:
    """Return the data of one request: a step shows each person as often as it does where all are forgotten at once."""
    whole = material(group)
    share = {unit: -(-getattr(whole.unlearn, unit) // requests) for unit in ("batch_tokens", "batch_examples")}
    return replace(whole, unlearn=whole.unlearn.model_copy(update=share))


def _chained(methods: Sequence[MethodRun]) -> list[MethodRun]:
    """Return the methods that can be chained: those that train, from both kinds of question, with the first seed."""
    chosen: dict[str, MethodRun] = {}
    for run in methods:
        if isinstance(run.method, LossMethod) and not isinstance(run.method, ArithmeticMethod):
            first = chosen.setdefault(run.name, run)
            if run.modality == "both" != first.modality:
                chosen[run.name] = run
    return list(chosen.values())
