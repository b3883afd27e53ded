"""Questions and scores for a training loop of your own: no recipe, no run folder, no cache.

    import unsee

    people = unsee.load("people/", 10)          # any data that a recipe takes, or from `unsee.build`
    target = unsee.evaluate(target_model, processor, people)      # a data frame, one row per question
    oracle = unsee.evaluate(oracle_model, processor, people)
    mine = unsee.evaluate(model, processor, people)
    print(unsee.score({"target": target, "oracle": oracle, "mine": mine}))

`attack` asks as an attack does, and `score` reads how much that gives back. `EvaluationCallback` scores the model at
every evaluation of `transformers.Trainer.train`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt, PositiveInt
from transformers import PreTrainedModel, ProcessorMixin
from transformers.trainer_callback import TrainerCallback

from unsee.attacks import ATTACKS
from unsee.attacks.base import QuestionAttack, WeightAttack
from unsee.config.arguments import checked
from unsee.config.reasons import shown
from unsee.config.recipe import EvaluationConfig, build_dataclass, build_table
from unsee.core.errors import ConfigError, RecordError, UnknownNameError
from unsee.core.record import ANSWER_COLUMNS, GENERAL_SET, METRIC_COLUMNS, OPTIONAL_METRICS, metric_columns
from unsee.data.general import general_items
from unsee.data.schema import Benchmark, Input, Question, Task
from unsee.exams.attacked import AttackedExams, takes_system
from unsee.exams.metrics import make_metrics
from unsee.exams.people import Exam
from unsee.metrics.base import AnsweredQuestion
from unsee.models.vlm import VLM
from unsee.scoring.attacks import ATTACKED, with_attacks
from unsee.scoring.cells import headline_metrics
from unsee.scoring.people import ScoredRun, score_runs
from unsee.scoring.schema import DO_NOTHING
from unsee.scoring.table import numbers

_ASKED = ("method", "set", "task", "input", "unit", "item", "truth", "answer")
_VALUES = {
    "set": ("forget", "test", "retain", "celebrity", GENERAL_SET), "task": get_args(Task)[1:], "input": get_args(Input),
}  # fmt: skip
_KINDS: tuple[tuple[tuple[type, ...], tuple[str, ...], str], ...] = (
    ((str,), ("modality", "question", *_ASKED[:4], "truth", "answer", *ATTACKED[:2]), "a text"),
    ((str, Real), ("unit", "item"), "a text or a number"),
    ((Integral,), ("seed", "budget"), "a whole number"),
    ((bool,), ("valid",), "true or false"),
    (
        (Real, type(pd.NA)),
        ("chance", "floor", *METRIC_COLUMNS, *OPTIONAL_METRICS),
        "a number, or NaN for none",
    ),
)
"""The kinds of value that columns hold, where they are there."""
_DEFAULTS: Mapping[str, object] = {"modality": "", "seed": 0, "question": "", "valid": True, "floor": float("nan")}


@checked("unsee.evaluate")
def evaluate(model: PreTrainedModel, processor: ProcessorMixin, people: Benchmark, **options: Any) -> pd.DataFrame:
    """Ask a model in memory every question about people, and some about nothing of theirs.

    Args:
        model: the model; it is left as it is.
        processor: its processor.
        people: the four sets, as `unsee.load` gives them.
        options: keys of a recipe's table `[evaluation]` ("max_new_tokens").

    Returns:
        One row per question: the columns of `unsee.core.record.ANSWER_COLUMNS` from `set` on, and the metrics.

    Raises:
        ConfigError: an option or an argument cannot be used.
        ModelError: a question does not fit into the model's context.
    """
    return _Questions(processor, people, options).put_to(model)


@checked("unsee.attack")
def attack(
    model: PreTrainedModel, processor: ProcessorMixin, people: Benchmark, name: str,
    settings: Mapping[str, Any] | None = None, **options: Any,
) -> pd.DataFrame:  # fmt: skip
    """Ask a model in memory about the people to forget as an attack does, in each of its ways.

    These are attacks that ask in other ways ("prompt", "picture", "sample") or change weights for the moment
    ("quantise"). Attacks that train or read hidden states need a run.

    Args:
        model: the model; it is left as it is.
        processor: its processor.
        people: as for `evaluate`.
        name: of the attack.
        settings: options of the attack, as in a recipe's table `[attack.NAME]`.
        options: keys of a recipe's table `[evaluation]`, the same as for `evaluate`.

    Returns:
        The rows of `evaluate` about the people to forget, once for each way, with the columns attack, variant and
        budget (0). A way that does not fit the model, such as a system prompt, is left out.

    Raises:
        UnknownNameError: there is no such attack.
        ConfigError: an option cannot be used, or the attack needs a run.
        ModelError: a question does not fit into the model's context.
    """
    found = build_dataclass(ATTACKS.get(name), settings or {}, f"attack.{name}")
    if not isinstance(found, QuestionAttack | WeightAttack):
        usable = ATTACKS.usable().items()
        others = [one for one, cls in usable if issubclass(cls, (QuestionAttack, WeightAttack))]
        raise ConfigError(f"attack {name}: trains or reads the model; use it in a run, or one of: {', '.join(others)}")
    parts = _Questions(processor, people, options).under_attack(model, name, found)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*ATTACKED])


class _Questions:
    """The questions about people, prepared once for all models with one processor."""

    def __init__(self, processor: ProcessorMixin, people: Benchmark, options: Mapping[str, Any]) -> None:
        self._config = build_table(EvaluationConfig, options, "evaluation")
        self._processor, self._people = processor, people
        self._exam: Exam | None = None

    def put_to(self, model: PreTrainedModel) -> pd.DataFrame:
        """Return the answers of a model."""
        with self._asked(model) as (vlm, exam):
            return exam.examine(vlm)

    def under_attack(
        self, model: PreTrainedModel, name: str, attack: QuestionAttack | WeightAttack
    ) -> list[pd.DataFrame]:
        """Return the answers of a model in each way of an attack."""
        with self._asked(model) as (vlm, exam):
            exams = AttackedExams(vlm, exam, self._people.forget, self._people.retain, 0)
            if isinstance(attack, WeightAttack):
                found = {variant: self._changed(vlm, exams.plain(), attack, variant) for variant in attack.variants}
            else:
                found = {
                    variant: exams.ask(name, attack, variant, asking).examine(vlm, system=asking.system or None)
                    for variant, asking in attack.askings.items()
                    if not asking.system or takes_system(vlm, asking.system)
                }
        return [rows.assign(attack=name, variant=variant, budget=0) for variant, rows in found.items() if len(rows)]

    def _changed(self, vlm: VLM, exam: Exam, attack: WeightAttack, variant: str) -> pd.DataFrame:
        """Ask the model with changed weights, and give it back its own."""
        weights: list[Any] = [vlm.model.get_submodule(name).weight for name in vlm.lora_modules("decoder+projector")]
        before = [weight.data for weight in weights]
        try:
            for weight in weights:
                weight.data = attack.change(variant, weight.data)
            return exam.examine(vlm)
        finally:
            for weight, data in zip(weights, before, strict=True):
                weight.data = data

    @contextmanager
    def _asked(self, model: PreTrainedModel) -> Iterator[tuple[VLM, Exam]]:
        """Yield a model that does not train meanwhile, and the exam."""
        was_training = model.training
        model.eval()
        try:
            vlm = VLM(model, self._processor, getattr(model, "name_or_path", "") or "model")
            if self._exam is None:
                self._exam = Exam(vlm, self._people, general_items(self._config.general_items, 0), self._config)
            yield vlm, self._exam
        finally:
            model.train(was_training)


@checked("unsee.with_metrics")
def with_metrics(answers: pd.DataFrame) -> pd.DataFrame:
    """Return answers of any code with a column for every metric that they lack, 0 to 1 or missing.

    Args:
        answers: as for `score`; no column method is needed. Metrics that are read from the model's probabilities stay
            missing.

    Raises:
        ConfigError: the argument is no data frame.
        RecordError: a column is missing, or holds something else.
    """
    return _completed(answers if "method" in answers.columns else answers.assign(method="model"))


@checked("unsee.score")
def score(
    answers: pd.DataFrame | Mapping[str, pd.DataFrame], num_resamples: PositiveInt = 1000, seed: NonNegativeInt = 0,
    attacked: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Score models by their answers: efficacy, generality, utility and score, with intervals over people.

    docs/scores.md has the definitions.

    Args:
        answers: a table with the rows of several models, or the tables of models by name. One model has to be named
            "target" (it knows the people) and one "oracle" (retrained without those to forget). Columns that are
            needed: method (the model's name), set ("forget", "test", "retain", "celebrity", "general"), task
            ("classification", "generation", "cloze"; of the general set also "instruction", and "prose", which needs a
            column probability), input ("image", "text"), unit (the person), item (the question's
            ID, the same for all models), truth, answer; and options for choices. What else is missing of
            `unsee.core.record.ANSWER_COLUMNS` gets a default; without a metric, all are computed from truth and answer.
        num_resamples: resamples of the bootstrap over people.
        seed: of the bootstrap.
        attacked: the answers of the same models under attacks, by `attack`, target and oracle among them; they give
            the column robustness.

    Returns:
        One row per model, with the ends of each interval (`score_low`, `score_high`), a verdict
        and its reason; numbers without signal are missing. A method with several seeds (column seed) has one row.

    Raises:
        ConfigError: an argument cannot be used.
        RecordError: a column or a model is missing, a column holds something else, or models were asked different
            questions.
    """
    run = ScoredRun(_completed(_joined(answers)), num_resamples, seed)
    under_attack = None if attacked is None else _under_attack(_joined(attacked))
    scores = score_runs([run])
    if under_attack is not None:
        scores = with_attacks(scores, [run], [under_attack])
    table = numbers(scores)
    return table.assign(reason=table["reason"].fillna(scores.reason)) if scores.reason else table


