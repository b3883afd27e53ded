"""Scores of answers that anybody's code made, and of a model in anybody's training loop."""

import exams
import numpy as np
import pandas as pd
import pytest
import synthetic
import tiny
import torch
from transformers import Trainer, TrainingArguments

import unsee
from unsee.attacks import ATTACKS
from unsee.core.errors import ConfigError, RecordError, UnseeError
from unsee.core.record import ANSWER_COLUMNS
from unsee.data.general import general_items
from unsee.exams.people import Exam
from unsee.scoring.attacks import ATTACKED
from unsee.scoring.people import score

pytestmark = pytest.mark.slow

OPTIONS = {"general_items": 4, "max_new_tokens": 4}
NEEDED = ("method", "set", "task", "input", "unit", "item", "truth", "answer", "options")


@pytest.fixture(scope="module")
def answers():
    half = synthetic.Model("npo", "both", synthetic.Mind(forget=(0.5, 0.5), test=(0.5, 0.5)))
    return synthetic.make_answers((*synthetic.CONTROLS, half))


def test_scores_are_those_of_a_run(answers):
    table = unsee.score(answers).set_index("method")
    for method in score(answers).methods:
        assert table.loc[method.method, "verdict"] == method.verdict
        if method.score:
            assert tuple(table.loc[method.method, ["score", "score_low", "score_high"]]) == (
                method.score.value, method.score.low, method.score.high,
            )  # fmt: skip


def test_truth_and_answers_are_enough(answers):
    whole, bare = unsee.score(answers), unsee.score(answers[[*NEEDED, "modality"]])
    np.testing.assert_allclose(whole["score"].astype(float), bare["score"].astype(float), atol=0.02)


def test_each_answer_gets_its_metrics_from_truth_and_answer(answers):
    own = answers[answers["method"] == "oracle"]
    bare = own[[name for name in NEEDED if name != "method"]]
    found = unsee.with_metrics(bare)
    assert list(found.index) == list(bare.index) and {"accuracy", "rouge_l", "bleu"} <= set(found.columns)
    right = found["truth"] == found["answer"]
    assert (found.loc[found["task"] == "classification", "accuracy"] == right[found["task"] == "classification"]).all()
    assert (found.loc[right & (found["task"] == "generation"), "rouge_l"] == 1).all()
    with pytest.raises(RecordError, match="no column truth"):
        unsee.with_metrics(bare.drop(columns="truth"))


def test_tables_of_models_by_name_are_one_table(answers):
    by_name = {name: own.drop(columns="method") for name, own in answers.groupby("method", sort=False)}
    pd.testing.assert_frame_equal(unsee.score(by_name), unsee.score(answers))


@pytest.mark.parametrize("column", NEEDED)
def test_a_missing_column_is_named(answers, column):
    with pytest.raises(RecordError, match=f"no column {column}"):
        unsee.score(answers[[name for name in NEEDED if name != column]])


@pytest.mark.parametrize("name", ["target", "oracle"])
def test_a_missing_reference_model_is_named(answers, name):
    with pytest.raises(RecordError, match=name):
        unsee.score(answers[answers["method"] != name])


def test_the_index_of_a_table_says_nothing(answers):
    repeated = pd.concat([own.reset_index(drop=True) for _, own in answers.groupby("method", sort=False)])
    pd.testing.assert_frame_equal(unsee.score(repeated), unsee.score(answers))


def test_options_of_what_is_no_choice_may_be_missing(answers):
    options = [
        own if task == "classification" else None for task, own in zip(answers["task"], answers["options"], strict=True)
    ]
    pd.testing.assert_frame_equal(unsee.score(answers.assign(options=options)), unsee.score(answers))


def test_a_metric_of_ones_own_is_taken_and_the_others_are_computed(answers):
    alone = unsee.score(answers[[*NEEDED, "modality", "accuracy"]])
    np.testing.assert_allclose(alone["score"].astype(float), unsee.score(answers)["score"].astype(float), atol=0.02)


