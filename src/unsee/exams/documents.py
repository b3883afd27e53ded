"""The exam of runs about documents: asks the questions of a privacy benchmark, and records leaks and refusals.

A `PrivacyExam` is prepared once and examines every model of a run. Every question is answered greedily and scored once;
leaks, correct answers and the decisions of all judges of refusal are computed from that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import pandas as pd

from unsee.config.recipe import build_dataclass
from unsee.core.errors import DataError, ModelError
from unsee.core.files import write
from unsee.core.journal import Journal
from unsee.core.progress import Progress, Silent
from unsee.core.reading import read_json
from unsee.core.record import ANSWER_COLUMNS, GENERAL_SET, LEAK, METRIC_COLUMNS, REFUSED, Better, check_writable
from unsee.core.source import source_hash
from unsee.data.documents.schema import EDITED_SPLITS, Case, PrivacyBenchmark, Query
from unsee.exams.people import Exam
from unsee.forward.generate import Group, all_replies, generate
from unsee.forward.trees import build_tree
from unsee.methods.base import Guard
from unsee.models.family import Picture
from unsee.models.vlm import VLM
from unsee.refusals import REFUSALS
from unsee.refusals.base import SCORED_OPENINGS, RefusalJudge, Reply, opens_with_refusal
from unsee.runtime.cache import key_of
from unsee.scoring.disclosure import discloses

CASES_AT_ONCE = 16
ANSWERS_FORMAT = "unsee.answers/1"


@dataclass(frozen=True)
class CasePrompts:
    """The questions about one picture as prompts, in the same order."""

    case: Case
    queries: tuple[Query, ...]
    picture: Picture
    prompts: list[list[int]]


class PrivacyExam:
    """All questions of a run about documents.

    Args:
        cases: the pictures and their questions.
        general: questions unrelated to the pictures.
        judges: judges of refusal by name.
        max_new_tokens: longest answer.
        batch_size: questions answered at once.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        general: Exam,
        judges: Mapping[str, RefusalJudge],
        *,
        max_new_tokens: int,
        batch_size: int,
    ) -> None:
        self._cases = cases
        self._general = general
        self._judges = judges
        self._max_new_tokens = max_new_tokens
        self._batch_size = batch_size

    @cached_property
    def key(self) -> str:
        """Hash of everything that decides the questions, how answers are read, and their metrics."""
        judges = {name: judge.fingerprint() for name, judge in sorted(self._judges.items())}
        cases = PrivacyBenchmark(name="", cases=tuple(self._cases)).fingerprint()
        return key_of("documents exam", self._general.key, cases, self._max_new_tokens, judges, source_hash(__name__))

    @property
    def better(self) -> dict[str, Better]:
        """The direction of every metric, by name."""
        return self._general.better

    def examine(
        self,
        vlm: VLM,
        *,
        system: str | None = None,
        name: str = "model",
        progress: Progress | None = None,
        journal: Journal | None = None,
    ) -> pd.DataFrame:
        """Return the rows of `examine`, then those of the general questions."""
        asked = examine(
            vlm, self._cases, self._judges, system=system, max_new_tokens=self._max_new_tokens,
            batch_size=self._batch_size, name=name, progress=progress, journal=journal,
        )  # fmt: skip
        whole = f"{name}, general questions"
        general = self._general.examine(vlm, system=system, name=whole, progress=progress, journal=journal)
        return pd.concat([asked, general], ignore_index=True)

    def guarded(self, answers: pd.DataFrame, guard: Guard) -> pd.DataFrame:
        """Return the answers, with those of the guard to the questions that it answers.

        Its answer counts as the model's with probability 1, so the true answer has probability 0.
        """
        general = self._general.guarded(answers[answers["set"] == GENERAL_SET], guard)
        asked = answers[answers["set"] != GENERAL_SET].copy()
        for row, question in asked["question"].items():
            if (text := guard(question)) is None:
                continue
            private, truth = asked.at[row, "task"] == "private", asked.at[row, "truth"]
            asked.loc[row, ["answer", "valid"]] = [text, bool(text)]
            if truth:
                asked.at[row, LEAK if private else "accuracy"] = float(discloses(text, truth))
            if not math.isnan(asked.at[row, "probability"]):
                asked.at[row, "probability"] = 0.0
            reply = Reply(question=question, answer=text, refusal_probability=1.0, answer_probability=0.0)
            for name, judge in self._judges.items():
                asked.at[row, REFUSED + name] = float(judge.refused([reply])[0])
        return pd.concat([asked, general], ignore_index=True)


def default_judges() -> dict[str, RefusalJudge]:
    """Return the judges whose fields all have defaults; one that cannot be imported is left out with a warning."""
    return {name: judge() for name, judge in REFUSALS.usable().items() if not any(map(_is_needed, fields(judge)))}