def _joined(answers: pd.DataFrame | Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one table with rows of its own."""
    if isinstance(answers, pd.DataFrame):
        return answers.reset_index(drop=True)
    for name, own in answers.items():
        _check_rows(own, f"answers of {name}")
    tables = [own.assign(method=name) for name, own in answers.items()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _under_attack(attacked: pd.DataFrame) -> pd.DataFrame:
    """Return the answers under attacks, those of the target as of the model to which nothing was done.

    Raises:
        RecordError: a column, the target or the oracle is missing.
    """
    for column in ATTACKED:
        if column not in attacked.columns:
            raise RecordError(f"attacked: no column {column}; unsee.attack makes such a table")
    attacked = _completed(attacked, "attacked")
    for name in ("target", "oracle"):
        if name not in set(attacked["method"]):
            raise RecordError(f"attacked: no {name}; what an attack gives back is read against target and oracle")
    twin = attacked[attacked["method"] == "target"].assign(method=DO_NOTHING)
    return pd.concat([attacked, twin], ignore_index=True)


def _completed(answers: pd.DataFrame, where: str = "answers") -> pd.DataFrame:
    """Return the answers with every column that scores are computed from."""
    _check(answers, where)
    answers = answers.assign(**{name: value for name, value in _DEFAULTS.items() if name not in answers.columns})
    options = answers["options"] if "options" in answers.columns else [()] * len(answers)
    answers["options"] = [
        list(given) if task == "classification" else [] for task, given in zip(answers["task"], options, strict=True)
    ]
    if "chance" not in answers.columns:
        pairs = zip(answers["task"], answers["options"], strict=True)
        answers["chance"] = [
            {"generation": float("nan"), "classification": 1 / max(1, len(own))}.get(task, 0.0) for task, own in pairs
        ]
    own = set(metric_columns(answers))
    wanted = [name for name in headline_metrics(answers) if name not in own] if own else None
    return answers if wanted == [] else answers.join(_metrics(answers, wanted))


def _check(answers: pd.DataFrame, where: str) -> None:
    """Refuse a table that cannot be scored, before any number is computed.

    Raises:
        RecordError: it cannot.
    """
    _check_rows(answers, where)
    for column in _ASKED:
        if column not in answers.columns:
            raise RecordError(f"{where}: no column {column}; needed: {', '.join(_ASKED)}, and options for choices")
        if len(missing := answers.index[answers[column].isna()]):
            raise RecordError(f"{where}, row {missing[0]}: no {column}; an answer that says nothing is an empty text")
    _check_kinds(answers, where)
    for column, known in _VALUES.items():
        for value in answers[column].unique():
            if value not in known:
                raise UnknownNameError(f"{where}: {column}", str(value), known)
    choices = answers[answers["task"] == "classification"]
    if len(choices) and "options" not in answers.columns:
        raise RecordError(f"{where}: no column options; choices need the texts of their options")
    for row, options in choices["options"].items() if len(choices) else ():
        a_list = np.iterable(options) and not isinstance(options, str | Mapping)
        if not a_list or not all(isinstance(one, str) for one in options):
            raise RecordError(f"{where}, row {row}: options is {shown(options)}; it must be a list of texts")
    model = [column for column in ("method", "modality", "seed", *ATTACKED) if column in answers.columns]
    if len(twice := answers.index[answers.duplicated([*model, "item"])]):
        raise RecordError(f"{where}, row {twice[0]}: item {answers['item'][twice[0]]!r} is there twice for one model")
    differ = answers.groupby("item")["truth"].nunique()
    if (differ > 1).any():
        raise RecordError(f"{where}: item {differ.index[differ > 1][0]!r} has other truths in other models")
    for metric in headline_metrics(answers):
        if metric in answers.columns and not answers[metric].dropna().between(0, 1).all():
            raise RecordError(f"{where}: {metric} must lie between 0 and 1")


def _check_rows(table: pd.DataFrame, where: str) -> None:
    if table.empty:
        raise RecordError(f"{where}: holds no row")
    if not table.columns.is_unique:
        raise RecordError(f"{where}: column {table.columns[table.columns.duplicated()][0]} is there twice")


def _check_kinds(table: pd.DataFrame, where: str) -> None:
    """Refuse a table with something else in a column than what it must hold."""
    for kinds, names, what in _KINDS:
        for column in (name for name in names if name in table.columns):
            for row, value in zip(table.index, table[column].tolist(), strict=True):
                if not isinstance(value, kinds):
                    raise RecordError(f"{where}, row {row}: {column} is {shown(value)}; it must be {what}")


def _metrics(answers: pd.DataFrame, wanted: Sequence[str] | None) -> pd.DataFrame:
    """Return some metrics, or all, of answers whose probability is not known."""
    made = make_metrics(EvaluationConfig(), {})
    metrics = {name: metric for name, metric in made.items() if wanted is None or name in wanted}
    rows = []
    for row in answers[list(ANSWER_COLUMNS)].itertuples():
        question = Question(
            task=row.task, input=row.input, question=row.question, answer=row.truth, options=tuple(row.options)
        )
        answered = AnsweredQuestion(question=question, answer=row.answer, log_probability=float("nan"), num_tokens=1)
        rows.append(
            {
                name: metric.score(answered) if row.task in metric.tasks else float("nan")
                for name, metric in metrics.items()
            }
        )
    return pd.DataFrame(rows, index=answers.index)


@checked("unsee.EvaluationCallback")
class EvaluationCallback(TrainerCallback):
    """Scores the model at every evaluation of a `transformers.Trainer` that unlearns.

    The metrics of the evaluation get `eval_unsee_efficacy`, `eval_unsee_generality`, `eval_unsee_utility` and
    `eval_unsee_score`, so that `metric_for_best_model="unsee_score"` chooses by them. A number without signal, or of a
    collapsed model, is left out or 0, as in a report.

    Args:
        people: the four sets.
        processor: the model's processor.
        target: the answers of the model that knows the people, by `evaluate`.
        oracle: those of the model that was retrained without the people to forget.
        options: keys of a recipe's table `[evaluation]`, the same as for target and oracle.

    Attributes:
        history: the numbers of every evaluation, with its step.

    Raises:
        ConfigError: an option cannot be used.
        RecordError: the answers of target and oracle cannot be scored.
    """

    def __init__(
        self,
        people: Benchmark,
        processor: ProcessorMixin,
        *,
        target: pd.DataFrame,
        oracle: pd.DataFrame,
        **options: Any,
    ) -> None:
        self._questions = _Questions(processor, people, options)
        self._known = {"target": target, "oracle": oracle}
        score(self._known, num_resamples=1)  # what is wrong with them is said before the training
        self.history: list[dict[str, float]] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask the model, add the numbers to the metrics of this evaluation and to the trainer's log."""
        answers = self._questions.put_to(kwargs["model"])
        scores = score(self._known | {"model": answers}, num_resamples=100).set_index("method").loc["model"]
        values = {name: scores[name] for name in ("efficacy", "generality", "utility", "score")}
        found = {f"eval_unsee_{name}": float(value) for name, value in values.items() if pd.notna(value)}
        kwargs.get("metrics", {}).update(found)
        self.history.append({"step": state.global_step, **found})
        state.log_history.append({"step": state.global_step, **found})
