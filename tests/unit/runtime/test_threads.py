import pytest
import torch

from unsee.config.recipe import load_recipe
from unsee.runs import run as runs
from unsee.runtime.threads import fixed_threads


def test_the_number_of_threads_is_that_of_the_block_even_if_it_fails():
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="stop"), fixed_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ValueError("stop")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("recipe", "function"), [("quick", "run_people"), ("gate", "run_documents")])
def test_a_run_computes_with_the_threads_of_its_recipe_whatever_the_machine(recipe, function, monkeypatch):
    monkeypatch.setattr(runs, function, lambda *_: torch.get_num_threads())
    assert torch.get_num_threads() == 1
    assert runs.run(load_recipe(recipe)) == 2
    assert runs.run(load_recipe(recipe, ["threads=3"])) == 3
    assert torch.get_num_threads() == 1
