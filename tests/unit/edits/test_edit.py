from dataclasses import replace

import pytest
import tiny
import torch
from safetensors.torch import save_file

from unsee.core.errors import ConfigError, ModelError
from unsee.edits.edit import Edit, Editor, applied, merge
from unsee.edits.partial_forward import down_name
from unsee.models.vlm import VLM


@pytest.fixture
def vlm():
    return tiny.make_vlm()


def make_edit(vlm, layer=0, seed=0, category="person"):
    name = down_name(vlm, layer)
    weight = vlm.model.get_submodule(name).weight
    delta = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)) * 0.01
    frequency = torch.linspace(0, 1, 48)
    return Edit(
        method="neural_gate", settings={"share": 0.1}, model=vlm.fingerprint(), deltas={name: delta},
        gates={f"{category}/{layer}": frequency > 0.3}, frequencies={f"{category}/{layer}": frequency},
    )  # fmt: skip


def test_a_saved_edit_loads_unchanged(vlm, tmp_path):
    edit = make_edit(vlm)
    edit.save(tmp_path / "deep" / "edit.safetensors")
    again = Edit.load(tmp_path / "deep" / "edit.safetensors")
    assert (again.method, again.settings, again.model, again.id) == (edit.method, edit.settings, edit.model, edit.id)
    for part in ("deltas", "gates", "frequencies"):
        kept, own = getattr(again, part), getattr(edit, part)
        assert kept.keys() == own.keys()
        assert all(torch.equal(kept[key], own[key]) and kept[key].dtype == own[key].dtype for key in own)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["edit.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_apply_then_revert_leaves_the_model_bit_identical(vlm, dtype):
    vlm.model.to(dtype)
    before, config, edit = vlm.fingerprint(), vlm.model.config.to_json_string(), make_edit(vlm)
    editor = Editor(vlm)
    editor.apply(edit)
    assert vlm.fingerprint() != before
    assert applied(vlm) == [edit.id]
    assert editor.revert() is edit
    assert vlm.fingerprint() == before
    assert vlm.model.config.to_json_string() == config
    assert applied(vlm) == []


def test_an_edit_adds_its_delta_and_nothing_else(vlm):
    edit = make_edit(vlm)
    before = {name: value.clone() for name, value in vlm.model.state_dict().items()}
    Editor(vlm).apply(edit)
    (name,) = edit.deltas
    for key, value in vlm.model.state_dict().items():
        expected = before[key] + edit.deltas[name] if key == f"{name}.weight" else before[key]
        assert torch.equal(value, expected)


def test_reverting_the_first_of_two_edits_leaves_the_second_alone(vlm):
    first, second = make_edit(vlm), make_edit(vlm, seed=1)
    alone = Editor(other := tiny.make_vlm())
    alone.apply(second)
    editor = Editor(vlm)
    editor.apply(first)
    editor.apply(second)
    assert [edit.id for edit in editor.edits] == [first.id, second.id]
    editor.revert(first.id)
    assert vlm.fingerprint() == other.fingerprint()


def test_a_second_apply_is_refused_also_on_a_saved_model(vlm, tmp_path):
    edit, editor = make_edit(vlm), Editor(vlm)
    editor.apply(edit)
    weights = vlm.fingerprint()
    for again in (editor, Editor(vlm)):
        with pytest.raises(ModelError, match=rf"edit {edit.id} \(neural_gate\): is in model tiny already"):
            again.apply(edit)
    assert vlm.fingerprint() == weights
    vlm.save(tmp_path)
    with pytest.raises(ModelError, match="already"):
        Editor(VLM.load(str(tmp_path))).apply(edit)


def test_an_edit_of_another_model_is_refused_before_anything_is_written(vlm):
    other = tiny.make_vlm(seed=1)
    before = other.fingerprint()
    with pytest.raises(ModelError, match=r"was made for another model \(fingerprint \w+, model tiny has \w+\)"):
        Editor(other).apply(make_edit(vlm))
    assert other.fingerprint() == before


def test_other_shapes_and_names_are_refused_before_anything_is_written(vlm):
    edit, before = make_edit(vlm), vlm.fingerprint()
    (name,) = edit.deltas
    with pytest.raises(ModelError, match=r"is \(3, 3\) in the edit, \(48, 128\) in model tiny"):
        Editor(vlm).apply(replace(edit, deltas={name: torch.zeros(3, 3)}))
    with pytest.raises(ModelError, match=r"model tiny: has no weight nowhere"):
        Editor(vlm).apply(replace(edit, deltas={**edit.deltas, "nowhere": torch.zeros(3)}))
    assert vlm.fingerprint() == before


def test_an_edit_that_was_not_applied_cannot_be_reverted(vlm):
    with pytest.raises(ModelError, match="edit x: was not applied"):
        Editor(vlm).revert("x")


def test_a_merged_edit_is_the_sum(vlm):
    first, second = make_edit(vlm), make_edit(vlm, seed=1, category="ticket")
    third = make_edit(vlm, layer=1, seed=2, category="card")
    merged = merge([first, second, third])
    low, high = down_name(vlm, 0), down_name(vlm, 1)
    assert torch.equal(merged.deltas[low], first.deltas[low] + second.deltas[low])
    assert torch.equal(merged.deltas[high], third.deltas[high])
    assert set(merged.gates) == {"person/0", "ticket/0", "card/1"}
    assert merged.ids == {merged.id, first.id, second.id, third.id}
    editor = Editor(vlm)
    editor.apply(merged)
    assert editor.revert().method == "neural_gate"


def test_an_edit_is_not_added_twice_through_a_merge(vlm, tmp_path):
    first, second, third = (make_edit(vlm, seed=seed, category=f"person {seed}") for seed in range(3))
    merge([merge([first, second]), third]).save(tmp_path / "all.safetensors")
    whole = Edit.load(tmp_path / "all.safetensors")
    assert whole.ids > {first.id, second.id, third.id}
    with pytest.raises(ConfigError, match=f"edit {second.id} is in two of these edits"):
        merge([merge([first, second]), merge([second, third])])
    for once, again in ((first, whole), (whole, first)):
        editor = Editor(edited := tiny.make_vlm())
        editor.apply(once)
        with pytest.raises(ModelError, match=rf"edit {first.id} .* is in model tiny already"):
            editor.apply(again)
        editor.revert()
        assert applied(edited) == []


@pytest.fixture
def tied_vlm(vlm):
    vlm.model.lm_head.weight = vlm.model.get_input_embeddings().weight
    return vlm


def parameters_of(vlm):
    return {name: parameter.detach().clone() for name, parameter in vlm.model.named_parameters()}


def test_an_edit_holds_any_parameter(vlm, tmp_path):
    tower = vlm.model.get_submodule(vlm.layout.vision_tower)
    tower.register_parameter("logit_scale", torch.nn.Parameter(torch.tensor(2.0)))
    before = parameters_of(vlm)
    bias = next(name for name in before if name.endswith("fc1.bias"))
    norm = next(name for name in before if name.endswith("input_layernorm.weight")).removesuffix(".weight")
    scalar = next(name for name in before if name.endswith("logit_scale"))
    by_module, by_name = down_name(vlm, 0), f"{down_name(vlm, 1)}.weight"
    names = {bias: bias, norm: f"{norm}.weight", scalar: scalar, by_module: f"{by_module}.weight", by_name: by_name}
    deltas = {key: torch.randn(before[name].shape) for key, name in names.items()}
    Edit(method="own", settings={}, model=vlm.fingerprint(), deltas=deltas).save(tmp_path / "edit.safetensors")
    edit, editor = Edit.load(tmp_path / "edit.safetensors"), Editor(vlm)
    editor.apply(edit)
    changed = {name: before[name] + deltas[key] for key, name in names.items()}
    assert all(torch.equal(value, (before | changed)[name]) for name, value in parameters_of(vlm).items())
    editor.revert()
    assert vlm.fingerprint() == edit.model


def test_the_names_of_a_module_and_of_its_weight_are_merged_as_one(vlm):
    first, second = make_edit(vlm), make_edit(vlm, seed=1, category="ticket")
    ((name, delta),) = second.deltas.items()
    merged = merge([first, replace(second, deltas={f"{name}.weight": delta})])
    assert list(merged.deltas) == [name]
    assert torch.equal(merged.deltas[name], first.deltas[name] + delta)


def test_a_tied_weight_is_changed_once_whichever_of_its_names_edits_use(tied_vlm):
    embedding = next(name for name in parameters_of(tied_vlm) if name.endswith("embed_tokens.weight"))
    before = parameters_of(tied_vlm)[embedding]
    first, second = (torch.randn(before.shape) for _ in range(2))
    both, one = (
        Edit(method="own", settings={}, model=tied_vlm.fingerprint(), deltas=deltas)
        for deltas in ({"lm_head": first, embedding: first.clone()}, {"lm_head": second})
    )
    editor = Editor(tied_vlm)
    editor.apply(both)
    assert torch.equal(parameters_of(tied_vlm)[embedding], before + first)
    editor.apply(one)
    assert torch.equal(parameters_of(tied_vlm)[embedding], before + first + second)
    editor.revert(both.id)
    assert torch.equal(parameters_of(tied_vlm)[embedding], before + second)
    editor.revert()
    assert tied_vlm.fingerprint() == both.model
    with pytest.raises(ModelError, match=r"lm_head is a second name of a weight of model tiny, with another change"):
        editor.apply(replace(both, deltas={embedding: first, "lm_head": second}))
    assert tied_vlm.fingerprint() == both.model


def test_edits_of_two_models_or_two_gates_of_one_category_are_not_merged(vlm):
    edit = make_edit(vlm)
    with pytest.raises(ModelError, match="different models"):
        merge([edit, make_edit(tiny.make_vlm(seed=1))])
    with pytest.raises(ConfigError, match="merged with itself"):
        merge([edit, edit])
    with pytest.raises(ConfigError, match="two of these edits hold a gate of person/0"):
        merge([edit, make_edit(vlm, seed=1)])


def test_a_file_that_is_no_edit_is_refused(vlm, tmp_path):
    path = tmp_path / "edit.safetensors"
    with pytest.raises(ModelError, match="is not an edit that can be read"):
        Edit.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="is not an edit that can be read"):
        Edit.load(path)
    save_file(vlm.trained(), path)
    with pytest.raises(ModelError, match="some other safetensors file"):
        Edit.load(path)
