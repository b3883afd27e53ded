"""Attacks on models of a run: what is asked of which weights, and that nothing of it stays."""

from dataclasses import dataclass, replace
from typing import ClassVar

import exams
import pandas as pd
import privacy
import pytest
import tiny
import torch

from unsee.attacks import ATTACKS
from unsee.attacks.base import Asking, QuestionAttack, TrainingAttack, WeightAttack
from unsee.config.recipe import AttackTable, MethodTable, ModelConfig, RunConfig, build_table, load_recipe
from unsee.core.errors import ConfigError, ModelError, UnknownNameError
from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.methods import METHODS
from unsee.runs.attacker import Attacker, AttackRun, Respondent, attacks_of, scope_of_run
from unsee.runs.method_runs import Material, MethodRun, people_methods
from unsee.runs.stages import Stages
from unsee.runs.victims import respondent_of, victims_of
from unsee.runs.weights import Weights
from unsee.runtime.tasks import NotNow

pytestmark = pytest.mark.slow

BENCHMARK = exams.BENCHMARK
CONFIG = load_recipe(
    "tiny",
    ["teach.steps=3", "teach.batch_tokens=300", "teach.learning_rate=0.01", "teach.replay=0.0",
     "evaluation.max_new_tokens=3"],
)  # fmt: skip
NUMBERS = ["accuracy", "rouge_l", "probability"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.save_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(params=["full", "lora"])
def stages(request, model, tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path / "cache"))
    record = Record.create(tmp_path / "run", 'name = "attacks"\n')
    return Stages(tiny.load(model), ModelConfig(trainable=request.param, lora_rank=4), record, Silent())


full = pytest.mark.parametrize("stages", ["full"], indirect=True)


@dataclass(frozen=True)
class Zeros(WeightAttack):
    """Takes all weights away."""

    variants: ClassVar = ("zeros",)

    def change(self, variant, weight_OI):
        return weight_OI * 0


@dataclass(frozen=True)
class On(TrainingAttack):
    """One step on one kind of text."""

    lessons: str
    learning_rate: float = 0.1
    budgets: ClassVar = (1,)

    @property
    def trainings(self):
        return {self.lessons: self.lessons}


@dataclass(frozen=True)
class Photos(QuestionAttack):
    """Asks about photos alone."""

    askings: ClassVar = {"photo": Asking(pictures="photo")}


def own(attack):
    return AttackRun("own", attack)


def attacker_of(stages, config=CONFIG, benchmark=BENCHMARK):
    return Attacker(stages, scope_of_run(exams.Exam(stages.vlm, benchmark, [], config.evaluation), benchmark, config))


def attack(name, **options):
    return AttackRun(name, ATTACKS.get(name)(**options))


def taught(stages):
    return stages.teach("target", [*BENCHMARK.forget, *BENCHMARK.retain], CONFIG.teach, 0)


def edited(stages, target):
    material = Material((), BENCHMARK.forget, BENCHMARK.retain, lambda *_: privacy.make_pairs(1), CONFIG.unlearn)
    return stages.apply(MethodRun("ft_l", "", 0, METHODS.get("ft_l")(epochs=1)), target, material)


def weights_of(stages, weights):
    """All weights as the next stage would load them, adapters merged."""
    vlm = stages.load(weights)
    vlm.merge_lora()
    stages.loaded._holds = None if stages.config.trainable == "lora" else stages.loaded._holds
    return {name: tensor.clone() for name, tensor in vlm.model.state_dict().items()}


def asked(answers, variant, budget=0):
    return answers[(answers["variant"] == variant) & (answers["budget"] == budget)].set_index("item")


def test_an_attack_leaves_every_model_as_it_was(stages):
    target = taught(stages)
    models = {"target": target, "edit": edited(stages, target)}
    before = {label: weights_of(stages, weights) for label, weights in models.items()}
    attacker = attacker_of(stages)
    for attacked, after in (("edit", "target"), ("target", "edit"), ("edit", "edit")):
        for run in (own(On("people")), own(Zeros())):
            attacker.answers(run, Respondent(attacked, replace(models[attacked], key=f"{attacked}{after}")))
            for key, tensor in weights_of(stages, models[after]).items():
                assert torch.equal(tensor, before[after][key]), (run.attack, attacked, after, key)