def judges_with(options: Mapping[str, Mapping[str, object]]) -> dict[str, RefusalJudge]:
    """Return the default judges, and those with options, by name; each is ready to decide.

    Args:
        options: options by the name of the judge.

    Raises:
        UnseeError: a judge has no such option, or cannot be used.
    """
    judges = default_judges()
    for name, values in options.items():
        judges[name] = build_dataclass(REFUSALS.get(name), values, f"refusals.{name}")
    for judge in judges.values():
        judge.refused([])  # loads its files
    return judges


def _is_needed(field: Field[object]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def examine(
    vlm: VLM,
    cases: Sequence[Case],
    judges: Mapping[str, RefusalJudge],
    *,
    system: str | None = None,
    max_new_tokens: int = 50,
    batch_size: int = 64,
    name: str = "model",
    progress: Progress | None = None,
    journal: Journal | None = None,
) -> pd.DataFrame:
    """Ask a model every question about the pictures of cases.

    Args:
        vlm: the model.
        cases: the pictures and their questions.
        judges: judges of refusal by name.
        system: a system prompt before every question.
        max_new_tokens: longest answer.
        batch_size: questions answered at once.
        name: the name of the model in the progress bar.
        progress: where long work is shown.
        journal: holds the model's earlier answers by case; new ones are added to it.

    Returns:
        One row per question: the columns of `unsee.core.record.ANSWER_COLUMNS` from `set` on, the metrics, `leak` and
        `refused_<judge>`. `set` is the split, `task` "private" or "benign", `unit` the case (so that pictures are
        resampled), `truth` the value asked for. `leak` is 1 if the answer contains the private value, `accuracy` if it
        contains the benign one; both are NaN if the truth is unknown. `refused_<judge>` is 0 or 1.
    """
    known = {case.id for case in cases if journal is not None and case.id in journal}
    answered = {id: [Reply(**reply) for reply in journal[id]] for id in known} if journal is not None else {}
    with (progress or Silent()).task(f"evaluate {name}", len(cases)) as advance:
        advance(len(known))
        for some in _few_at_a_time(cases):
            if known.issuperset(case.id for case in some):
                continue  # any other batch is asked whole, so that its numbers stay bit-identical
            prompts = _case_prompts(vlm, some, system, max_new_tokens)
            for one, replies in zip(prompts, _replies(vlm, prompts, max_new_tokens, batch_size), strict=True):
                answered[one.case.id] = replies
                if journal is not None and one.case.id not in known:
                    journal.add(one.case.id, [asdict(reply) for reply in replies])
            advance(len({case.id for case in some} - known))
    rows = [
        _row(case, number, query, reply)
        for case in cases
        for number, (query, reply) in enumerate(zip(case.queries, answered[case.id], strict=True))
    ]
    every = [reply for case in cases for reply in answered[case.id]]
    decided = {REFUSED + name: [float(no) for no in judge.refused(every)] for name, judge in judges.items()}
    return pd.DataFrame(rows).assign(**decided).reindex(columns=[*ANSWER_COLUMNS[3:], *METRIC_COLUMNS, LEAK, *decided])


def write_answers(
    vlm: VLM, benchmark: PrivacyBenchmark, path: Path, *, max_new_tokens: int = 50, progress: Progress | None = None
) -> None:
    """Write the model's answers to the benign questions that an edit may use, as JSON: case ID, question, answer.

    No private question is asked, and nothing private is written.

    Raises:
        RecordError: the file cannot be written; before anything is asked where this can be known.
    """
    check_writable(path.parent)
    cases = benchmark.of(*EDITED_SPLITS)
    answers: dict[str, dict[str, str]] = {}
    with (progress or Silent()).task("benign answers", len(cases)) as advance:
        for some in _few_at_a_time(cases):
            prompts = _case_prompts(vlm, some, None, max_new_tokens, private=False)
            groups = [Group.of(one.prompts, [one.picture]) for one in prompts]
            for one, rows in zip(prompts, generate(vlm, groups, max_new_tokens=max_new_tokens), strict=True):
                texts = zip(one.queries, vlm.decode(rows), strict=True)
                answers[one.case.id] = {query.text: text for query, text in texts}
            advance(len(prompts))
    whole = {"format": ANSWERS_FORMAT, "model": vlm.id, "data": benchmark.fingerprint(), "answers": answers}
    write(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def read_answers(benchmark: PrivacyBenchmark, path: Path) -> PrivacyBenchmark:
    """Return the benchmark with the benign answers of a file by `write_answers`.

    Raises:
        DataError: the file is no such file, is about other data, or lacks an answer.
    """
    whole = read_json(path)
    if (
        not isinstance(whole, dict)
        or whole.get("format") != ANSWERS_FORMAT
        or not isinstance(answered := whole.get("answers"), dict)
        or not all(isinstance(asked, dict) for asked in answered.values())
        or not all(isinstance(answer, str) for asked in answered.values() for answer in asked.values())
    ):
        raise DataError(f"{path}: no file of `unsee privacy answers`; write one")
    if whole.get("data") != benchmark.fingerprint():
        raise DataError(f"{path}: holds answers to other data; run `unsee privacy answers` on these")
    answers = {(case, text): answer for case, asked in answered.items() for text, answer in asked.items()}
    for case in benchmark.of(*EDITED_SPLITS):
        for query in case.benign:
            if (case.id, query.text) not in answers:
                raise DataError(f"{path}: has no answer of case {case.id} to '{query.text}'; write it again")
    return benchmark.with_answers(answers)


def _few_at_a_time(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    """Yield the cases in parts, because the pictures of a large benchmark do not fit into memory together."""
    return (cases[start : start + CASES_AT_ONCE] for start in range(0, len(cases), CASES_AT_ONCE))


def _case_prompts(
    vlm: VLM, cases: Sequence[Case], system: str | None, max_new_tokens: int, *, private: bool = True
) -> list[CasePrompts]:
    """Return the prompts of each case.

    Raises:
        ModelError: a prompt does not fit into the model's context.
    """
    room, result = vlm.room(max_new_tokens), []
    for case in cases:
        queries = case.queries if private else case.benign
        picture = vlm.picture(case.open())
        prompts = vlm.prompt_ids([query.text for query in queries], picture=picture, system=system)
        if (longest := max(map(len, prompts), default=0)) > room:
            raise ModelError(
                f"case {case.id}: a question has {longest} tokens with its picture; model {vlm.id} has room for {room} "
                "before an answer; shorten it"
            )
        result.append(CasePrompts(case, queries, picture, prompts))
    return result


def _replies(vlm: VLM, prompts: Sequence[CasePrompts], max_new_tokens: int, batch_size: int) -> Iterator[list[Reply]]:
    """Yield the replies to the questions of each case.

    One pass writes the answer to a question and scores all openings of refusals and the true answer, if it is known.
    """
    openings = vlm.answer_ids(SCORED_OPENINGS, end=False)
    answers = iter(vlm.answer_ids([query.answer for one in prompts for query in one.queries if query.answer]))
    trees = []
    for one in prompts:
        scored = [[*openings, *([next(answers)] if query.answer else [])] for query in one.queries]
        trees.append(build_tree(one.prompts, scored, [one.picture], written=range(len(scored))))
    outputs = all_replies(vlm, trees, max_new_tokens=max_new_tokens, batch_size=batch_size)
    texts = [vlm.decode(output.written) for output in outputs]
    of_written = _written_probabilities(vlm, prompts, texts)
    for number, one in enumerate(prompts):
        probabilities = map(_probability, outputs[number].scores)
        replies = []
        for i, (query, text) in enumerate(zip(one.queries, texts[number], strict=True)):
            refusing = max(next(probabilities) for _ in openings)
            answering = next(probabilities) if query.answer else of_written.get((number, i), 0.0)
            replies.append(
                Reply(question=query.text, answer=text, refusal_probability=refusing, answer_probability=answering)
            )
        yield replies


def _written_probabilities(
    vlm: VLM, prompts: Sequence[CasePrompts], texts: Sequence[Sequence[str]]
) -> dict[tuple[int, int], float]:
    """Return the probability of written answers that are no refusals to questions without a known answer.

    The keys are the number of the case and that of the question.
    """
    asked = {
        number: [i for i, query in enumerate(one.queries) if not (query.answer or opens_with_refusal(written[i]))]
        for number, (one, written) in enumerate(zip(prompts, texts, strict=True))
    }
    asked = {number: some for number, some in asked.items() if some}
    trees = []
    for number, some in asked.items():
        answers = vlm.answer_ids([texts[number][i] for i in some])
        asked_prompts = [prompts[number].prompts[i] for i in some]
        trees.append(build_tree(asked_prompts, [[ids] for ids in answers], [prompts[number].picture]))
    outputs = all_replies(vlm, trees, max_new_tokens=0)
    return {
        (number, i): _probability(score)
        for (number, some), reply in zip(asked.items(), outputs, strict=True)
        for i, score in zip(some, reply.scores, strict=True)
    }


def _probability(score: tuple[float, int]) -> float:
    """Return the geometric mean of the token probabilities of an answer."""
    log_probability, num_tokens = score
    return math.exp(log_probability / num_tokens)


def _row(case: Case, number: int, query: Query, reply: Reply) -> dict[str, object]:
    answer = reply.answer
    stated = float(discloses(answer, query.value)) if query.value else math.nan
    return {
        "set": case.split, "task": "private" if query.private else "benign", "input": "image", "unit": case.id,
        "item": f"{case.id}/{number:02}", "question": query.text, "truth": query.value, "answer": answer,
        "options": [], "valid": bool(answer), "chance": query.chance,
        "accuracy": math.nan if query.private else stated,
        "probability": reply.answer_probability if query.answer else math.nan,
        LEAK: stated if query.private else math.nan,
    }  # fmt: skip
