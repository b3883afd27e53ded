"""Properties of every attack, found by its name."""

from dataclasses import MISSING, fields

import exams
import pandas as pd
import pytest
import tiny
import torch

from unsee.attacks import ATTACKS
from unsee.attacks.base import (
    DepthAttack,
    LikelihoodAttack,
    QuestionAttack,
    StateAttack,
    TrainingAttack,
    WeightAttack,
)
from unsee.config.recipe import ModelConfig, build_dataclass, load_recipe
from unsee.core.errors import ConfigError
from unsee.core.progress import Silent
from unsee.core.record import ANSWER_COLUMNS, Record
from unsee.runs.attacker import Attacker, AttackRun, Respondent, scope_of_run
from unsee.runs.stages import Stages
from unsee.scoring.attacks import ATTACKED

NAMES = ATTACKS.names()
BASES = (QuestionAttack, WeightAttack, TrainingAttack, LikelihoodAttack, StateAttack, DepthAttack)
QUICK = {"relearn": {"steps": 1}, "sample": {"answers": 2}, "membership": {"strangers": 5, "others": 1}}
"""Options that make an attack short."""


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_summary_and_one_kind(name):
    (leaf,) = [leaf for leaf in ATTACKS.leaves() if leaf.name == name]
    assert leaf.summary.endswith((".", "?"))
    assert sum(issubclass(ATTACKS.get(name), base) for base in BASES) == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_default_and_its_documentation(name):
    cls = ATTACKS.get(name)
    assert all(field.default is not MISSING for field in fields(cls))
    assert all(f"    {field.name}: " in cls.__doc__ for field in fields(cls))
    assert build_dataclass(cls, {}, f"attack.{name}") == cls()


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_range_and_every_option_a_type(name):
    cls = ATTACKS.get(name)
    for field in fields(cls):
        for value in (None, [], float("nan"), 7 if isinstance(field.default, str) else -1):
            with pytest.raises(ConfigError, match=rf"^attack\.{name}\.{field.name}: "):
                build_dataclass(cls, {field.name: value}, f"attack.{name}")


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEE_CACHE", str(folder / "cache"))
        record = Record.create(folder / "run", 'name = "attacks"\n')
        vlm = tiny.VLM.load(str(tiny.save_model(folder / "model")), dtype="float32")
        yield Stages(vlm, ModelConfig(trainable="full"), record, Silent())


def attacked(stages, name, code=""):
    """The answers of the base model; other code computes them again."""
    settings = ["teach.batch_tokens=300", "teach.learning_rate=0.01", "teach.replay=0.0", "evaluation.max_new_tokens=3"]
    config, stages.code = load_recipe("tiny", settings), [code]
    scope = scope_of_run(exams.make_exam(stages.vlm, config.evaluation), exams.BENCHMARK, config)
    attacker = Attacker(stages, scope)
    run = AttackRun(name, ATTACKS.get(name)(**QUICK.get(name, {})))
    return attacker.answers(run, Respondent("base", stages.base, target=stages.base))


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_about_the_people_to_forget_the_same_each_time_and_leaves_no_trace(stages, name):
    before = {key: tensor.clone() for key, tensor in stages.load(stages.base).model.state_dict().items()}
    answers = attacked(stages, name)
    assert set(ATTACKED) <= set(answers.columns) and set(answers["attack"]) == {name}
    assert not answers.empty
    after = stages.load(stages.base).model.state_dict()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
    torch.manual_seed(9)
    pd.testing.assert_frame_equal(attacked(stages, name, "again"), answers)
    if not issubclass(ATTACKS.get(name), LikelihoodAttack | DepthAttack):
        assert set(ANSWER_COLUMNS) - {"method", "modality", "seed"} <= set(answers.columns)
        assert set(answers["set"]) == {"forget"}
        assert not answers.duplicated([*ATTACKED, "item"]).any()
        plain = exams.make_exam(stages.vlm)
        assert set(answers["item"]) <= {item.id for group in plain.prompt_groups for item in group.items}