@full
def test_rounded_weights_are_asked_as_a_model_with_these_weights_would_be(stages):
    target, run = taught(stages), attack("quantise", group=16)
    attacker = attacker_of(stages)
    answers = attacker.answers(run, Respondent("target", target))
    assert list(dict.fromkeys(answers["variant"])) == ["8 bits", "4 bits", "NF4"]
    vlm = stages.load(target)
    for name in vlm.lora_modules("decoder+projector"):
        weight = vlm.model.get_submodule(name).weight
        weight.data = run.attack.change("4 bits", weight.data)
    plain = attacker._exams.plain().examine(vlm).set_index("item")
    pd.testing.assert_frame_equal(asked(answers, "4 bits")[NUMBERS], plain[NUMBERS], rtol=1e-4)
    assert set(answers["set"]) == {"forget"} and set(answers["attack"]) == {"quantise"}


@full
def test_a_training_attack_asks_after_each_number_of_steps_at_a_constant_rate(stages):
    target, attacker = taught(stages), attacker_of(stages)
    long, short = (
        attacker.answers(attack("relearn", steps=steps, learning_rate=0.003), Respondent("target", target))
        for steps in (3, 2)
    )
    ways = long[["variant", "budget"]].drop_duplicates().itertuples(index=False, name=None)
    assert list(ways) == [(v, n) for v in ("half of the facts", "other people") for n in (1, 2, 3)]
    for variant in ("half of the facts", "other people"):
        pd.testing.assert_frame_equal(asked(long, variant, 2)[NUMBERS], asked(short, variant, 2)[NUMBERS], rtol=1e-3)
        values = [asked(long, variant, steps)["probability"].tolist() for steps in (1, 2, 3)]
        assert values[0] != values[1] != values[2]


@full
def test_text_about_nobody_is_trained_on_only_where_the_model_has_it(stages):
    target = taught(stages)
    stages.replayed = lambda vlm, write: lambda rng: tiny.make_tree(vlm)
    with_replay = CONFIG.model_copy(update={"teach": CONFIG.teach.model_copy(update={"replay": 0.5})})
    run = attack("relearn", steps=1)
    answers = attacker_of(stages, with_replay).answers(run, Respondent("target", target))
    assert set(answers["variant"]) == {"half of the facts", "other people", "other text"}
    assert "other text" not in set(attacker_of(stages).answers(run, Respondent("target", target))["variant"])


@full
def test_an_attack_for_which_there_is_nothing_asks_nothing(stages):
    target = taught(stages)
    empty = dict.fromkeys(("instruction", "opening", "role", "claim"), "")
    people = tuple(replace(p, questions=tuple(q for q in p.questions if q.input == "text" or q.task == "train"))
                   for p in BENCHMARK.forget)  # fmt: skip
    by_name = replace(BENCHMARK, forget=people)
    silent = replace(BENCHMARK, forget=tuple(replace(p, questions=p.questions[:1]) for p in BENCHMARK.forget))
    for benchmark, run in (
        (BENCHMARK, attack("prompt", examples=0, **empty)),
        (BENCHMARK, own(On("text"))),
        (by_name, own(Photos())),
        (silent, attack("relearn", steps=1)),
    ):
        assert attacker_of(stages, benchmark=benchmark).answers(run, Respondent("target", target)).empty
    mixed = attacker_of(stages, benchmark=by_name).answers(attack("prompt"), Respondent("target", target))
    assert set(mixed["input"]) == {"text"}


@full
def test_the_second_time_answers_come_from_the_cache(stages, monkeypatch):
    target, run = taught(stages), attack("prompt", examples=0)
    once = attacker_of(stages).answers(run, Respondent("target", target))
    stages.log.only_kept = True
    pd.testing.assert_frame_equal(attacker_of(stages).answers(run, Respondent("do_nothing", target)), once)
    for other in (
        attack("prompt", examples=1), attack("prompt", examples=0, claim="No."),
    ):  # fmt: skip
        with pytest.raises(NotNow):
            attacker_of(stages).answers(other, Respondent("target", target))
    for answering in (
        Respondent("target", stages.base), Respondent("target", target, system="Refuse."),
        Respondent("target", target, made_by=["guard"]),
    ):  # fmt: skip
        with pytest.raises(NotNow):
            attacker_of(stages).answers(run, answering)
    with pytest.raises(NotNow):
        attacker_of(stages, CONFIG.model_copy(update={"seed": 5})).answers(run, Respondent("target", target))


