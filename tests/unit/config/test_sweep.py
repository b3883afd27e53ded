import pytest

from unsee.config.sweep import load_sweep
from unsee.core.errors import ConfigError

SWEEP = """
name = "shares"
recipe = "tiny"

[set]
"teach.steps" = 5

[vary]
"data.people" = [40, 60]
"method.gradient_difference.modality" = [["image"], ["text"]]
"""


def load(tmp_path, text):
    (tmp_path / "sweep.toml").write_text(text)
    return load_sweep(tmp_path / "sweep.toml")


def test_every_combination_is_a_run_with_a_folder_of_its_own(tmp_path):
    sweep, runs = load(tmp_path, SWEEP)
    assert sweep.name == "shares"
    assert list(runs) == [
        "1-people-40-modality-_image_", "2-people-40-modality-_text_", "3-people-60-modality-_image_",
        "4-people-60-modality-_text_",
    ]  # fmt: skip
    assert [run.data.people for run in runs.values()] == [40, 40, 60, 60]
    assert {run.teach.steps for run in runs.values()} == {5}
    assert [run.method["gradient_difference"].modality for run in runs.values()] == [("image",), ("text",)] * 2


def test_the_recipe_lies_beside_the_sweep_and_values_are_never_paths(tmp_path):
    (tmp_path / "own.toml").write_text('name = "own"\nkind = "people"\n')
    _, runs = load(tmp_path, 'name = "s"\nrecipe = "own.toml"\n[vary]\n"model.id" = ["../../etc", "nano"]\n')
    assert list(runs) == ["1-id-.._.._etc", "2-id-nano"]
    assert [run.name for run in runs.values()] == ["own", "own"]


@pytest.mark.parametrize(
    ("changed", "to", "message"),
    [
        ("[40, 60]", "[]", r"sweep\.toml: vary\.data\.people: needs at least one value"),
        ("[40, 60]", "[40, 40]", "vary: two runs are the same"),
        ("[40, 60]", '["many", 60]', r"data\.people.*got 'many'"),
        ('"teach.steps"', '"data.people"', r"set\.data\.people: is varied too"),
        ('recipe = "tiny"', 'recipe = "tinny"', "did you mean 'tiny'"),
        (
            "[40, 60]",
            "[{ a = 1 }]",
            r"sweep\.toml: data\.people: takes texts, numbers, true, false, and lists of these",
        ),
        (SWEEP, "", r"sweep\.toml: .*missing"),
        ("[vary]", "[vari]", "vary: missing"),
        ("[40, 60]", f"{list(range(40, 1040))}", "vary: makes more than 1000 runs"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_one_sentence(tmp_path, changed, to, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load(tmp_path, SWEEP.replace(changed, to))