def test_no_signal_has_a_reason(answers):
    same = unsee.score(
        {"target": answers[answers["method"] == "target"], "oracle": answers[answers["method"] == "target"]}
    )
    assert same["reason"].notna().all()


def changed(answers, column, value, columns=NEEDED):
    table = answers[list(columns)].reset_index(drop=True)
    return table.assign(**{column: [value, *table[column].tolist()[1:]]})


BAD = {
    "a person that is missing": ("unit", np.nan, "row 0: no unit"),
    "an answer that is missing": ("answer", None, "row 0: no answer"),
    "an answer that is a number": ("answer", 4, "answer is 4"),
    "a set that there is not": ("set", "forgt", "did you mean 'forget'"),
    "a task that there is not": ("task", "train", "task"),
    "another truth": ("truth", "Nowhere", "other truths"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_damaged_table_is_one_sentence(answers, case):
    column, value, told = BAD[case]
    with pytest.raises(UnseeError, match=told):
        unsee.score(changed(answers, column, value))


@pytest.mark.parametrize("column", [*ANSWER_COLUMNS, "accuracy", "attack", "variant", "budget"])
def test_a_column_that_holds_something_else_is_named(answers, column):
    answers = answers[answers["item"].isin(answers["item"].unique()[:2])]
    attacked = answers.assign(attack="prompt", variant="role", budget=0)
    if column in answers:
        with pytest.raises(UnseeError, match=rf"answers, row 0: {column} is"):
            unsee.score(changed(answers, column, {}, answers.columns))
    with pytest.raises(UnseeError, match=rf"attacked, row 0: {column} is"):
        unsee.score(answers, attacked=changed(attacked, column, {}, attacked.columns))


def test_what_is_no_table_is_one_sentence(answers):
    choices = answers["task"] == "classification"
    texts = answers.assign(options=["a|b" if choice else "" for choice in choices])
    twice = pd.concat([answers, answers[answers["method"] == "target"]])
    tables = ({}, [answers], {"target": answers.iloc[:0]}, texts, twice, answers.assign(accuracy=5.0), answers[:0])
    for table in tables:
        with pytest.raises(UnseeError):
            unsee.score(table)
    with pytest.raises(UnseeError, match="num_resamples"):
        unsee.score(answers, num_resamples=0)


def test_what_is_no_model_or_no_people_is_named():
    vlm = tiny.make_vlm()
    for arguments in (
        (vlm, vlm.processor, exams.BENCHMARK),
        (vlm.model, None, exams.BENCHMARK),
        (vlm.model, vlm.processor, "x"),
    ):
        with pytest.raises(ConfigError, match=r"unsee.evaluate: .* must be of type"):
            unsee.evaluate(*arguments)


def test_a_callback_says_at_once_what_is_wrong(answers):
    own = {name: rows.drop(columns="method") for name, rows in answers.groupby("method")}
    for target, options in (
        (None, {}),
        (own["target"].drop(columns="truth"), {}),
        (own["target"], {"max_new_token": 3}),
    ):
        with pytest.raises(UnseeError):
            unsee.EvaluationCallback(exams.BENCHMARK, None, target=target, oracle=own["oracle"], **options)


def test_the_given_table_is_left_as_it_is(answers):
    before = answers[list(NEEDED)].copy()
    unsee.score(before)
    pd.testing.assert_frame_equal(before, answers[list(NEEDED)])


def test_a_model_is_asked_what_a_run_asks_and_left_in_its_mode():
    vlm = tiny.make_vlm()
    vlm.model.train()
    found = unsee.evaluate(vlm.model, vlm.processor, exams.BENCHMARK, **OPTIONS)
    assert vlm.model.training
    vlm.model.eval()
    config = exams.CONFIG.model_copy(update=OPTIONS)
    wanted = Exam(vlm, exams.BENCHMARK, general_items(4, 0), config).examine(vlm)
    pd.testing.assert_frame_equal(found, wanted)
    assert set(ANSWER_COLUMNS) - set(found.columns) == {"method", "modality", "seed"}


@pytest.mark.parametrize("name", ["prompt", "picture", "sample", "quantise"])
def test_a_model_is_asked_under_every_way_of_an_attack_and_left_as_it_was(name):
    vlm = tiny.make_vlm()
    before = {key: weight.clone() for key, weight in vlm.model.state_dict().items()}
    found = unsee.attack(vlm.model, vlm.processor, exams.BENCHMARK, name, **OPTIONS)
    attack = ATTACKS.get(name)()
    ways = attack.variants if name == "quantise" else attack.askings
    assert set(found["variant"]) == set(ways) and set(found["set"]) == {"forget"} and set(found["attack"]) == {name}
    plain = unsee.evaluate(vlm.model, vlm.processor, exams.BENCHMARK, **OPTIONS)
    assert set(found["item"]) <= set(plain["item"])
    assert all(torch.equal(weight, before[key]) for key, weight in vlm.model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [("relearn", {}, "use it in a run, or one of: .*quantise"), ("probe", {}, "in a run"), ("promt", {}, "'prompt'"),
     ("quantise", {"groups": 8}, "did you mean 'group'")],
)  # fmt: skip
def test_an_attack_that_cannot_be_made_here_is_named(name, settings, told):
    vlm = tiny.make_vlm()
    with pytest.raises(ConfigError, match=told):
        unsee.attack(vlm.model, vlm.processor, exams.BENCHMARK, name, settings)


def test_what_attacks_give_back_is_read_against_target_and_oracle(answers):
    half = synthetic.Model("npo", "both", synthetic.Mind(forget=(0.5, 0.5), test=(0.5, 0.5)))
    target, oracle = synthetic.CONTROLS[:2]
    attacked = synthetic.make_attacks({("prompt", "role", 0): (target, oracle, half)})
    found = unsee.score(answers, attacked=attacked).set_index("method")["robustness"]
    assert found["oracle"] == 1 and found["target"] == 0 and 0 < found["npo"] < 1
    bare = unsee.score(answers, attacked=attacked[[*NEEDED, "modality", *ATTACKED]]).set_index("method")["robustness"]
    assert bare["npo"] == pytest.approx(found["npo"], abs=0.02)
    with pytest.raises(RecordError, match="attacked: no oracle"):
        unsee.score(answers, attacked=attacked[attacked["method"] != "oracle"])
    with pytest.raises(RecordError, match="no column variant"):
        unsee.score(answers, attacked=attacked.drop(columns="variant"))


def test_an_unknown_option_is_named():
    vlm = tiny.make_vlm()
    with pytest.raises(ConfigError, match="max_new_tokens"):
        unsee.evaluate(vlm.model, vlm.processor, exams.BENCHMARK, max_new_token=3)


def test_a_trainer_reports_the_scores_of_every_evaluation(tmp_path):
    vlm = tiny.make_vlm()
    people = exams.BENCHMARK
    oracle = unsee.evaluate(vlm.model, vlm.processor, people, **OPTIONS)
    right = {name: oracle[name].where(oracle[name].isna(), 1.0) for name in ("accuracy", "rouge_l")}
    target = oracle.assign(answer=oracle["truth"], **right)
    callback = unsee.EvaluationCallback(people, vlm.processor, target=target, oracle=oracle, **OPTIONS)
    ids = torch.arange(8)
    rows = [{"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}] * 2
    settings = TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, eval_strategy="steps", eval_steps=1, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, per_device_train_batch_size=1,
    )  # fmt: skip
    trainer = Trainer(vlm.model, settings, train_dataset=rows, eval_dataset=rows, callbacks=[callback])
    trainer.train()
    assert [one["step"] for one in callback.history] == [1, 2]
    assert all("eval_unsee_utility" in one for one in callback.history)
    assert "eval_unsee_utility" in trainer.evaluate()
