"""What is asked of DeepSpeed, and what is refused."""

from types import SimpleNamespace

import pytest
import torch

from unsee.core.errors import ConfigError
from unsee.runtime import zero


def accelerator(**changes):
    plugin = {"zero_stage": 3, "offload_optimizer_device": "none", "offload_param_device": None, "deepspeed_config": {}}
    return SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=SimpleNamespace(**plugin | changes)))


@pytest.mark.parametrize("stage", [2, 3])
def test_it_clips_as_the_schedule_says(stage):
    chosen = accelerator(zero_stage=stage)
    zero.set_up(chosen, 0.25)
    assert chosen.state.deepspeed_plugin.deepspeed_config["gradient_clipping"] == 0.25


@pytest.mark.parametrize(
    ("change", "said"),
    [({"zero_stage": 1}, "zero_stage is 1"), ({"offload_param_device": "cpu"}, "offloading is not supported")],
)
def test_what_has_not_been_tried_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        zero.set_up(accelerator(**change), 1.0)


def test_the_parts_of_a_tensor_are_all_of_it_and_of_one_length():
    whole = torch.arange(5.0)
    parts = [
        zero._part(SimpleNamespace(ds_tensor=torch.zeros(2), ds_zero_partition_rank=rank), whole) for rank in range(4)
    ]
    assert torch.equal(torch.cat(parts), torch.tensor([0.0, 1, 2, 3, 4, 0, 0, 0]))
