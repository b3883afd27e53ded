"""Questions and scores for a training loop of your own: no recipe, no run folder, no cache.

    import unsee

    people = unsee.load("people/", 10)                       # a folder in the published layout, or `unsee.build` it
    target = unsee.evaluate(target_model, processor, people)      # a data frame, one row per question
    oracle = unsee.evaluate(oracle_model, processor, people)
    mine = unsee.evaluate(model, processor, people)
    print(unsee.score({"target": target, "oracle": oracle, "mine": mine}))

`EvaluationCallback` does the same during `transformers.Trainer.train`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from transformers import PreTrainedModel, ProcessorMixin
from transformers.trainer_callback import TrainerCallback

from unsee.config.recipe import EvaluationConfig, build_table
from unsee.core.errors import RecordError
from unsee.core.record import ANSWER_COLUMNS, metric_columns
from unsee.data.general import general_items
from unsee.data.schema import Benchmark, Question
from unsee.exams.metrics import make_metrics
from unsee.exams.people import Exam
from unsee.metrics.base import AnsweredQuestion
from unsee.models.vlm import VLM
from unsee.scoring.people import score as people_scores
from unsee.scoring.table import numbers

_ASKED = ("method", "set", "task", "input", "unit", "item", "truth", "answer")
_DEFAULTS: Mapping[str, object] = {"modality": "", "seed": 0, "question": "", "valid": True, "floor": float("nan")}


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
        ConfigError: an option cannot be used.
        ModelError: a question does not fit into the model's context.
    """
    config = build_table(EvaluationConfig, options, "evaluation")
    was_training = model.training
    model.eval()
    try:
        vlm = VLM(model, processor, getattr(model, "name_or_path", "") or "model")
        return Exam(vlm, people, general_items(config.general_items, 0), config).examine(vlm)
    finally:
        model.train(was_training)


def score(answers: pd.DataFrame | Mapping[str, pd.DataFrame], num_resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Score models by their answers: efficacy, generality, utility and score, with intervals over people.

    docs/scores.md has the definitions.

    Args:
        answers: a table with the rows of several models, or the tables of models by name. One model has to be named
            "target" (it knows the people) and one "oracle" (retrained without those to forget). Columns that are
            needed: method (the model's name), set ("forget", "test", "retain", "celebrity", "general"), task
            ("classification", "generation", "cloze"), input ("image", "text"), unit (the person), item (the question's
            ID, the same for all models), truth, answer; and options for choices. What else is missing of
            `unsee.core.record.ANSWER_COLUMNS` gets a default; without a metric, all are computed from truth and answer.
        num_resamples: resamples of the bootstrap over people.
        seed: of the bootstrap.

    Returns:
        One row per model, with the ends of each interval (`score_low`, `score_high`), a verdict
        and its reason; numbers without signal are missing. A method with several seeds (column seed) has one row.

    Raises:
        RecordError: a column or a model is missing, or models were asked different questions.
    """
    if isinstance(answers, Mapping):
        answers = pd.concat([own.assign(method=name) for name, own in answers.items()], ignore_index=True)
    return numbers(people_scores(_completed(answers), num_resamples, seed))


def _completed(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the answers with every column that scores are computed from."""
    for column in _ASKED:
        if column not in answers.columns:
            raise RecordError(f"answers: no column {column}; needed: {', '.join(_ASKED)}, and options for choices")
    choices = answers["task"] == "classification"
    if "options" not in answers.columns and choices.any():
        raise RecordError("answers: no column options; choices need the texts of their options")
    answers = answers.assign(**{name: value for name, value in _DEFAULTS.items() if name not in answers.columns})
    if "options" not in answers.columns:
        answers["options"] = [[]] * len(answers)
    if "chance" not in answers.columns:
        chance = {"classification": lambda options: 1 / max(1, len(options)), "cloze": lambda options: 0.0}
        pairs = zip(answers["task"], answers["options"], strict=True)
        answers["chance"] = [chance[task](options) if task in chance else float("nan") for task, options in pairs]
    return answers if metric_columns(answers) else answers.join(_metrics(answers))


def _metrics(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of answers whose probability is not known."""
    metrics = make_metrics(EvaluationConfig(), {})
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
        self._people, self._processor, self._options = people, processor, options
        self._known = {"target": target, "oracle": oracle}
        self.history: list[dict[str, float]] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask the model, add the numbers to the metrics of this evaluation and to the trainer's log."""
        answers = evaluate(kwargs["model"], self._processor, self._people, **self._options)
        scores = score(self._known | {"model": answers}, num_resamples=100).set_index("method").loc["model"]
        values = {name: scores[name] for name in ("efficacy", "generality", "utility", "score")}
        found = {f"eval_unsee_{name}": float(value) for name, value in values.items() if pd.notna(value)}
        kwargs.get("metrics", {}).update(found)
        self.history.append({"step": state.global_step, **found})
        state.log_history.append({"step": state.global_step, **found})
