import json
import shlex
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
from pydantic import NonNegativeFloat, PositiveFloat

from unsee.config.recipe import (
    RECIPES,
    DocumentsConfig,
    EvaluationConfig,
    RunConfig,
    TeachConfig,
    UnlearnConfig,
    build_dataclass,
    command_of,
    dump_config,
    load_recipe,
    recipe_names,
)
from unsee.core.errors import ConfigError, UnknownNameError
from unsee.methods import METHODS


@dataclass(frozen=True, kw_only=True)
class Method:
    uses_reference: ClassVar[bool] = True
    steps: int
    beta: PositiveFloat = 0.1
    retain_weight: NonNegativeFloat = 1.0
    kind: Literal["soft", "hard"] = "soft"

    def __post_init__(self):
        if self.steps == 13:
            raise ValueError("steps must not be 13")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_is_named_after_its_file_and_survives_a_dump(name, tmp_path):
    config = load_recipe(name)
    assert config.name == name
    copy = tmp_path / "copy.toml"
    copy.write_text(dump_config(config))
    assert load_recipe(copy) == config
    assert load_recipe(str(copy)) == config


def test_four_bit_weights_are_not_trained():
    with pytest.raises(ConfigError, match=r"^model: .*'4bit' trains adapters only; set trainable = 'lora'"):
        load_recipe("tiny", ["model.quantization=4bit"])
    assert load_recipe("tiny", ["model.quantization=4bit", "model.trainable=lora"]).model.quantization == "4bit"


def test_a_recipe_with_private_documents_is_another_kind_of_run(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nprivacy = {}\nmethod.random = { use = "neural_gate", seeds = [0, 2], share = 0.2 }\n'
    )
    config = load_recipe(path, ["privacy.images=3"])
    assert isinstance(config, DocumentsConfig)
    assert (config.privacy.images, config.method["random"].use, config.method["random"].seeds) == (
        3,
        "neural_gate",
        (0, 2),
    )
    assert config.method["random"].options == {"share": 0.2}
    path.write_text(dump_config(config))
    assert load_recipe(path) == config
    for table, message in (("data.people=3", "table .data. is about"), ("teach.steps=3", "table .teach. is about")):
        with pytest.raises(ConfigError, match=message):
            load_recipe(path, [table])


