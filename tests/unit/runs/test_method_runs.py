import pytest
import tiny

from unsee.config.recipe import DocumentsMethodTable, MethodTable
from unsee.core.errors import ConfigError, UnknownNameError
from unsee.methods import METHODS
from unsee.methods.base import EditMethod
from unsee.runs.method_runs import check_layers, documents_methods, make_method, people_methods


def tables(kind, **named):
    return {name: kind.model_validate(options) for name, options in named.items()}


def test_one_method_under_several_names():
    found = tables(
        DocumentsMethodTable, neural_gate={}, random_gate={"use": "neural_gate", "gate": "random"}, ft_l={"bound": 0.1}
    )
    _, first, second, third = documents_methods(found, 3)
    assert (first.label, second.label, third.label) == ("neural_gate", "random_gate", "ft_l")
    assert type(first.method) is type(second.method)
    assert (first.method.gate, second.method.gate) == ("learned", "random")
    assert {trial.seed for trial in (first, second, third)} == {3}


def test_every_seed_is_a_trial_with_a_label_of_its_own():
    trials = list(documents_methods(tables(DocumentsMethodTable, ft_l={"seeds": [4, 5]}), 0))
    assert [(trial.name, trial.seed, trial.label) for trial in trials[1:]] == [
        ("ft_l", 4, "ft_l-4"),
        ("ft_l", 5, "ft_l-5"),
    ]


def test_people_get_edits_from_every_kind_of_question_and_the_control():
    found = tables(MethodTable, ft_l={"modality": ["image", "both"]}, in_context={}, do_nothing={})
    labels = [trial.label for trial in people_methods(found, 0)]
    assert labels == ["do_nothing", "ft_l-image", "ft_l-both", "in_context"]


def test_people_get_every_seed_of_every_modality_or_of_the_one_that_has_several():
    found = tables(
        MethodTable, ft_l={"modality": ["image", "both"], "seeds": [4, 5]}, npo={"seeds": {"both": [0, 1]}},
        in_context={"seeds": [7, 8]},
    )  # fmt: skip
    trials = [(trial.label, trial.seed) for trial in people_methods(found, 3)]
    assert trials == [
        ("do_nothing", 3), ("ft_l-image-4", 4), ("ft_l-image-5", 5), ("ft_l-both-4", 4), ("ft_l-both-5", 5),
        ("npo-image", 3), ("npo-text", 3), ("npo-both-0", 0), ("npo-both-1", 1), ("in_context", 7),
    ]  # fmt: skip


@pytest.mark.parametrize("label", ["target", "oracle", "oracle_2", "random_weights", "base"])
def test_the_name_of_a_model_of_every_run_is_refused(label):
    with pytest.raises(ConfigError, match=rf"^method\.{label}: a model of every run has this name"):
        make_method(label, MethodTable(use="npo"))


@pytest.mark.parametrize("label", ["a/b", "a b", "-a"])
def test_a_name_that_is_no_file_name_is_refused(label):
    with pytest.raises(ConfigError, match=rf"^method\.{label}: a name may hold letters"):
        make_method(label, MethodTable(use="npo"))


@pytest.mark.parametrize("label", ["target_noise", "oracle_like", "random_weights_2"])
def test_a_name_may_begin_as_that_of_a_model_does(label):
    assert make_method(label, MethodTable(use="npo")) == METHODS.get("npo")()


def test_a_control_keeps_its_name():
    with pytest.raises(ConfigError, match="is the name of a control"):
        make_method("do_nothing", MethodTable(use="npo"))


def test_an_unknown_method_behind_a_name_says_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'neural_gate'"):
        make_method("mine", MethodTable(use="neural_gat"))


def test_a_layer_out_of_range_is_refused_with_the_range():
    trials = list(documents_methods(tables(DocumentsMethodTable, deep={"use": "neural_gate", "layers": 7}), 0))
    assert isinstance(trials[1].method, EditMethod)
    with pytest.raises(ConfigError, match=r"^method\.deep\.layers: '7' is out of range; .* the layers 0 to 1"):
        check_layers(trials, tiny.make_vlm())