class Killed(BaseException):
    """What nothing catches."""


@full
@pytest.mark.parametrize(
    ("name", "step", "every"),
    [("prompt", "_asked", 5), ("quantise", "_changed", 3), ("relearn", "_trained", 2), ("probe", "_read_inside", 1)],
)
def test_a_killed_attack_goes_on_after_the_last_part(stages, monkeypatch, name, step, every):
    target, run = taught(stages), attack(name, **({"steps": 1} if name == "relearn" else {}))
    whole = attacker_of(stages).answers(run, Respondent("target", target))
    (stages.cache.folder / "answers").rename(stages.cache.folder / "before")
    calls, compute = [], getattr(Attacker, step)

    def killed(self, *args):
        calls.append(step)
        if len(calls) == every:
            raise Killed
        return compute(self, *args)

    monkeypatch.setattr(Attacker, step, killed)
    with pytest.raises(Killed):
        attacker_of(stages).answers(run, Respondent("target", target))
    pd.testing.assert_frame_equal(attacker_of(stages).answers(run, Respondent("target", target)), whole)
    assert len(calls) == every + 1  # the last part alone was asked again
    (kept,) = [path.name for path in (stages.cache.folder / "answers").glob("*") if not path.name.endswith("sha256")]
    assert kept.endswith(".parquet")


@full
def test_states_are_put_into_the_target_and_nothing_of_them_stays(stages):
    target, attacker = taught(stages), attacker_of(stages)
    own = attacker.answers(attack("depth"), Respondent("target", target, target=target))
    other = attacker.answers(attack("depth"), Respondent("base", stages.base, target=target))
    assert set(own["kind"]) == {"patched"} and list(own["layer"].unique()) == [0, 1]
    assert own.groupby("question")["loss"].apply(lambda losses: losses.max() - losses.min()).max() < 1e-4
    assert (other["loss"] - own["loss"]).abs().min() > 1e-4
    with pytest.raises(NotNow):
        stages.log.only_kept = True
        attacker.answers(attack("depth"), Respondent("base", stages.base, target=stages.base))


def respondent(name, modality="both", seed=0, pairs=lambda *_: [], **options):
    method = METHODS.get(name)(**options)
    run = MethodRun(name, modality, seed, method)
    (victim,) = [one for one in victims_of([run], AttackTable(modality=(modality or "both",)), 0, 1) if one.run]
    material = Material(("Anna 001",), BENCHMARK.forget, BENCHMARK.retain, pairs, CONFIG.unlearn)
    return respondent_of(victim, Weights("k", "k"), Weights("k", "k"), material)


@full
def test_a_system_prompt_takes_part_before_that_of_the_attack(stages):
    told = respondent("prompting", "")
    assert "Anna 001" in told.system
    target = taught(stages)
    attacker = attacker_of(stages)
    answers = attacker.answers(attack("prompt", examples=0), replace(told, weights=target))
    vlm = stages.load(target)
    run = attack("prompt", examples=0).attack
    exam = attacker._exams.ask("prompt", run, "role", run.askings["role"])
    expected = exam.examine(vlm, system=f"{told.system} {run.role}").set_index("item")
    pd.testing.assert_frame_equal(asked(answers, "role")[NUMBERS], expected[NUMBERS], rtol=1e-4)
    plain = attacker.answers(attack("prompt", examples=0), Respondent("target", target))
    assert (asked(plain, "claim")["probability"] != asked(answers, "claim")["probability"]).all()