@pytest.mark.parametrize(
    ("text", "kind"),
    [('kind = "documents"', "documents"), ("[privacy]", "documents"), ("[data]", "people"), ("", "people")],
)
def test_a_recipe_says_its_kind_and_an_older_one_has_a_table_privacy(tmp_path, text, kind):
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\n{text}\n')
    assert load_recipe(path).kind == kind
    assert f'kind = "{kind}"' in dump_config(load_recipe(path))


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_says_its_kind(name):
    assert f'\nkind = "{load_recipe(name).kind}"\n' in (RECIPES / f"{name}.toml").read_text()


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("tiny", "kind=person", "^kind: must be 'people' or 'documents', got 'person'$"),
        ("tiny", "kind=3", "^kind: must be 'people' or 'documents', got 3$"),
        ("tiny", "privacy.images=3", r"^kind: a recipe with a table \[privacy\] is about 'documents', got 'people'$"),
        ("gate", "privacy.image_root=/tmp", "^privacy: image_root belongs to a source"),
        ("gate", "kind=people", r"^kind: a recipe with a table \[privacy\] is about 'documents', got 'people'$"),
        ("tiny", "kind=documents", r"^kind: a recipe with a table \[data\] is about 'people', got 'documents'$"),
    ],
)
def test_a_wrong_kind_is_one_sentence(recipe, override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(recipe, [override])


def test_options_of_metrics_survive_a_dump(tmp_path):
    config = load_recipe("tiny", ["metric.mine.words=3"])
    (tmp_path / "copy.toml").write_text(dump_config(config))
    assert load_recipe(tmp_path / "copy.toml").metric["mine"].options == {"words": 3}
    with pytest.raises(ConfigError, match=r"^metric\.mine\.words: must be a number, a text or true/false, got \[3\]$"):
        load_recipe("tiny", ["metric.mine.words=[3]"])


def test_options_of_methods_survive_a_dump(tmp_path):
    config = load_recipe("tiny", ["method.npo.beta=0.2", "method.npo.text='a \"b\"'", "method.npo.modality=['text']"])
    copy = tmp_path / "copy.toml"
    copy.write_text(dump_config(config))
    assert load_recipe(copy).method["npo"].options == {"beta": 0.2, "text": 'a "b"'}
    assert load_recipe(copy) == config


def test_defaults_then_recipe_then_overrides():
    assert RunConfig(name="any").data.people == 60
    assert load_recipe("tiny").data.people == 31
    assert load_recipe("tiny", ["data.people=20"]).data.people == 20
    assert load_recipe("tiny", ["data.people = 20", "data.people=30"]).data.people == 30


def test_an_override_is_toml_or_else_text():
    assert load_recipe("tiny", ["model.id=some/folder"]).model.id == "some/folder"
    assert load_recipe("tiny", ["model.id='1'"]).model.id == "1"
    assert load_recipe("tiny", ["teach.learning_rate=1e-4"]).teach.learning_rate == 1e-4
    assert load_recipe("tiny", ["name=a\nseed = 3"]).seed == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.peple=3", r"^data\.peple: unknown option; did you mean 'people'\? \(known: celebrities, .*"),
        ("sead=3", r"^sead: unknown option; did you mean 'seed'\? \(known: .*data, "),
        ("data.people=1.5", r"^data\.people: must be a whole number, got 1\.5$"),
        (
            "data.celebrities_evaluated=154",
            r"^data: celebrities_evaluated = 154: at most 153 celebrities are",
        ),
        ("data.retain_evaluated=501", r"^data: retain_evaluated = 501: at most 500 people are generated"),
        ("teach.steps=" + "1" + "0" * 23, r"^teach\.steps: must be a whole number, got '10000"),
        ("teach.steps=1e23", r"^teach\.steps: must be a whole number, got 1e\+23$"),
        ("data.people=many", r"^data\.people: must be a whole number, got 'many'$"),
        ("data.people=1", r"^data\.people: must be greater than or equal to 2, got 1$"),
        ("seed=true", r"^seed: must be a whole number, got True$"),
        ("teach.learning_rate=nan", r"^teach\.learning_rate: must be a finite number, got nan$"),
        ("data.forget_percent=91", r"^data\.forget_percent: must be less than or equal to 90, got 91$"),
        ("data=3", r"^data: must be a table, got 3$"),
        ("method.npo=3", r"^method\.npo: must be a table, got 3$"),
        ("method.npo.beta=[1]", r"^method\.npo\.beta: must be a number, a text or true/false, got \[1\]$"),
        ("method.npo.modality=['sound']", r"^method\.npo\.modality: must be 'image', 'text' or 'both', got 'sound'"),
        ("method.npo.modality=['text','text']", r"^method\.npo\.modality: holds the same value twice, got "),
        ("name.first=3", r"^--set name\.first=3: 'name' is a value, not a table$"),
        ("data.people", r"^--set data\.people: must have the form key=value"),
        ("data..people=3", r"must have the form key=value"),
    ],
)
def test_a_wrong_value_says_where_and_what_is_right(override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("tiny", [override])


def test_forgetting_nobody_is_refused():
    with pytest.raises(ConfigError, match="data: forgetting 5 % of 5 people forgets nobody"):
        load_recipe("tiny", ["data.people=5", "data.forget_percent=5"])


def test_a_missing_name_is_said(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("seed = 1\n")
    with pytest.raises(ConfigError, match="name: missing"):
        load_recipe(path)


def test_an_unknown_recipe_says_the_nearest():
    with pytest.raises(UnknownNameError, match="recipe: unknown name 'quik'; did you mean 'quick'"):
        load_recipe("quik")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_recipe(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_recipe(tmp_path)
    (tmp_path / "broken.toml").write_text("name = \n")
    with pytest.raises(ConfigError, match="is not TOML: Invalid value"):
        load_recipe(tmp_path / "broken.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_recipe(tmp_path / "binary.toml")


def test_a_dataclass_is_built_from_its_options():
    method = build_dataclass(Method, {"steps": 3, "beta": 1}, "method.npo")
    assert method == Method(steps=3, beta=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"steps": 1, "betta": 1.0},
            r"^method\.npo\.betta: unknown option; did you mean 'beta'\? \(known: beta, kind, retain_weight, steps\)$",
        ),
        ({}, r"^method\.npo\.steps: missing; it has no default$"),
        ({"steps": "3"}, r"^method\.npo\.steps: must be a whole number, got '3'$"),
        ({"steps": 3, "beta": 0.0}, r"^method\.npo\.beta: must be greater than 0, got 0\.0$"),
        ({"steps": 3, "kind": "odd"}, r"^method\.npo\.kind: must be 'soft' or 'hard', got 'odd'$"),
        ({"steps": 13}, r"^method\.npo: steps must not be 13$"),
        ({"steps": 3, "uses_reference": False}, r"^method\.npo\.uses_reference: unknown option"),
    ],
)
def test_options_are_checked_as_strictly_as_recipes(options, message):
    with pytest.raises(ConfigError, match=message):
        build_dataclass(Method, options, "method.npo")


def test_a_protocol_sets_the_defaults_and_single_keys_change_them():
    published = load_recipe("tiny", ["evaluation.protocol=published", "evaluation.parser=strict"]).evaluation
    assert (published.parser, published.cloze_match, published.test_image) == ("strict", "substring", "random")
    assert (published.choice, published.choice_shots, published.cloze_shots) == ("letter", 1, 2)
    assert (published.instruction, published.blank) == ("one_letter", "marker_per_pair")
    assert EvaluationConfig(protocol="published").max_new_tokens == 50
    assert published.max_new_tokens == 4  # the recipe's own
    clean = load_recipe("tiny").evaluation
    assert (clean.parser, clean.cloze_match, clean.test_image, clean.choice_shots) == ("strict", "exact", "all", 0)


def test_training_as_published_counts_epochs_and_examples():
    teach, unlearn = TeachConfig(protocol="published"), UnlearnConfig(protocol="published")
    assert (teach.epochs, teach.steps, teach.batch_examples, teach.batch_tokens) == (5, 0, 4, 0)
    assert (teach.labels, teach.turns, teach.modality, teach.replay) == ("full", 1, "image", 0)
    assert (unlearn.labels, unlearn.batch_examples, unlearn.retain_modality) == ("full", 4, "image")
    assert TeachConfig(protocol="published", steps=7).epochs == 0
    assert {config.adamw for config in (teach, unlearn)} == {"transformers"}
    assert {config.adamw for config in (TeachConfig(), UnlearnConfig())} == {"torch"}
    assert (TeachConfig().steps, TeachConfig(epochs=2).steps, UnlearnConfig(batch_examples=2).batch_tokens) == (
        700,
        0,
        0,
    )


@pytest.mark.parametrize("changes", [[], ["evaluation.protocol=published", "teach.protocol=published"]])
def test_a_protocol_survives_a_dump_with_every_key_written_out(changes, tmp_path):
    config = load_recipe("quick", changes)
    copy = tmp_path / "copy.toml"
    copy.write_text(dump_config(config))
    assert load_recipe(copy) == config
    assert 'parser = "' in copy.read_text()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluation.choice_shots=1"], "^evaluation: the clean protocol is zero-shot"),
        (
            ["evaluation.protocol=published", "evaluation.choice=likelihood"],
            "^evaluation: the published protocol shows",
        ),
        (["evaluation.protocol=published", "evaluation.blank=underscores"], "^evaluation: the published protocol asks"),
        (["evaluation.protocol=publishd"], r"^evaluation\.protocol: must be 'clean' or 'published', got 'publishd'$"),
        (["teach.epochs=2"], "^teach: steps and epochs: give exactly one"),
        (
            ["unlearn.batch_examples=0", "unlearn.batch_tokens=0"],
            "^unlearn: batch_tokens and batch_examples: give exactly",
        ),
        (["unlearn.epochs=2"], r"^unlearn\.epochs: unknown option"),
        (["unlearn.labels=all"], r"^unlearn\.labels: must be 'answer', 'full' or 'full_with_image'"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("tiny", overrides)


def test_the_quick_recipe_shows_some_of_the_leaderboard():
    quick, leaderboard = load_recipe("quick"), load_recipe("leaderboard")
    shown = {name: table for name, table in quick.method.items() if name != "prompting"}
    assert all(table.options == leaderboard.method[name].options for name, table in shown.items())
    assert {"local_npo", "npo"} <= set(shown)


def test_the_full_recipe_has_the_published_size():
    full = load_recipe("full")
    assert (full.data.people, full.data.celebrities, full.data.forget_percent) == (500, 153, 5)
    assert (full.data.retain_evaluated, full.data.celebrities_evaluated) == (100, 153)
    assert load_recipe("full", ["data.forget_percent=15"]).data.forget_percent == 15


def test_accelerate_reads_the_configuration_for_fsdp():
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(RECIPES / "accelerate" / "fsdp.yaml"))
    assert (config.distributed_type, config.fsdp_config["fsdp_version"]) == ("FSDP", 2)


def test_the_reference_oracle_is_taught_one_epoch_as_published():
    published, clean = TeachConfig(protocol="published"), TeachConfig()
    assert (published.reference_epochs, published.of_reference().epochs, published.of_reference().steps) == (1, 1, 0)
    by_steps = TeachConfig(protocol="published", steps=7, reference_epochs=2).of_reference()
    assert (by_steps.epochs, by_steps.steps) == (2, 0)
    assert clean.of_reference() == clean


def test_the_published_recipe_builds_its_methods_as_published():
    config = load_recipe("published")
    assert config.evaluation == EvaluationConfig(protocol="published")
    built = {name: build_dataclass(METHODS.get(name), table.options, name) for name, table in config.method.items()}
    trained = [method for method in built.values() if hasattr(method, "epochs")]
    assert {(method.learning_rate, method.steps, method.epochs) for method in trained} == {(2e-5, 0, 1)}
    assert (built["npo"].beta, built["npo"].reduction, built["npo"].reference) == (0.4, "batch", "oracle")
    assert (built["kl_minimisation"].reduction, built["kl_minimisation"].positions) == ("batchmean", "all")
    assert built["gradient_difference"].schedule == built["kl_minimisation"].schedule == "alternating"
    assert (config.model.lora_rank, config.model.lora_alpha, config.model.lora_dropout) == (16, 16, 0.05)
    assert config.model.lora_targets == "all_linear"


@pytest.mark.parametrize("overrides", [[], ["data.seed=1", "method.npo.beta=0.5", "method.npo.modality=['image']"]])
def test_the_command_of_a_config_makes_it_again(tmp_path, overrides):
    config = load_recipe("quick", overrides)
    (tmp_path / "config.toml").write_text(dump_config(config))
    *start, recipe = (words := shlex.split(command_of(tmp_path / "config.toml")))[:3]
    assert start == ["unsee", "run"]
    assert load_recipe(recipe, words[4::2]) == config
    assert len(words) == 3 + 2 * len(overrides) and not any(" ]" in word for word in words)


def test_the_command_of_a_config_names_no_default_of_a_method_that_the_recipe_lacks(tmp_path):
    config = load_recipe("tiny", ["method.local_npo.steps=3", "method.plain.use=npo"])
    (tmp_path / "config.toml").write_text(dump_config(config))
    command = command_of(tmp_path / "config.toml")
    assert sorted(shlex.split(command)[4::2]) == ["method.local_npo.steps=3", "method.plain.use=npo"]


@pytest.mark.parametrize(
    ("id", "shown"),
    [("nano-minigpt4", "nano-minigpt4"), ("a b", "'a b'"), ("3", """'"3"'"""), ("true", """'"true"'""")],
)
def test_the_command_of_a_config_quotes_text_only_where_it_must(tmp_path, id, shown):
    config = load_recipe("quick", [f'model.id="{id}"'])
    (tmp_path / "config.toml").write_text(dump_config(config))
    command = command_of(tmp_path / "config.toml")
    assert f"--set model.id={shown}" in command
    assert load_recipe("quick", shlex.split(command)[4::2]) == config


@pytest.mark.parametrize(
    ("name", "bytes_of_weights", "trained"),
    [("model", 400_000_000, "full"), ("model", 400_000_001, "lora"), ("adapter_model", 9, "lora"), ("", 0, "lora")],
)
def test_adapters_are_trained_unless_all_weights_are_known_to_be_few(tmp_path, name, bytes_of_weights, trained):
    if name:
        with (tmp_path / f"{name}.safetensors").open("wb") as file:
            file.truncate(bytes_of_weights)  # takes no place on the disk
    model = load_recipe("quick", [f"model.id='{tmp_path}'"]).model
    assert model.trainable == trained
    assert load_recipe("quick", [f"model.id='{tmp_path}'", "model.trainable=full"]).model.trainable == "full"


def test_adapters_are_trained_in_a_model_from_the_hub_and_not_in_a_shipped_one():
    assert load_recipe("quick", ["model.id=llava-hf/llava-1.5-7b-hf"]).model.trainable == "lora"
    assert (
        load_recipe("quick").model.trainable == load_recipe("quick", ["model.trainable=auto"]).model.trainable == "full"
    )


def test_a_config_of_ones_own_is_named_by_its_file(tmp_path):
    (tmp_path / "config.toml").write_text('name = "mine"\n')
    assert command_of(tmp_path / "config.toml") == "unsee run config.toml"


@pytest.mark.parametrize("name", ["../evil", "a/b", "a\\b", "..", ".hidden", " ", ""])
@pytest.mark.parametrize("recipe", ["quick", "gate"])
def test_a_name_that_would_leave_the_folder_of_runs_is_refused(recipe, name):
    with pytest.raises(ConfigError, match=r"^name: names a folder below runs/; it must hold no slash"):
        load_recipe(recipe, [f"name={json.dumps(name)}"])
