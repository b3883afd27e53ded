"""The same work in one process or in several that know of each other, as `accelerate launch` starts them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import forks
import pandas as pd
import tiny
from accelerate import PartialState
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from unsee.config.recipe import RECIPES, EvaluationConfig
from unsee.data.schema import Benchmark, Person, Question
from unsee.exams import people as evaluate
from unsee.forward import generate
from unsee.methods import METHODS
from unsee.methods.base import GradientMethod, Side
from unsee.runtime.distributed import state
from unsee.training.batches import Plan, Stream
from unsee.training.lessons import FineTuning
from unsee.training.train import Reference, Schedule, Scorer, train

STEPS = 4
OBJECTIVES: dict[str, Callable[[], Any]] = {
    "fine_tuning": FineTuning,
    "gradient_difference": lambda: METHODS.get("gradient_difference")(schedule="alternating"),
    "kl_minimisation": lambda: METHODS.get("kl_minimisation")(reduction="batchmean", cross_entropy_weight=1.0),
    "kl of every position": lambda: METHODS.get("kl_minimisation")(reduction="batchmean", positions="all"),
    "npo": METHODS.get("npo"),
    "npo of answers": lambda: METHODS.get("npo")(reduction="answer_mean"),
    "npo balanced": lambda: METHODS.get("npo")(balance=True),
    "rmu": lambda: METHODS.get("rmu")(layers="0", coefficient=0.1),
    "mmunlearner": lambda: METHODS.get("mmunlearner")(threshold=0.01),
    "npo of another model": lambda: METHODS.get("npo")(reduction="batch", reference="oracle"),
}


def together(count: int, work: Callable[..., Any], *arguments: Any, seconds: float = 300) -> list[Any]:
    """Call one function in so many processes at once; what each returned, the main process first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ends = [forks.context.Pipe(duplex=False) for _ in range(count)]
    started = [forks.process(_member, (index, count, port, ends[index][1], work, arguments)) for index in range(count)]
    for process in started:
        process.start()
    try:
        for index, (receiver, sender) in enumerate(ends):
            sender.close()
            if not receiver.poll(seconds):
                raise TimeoutError(f"process {index} of {count}: nothing after {seconds} s")
        return [receiver.recv() for receiver, _ in ends]
    finally:
        for process in started:
            process.kill()
            process.join()


def _member(index: int, count: int, port: int, end: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    launcher = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    if count > 1:
        os.environ.update({name: str(value) for name, value in launcher.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    end.send(work(*arguments))


def divided(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function whose models are divided by FSDP, which accelerate offers on GPUs, here on the CPU."""
    content = load_config_from_file(str(RECIPES / "accelerate" / "fsdp.yaml"))
    os.environ.update({name.upper(): str(value) for name, value in content.fsdp_config.items()})
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    state()
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    found = work(*arguments)
    if AcceleratorState().distributed_type != DistributedType.FSDP:
        raise AssertionError("the weights were not divided")
    return found


def curve(
    objective: str, trainable: str, batch_examples: int = 5, checkpoint: Path | None = None, stop_after: int = STEPS
) -> list[dict[str, float]]:
    """The parts and the sum of the loss at every step of a training on rows with photos and rows of text.

    Args:
        objective: a key of `OBJECTIVES`.
        trainable: "full" or "lora".
        batch_examples: rows of each side in a step.
        checkpoint: where the state is kept after every second step.
        stop_after: end there, as if killed.
    """
    vlm = tiny.make_vlm()
    trees = [
        tiny.make_tree(vlm, questions, answers, picture=tiny.picture_of(vlm, shade) if shade % 3 == 0 else None)
        for shade in range(7)
        for questions, answers in ((tiny.QUESTIONS[shade % 3 :], tiny.ANSWERS[shade % 3 :]),)
    ]
    rows = [(tree,) for tree in trees]
    method = OBJECTIVES[objective]()
    sides: tuple[Side, ...] = ("forget", "retain")
    streams = [
        Stream(
            make_rows=lambda rng: rows, sides=(side,), vlm=vlm, seed=side, batch_examples=batch_examples,
            whole_sides=tuple(one for one in method.whole_sides if one == side),
        )
        for side in sides
    ]  # fmt: skip
    steps = Plan(streams, method, "clean").steps
    reference = None
    if method.reference == "oracle":
        other = tiny.make_vlm(seed=1)
        reference = Reference(other, Scorer(other), other=True)
        steps = reference.announced((next(steps) for _ in range(STEPS)), method.reference_sides)
    fisher = {(stream.sides[0], "image"): stream.epoch(0) for stream in streams if isinstance(method, GradientMethod)}
    parameters = vlm.train_language() if trainable == "full" else vlm.add_lora(4, 8)
    losses: list[dict[str, float]] = []

    def keep(step: int, loss: Any, rate: float) -> None:
        losses.append({"step": step, "total": loss.total.item(), **loss.parts})
        if step + 1 == stop_after < STEPS:
            raise InterruptedError

    schedule = Schedule(learning_rate=3e-3, steps=STEPS, checkpoint_every=2)
    with contextlib.suppress(InterruptedError):
        train(
            vlm, method, steps, schedule, parameters, name=objective, reference=reference, fisher=fisher,
            checkpoint=checkpoint, on_step=keep,
        )  # fmt: skip
    return losses


def curves(objectives: Sequence[str], trainable: str) -> dict[str, list[dict[str, float]]]:
    """The curves of some objectives."""
    return {name: curve(name, trainable) for name in objectives}


def answers() -> pd.DataFrame:
    """What a tiny model answers in an exam of many small batches."""
    generate.BATCH_TOKENS = 300
    vlm = tiny.make_vlm()
    options = ("Oslo, Norway", "Bergen", "A baker.", "Brown")
    people = tuple(
        Person(
            id=f"{number:03}",
            name="Anna Berg",
            images=(tiny.png(number),),
            questions=tuple(
                Question(task=task, input=kind, question="Where?", answer="Oslo, Norway", options=shown)
                for kind in ("image", "text")
                for task, shown in (("classification", options), ("generation", ()))
            ),
        )
        for number in range(5)
    )
    benchmark = Benchmark(forget=people, test=(), retain=people[:1], celebrity=(), fingerprint="")
    return evaluate.Exam(vlm, benchmark, (), EvaluationConfig(max_new_tokens=4, batch_size=2)).examine(vlm)