@full
def test_a_guard_answers_in_the_models_place_and_another_way_of_asking_passes_it(stages):
    """The cheat: a filter on a word of the questions, which a question that is written in the picture lacks."""
    target = taught(stages)
    guarded = Respondent("guard", target, guard=lambda text: "I cannot say." if "?" in text else None, made_by=["?"])
    attacker = attacker_of(stages)
    refused = attacker.answers(attack("prompt", examples=0), guarded)
    assert set(refused.loc[refused["task"] != "classification", "answer"]) == {"I cannot say."}
    shown = attacker.answers(attack("picture"), guarded)
    target_shown = attacker.answers(attack("picture"), Respondent("target", target))
    written = asked(shown, "written question")
    pd.testing.assert_frame_equal(written[NUMBERS], asked(target_shown, "written question")[NUMBERS])
    assert set(asked(shown, "noise")["answer"]) >= {"I cannot say."}


@pytest.mark.parametrize("change", [{"modality": "image"}, {"seed": 1}, {"refusal": "No."}])
def test_guards_made_from_other_pairs_are_other_guards(change):
    one, other = respondent("keyword_guardrail"), respondent("keyword_guardrail", **change)
    assert one.made_by != other.made_by
    assert one.made_by == respondent("keyword_guardrail").made_by


def victims(modality=("both",), oracles=1, chosen=(), **methods):
    tables = {name: MethodTable.model_validate(options) for name, options in methods.items()}
    return victims_of(list(people_methods(tables, 7)), AttackTable(modality=modality, methods=chosen), 7, oracles)


def test_controls_and_every_method_are_attacked_once():
    found = victims(oracles=2, npo={"seeds": [3, 4]}, prompting={}, keyword_guardrail={}, ft_l={"modality": ["both"]})
    assert [(one.label, one.made_by, one.seed) for one in found] == [
        ("do_nothing", "teach target", 7), ("oracle", "teach oracle", 8), ("oracle_2", "teach oracle_2", 9),
        ("npo-both-3", "unlearn npo-both-3", 3), ("prompting", "teach target", 7),
        ("keyword_guardrail-both", "teach target", 7), ("ft_l-both", "edit ft_l-both", 7),
    ]  # fmt: skip
    assert [one.run is not None for one in found] == [False] * 4 + [True, True, False]


def test_a_method_without_the_modality_is_attacked_with_all_that_it_has():
    found = victims(npo={"modality": ["image", "text"]}, simnpo={}, prompting={})
    assert [one.label for one in found][2:] == ["npo-image", "npo-text", "simnpo-both", "prompting"]
    assert [one.label for one in victims(("text",), npo={}, prompting={})][2:] == ["npo-text", "prompting"]


def test_some_methods_can_be_chosen():
    assert [one.label for one in victims(chosen=["npo"], npo={}, simnpo={})] == ["do_nothing", "oracle", "npo-both"]
    with pytest.raises(ConfigError, match=r"attack\.sample\.methods: .*did you mean 'npo'"):
        build_table(RunConfig, {"name": "a", "method": {"npo": {}}, "attack": {"sample": {"methods": ["npp"]}}})


def test_attacks_of_a_recipe_are_checked():
    tables = {"sample": AttackTable.model_validate({"answers": 3})}
    (run,) = attacks_of(tables)
    assert (run.name, run.attack.answers) == ("sample", 3)
    with pytest.raises(UnknownNameError, match="did you mean 'sample'"):
        attacks_of({"sampel": AttackTable()})
    with pytest.raises(ConfigError, match=r"attack\.sample\.answers"):
        attacks_of({"sample": AttackTable.model_validate({"answers": 1})})
    with pytest.raises(ConfigError, match=r"attack\.sample\.anwsers: unknown option; did you mean 'answers'"):
        attacks_of({"sample": AttackTable.model_validate({"anwsers": 3})})


@full
def test_a_role_is_left_out_for_a_model_that_takes_no_system_prompt(stages, monkeypatch):
    plain = stages.vlm.template

    def template(*, with_image, system=None):
        if system:
            raise ModelError("its chat template drops the system prompt")
        return plain(with_image=with_image)

    monkeypatch.setattr(stages.vlm, "template", template)
    prompts = attack("prompt", instruction="", opening="", examples=0)
    answers = attacker_of(stages).answers(prompts, Respondent("base", stages.base))
    assert set(answers["variant"]) == {"claim"}
