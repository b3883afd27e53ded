import pytest
import torch

from unsee.config.recipe import load_recipe
from unsee.core.errors import ConfigError
from unsee.runs import run as runs
from unsee.runtime.threads import fixed_threads


def test_the_number_of_threads_is_that_of_the_block_even_if_it_fails():
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="stop"), fixed_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ValueError("stop")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("recipe", ["quick", "gate"])
def test_a_run_computes_with_the_threads_of_its_recipe_whatever_the_machine(recipe, monkeypatch):
    def start(*_):
        raise ConfigError(f"{torch.get_num_threads()} threads")

    monkeypatch.setattr(runs, "start", start)
    for settings, threads in (((), 1), (("threads=3",), 3)):
        with pytest.raises(ConfigError, match=f"^{threads} threads"):
            runs.run(load_recipe(recipe, settings))
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("number", ["0", "two", "-1", "1.5", "99999"])
def test_a_wrong_number_of_workers_is_refused_before_anything_is_read(number):
    with pytest.raises(
        ConfigError, match=f"^--workers {number}: must be a number from 1, 'auto', 'ray' or 'ray://HOST:PORT'$"
    ):
        runs.run(load_recipe("quick"), workers=number)
