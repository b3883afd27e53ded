"""DeepSpeed's ZeRO under the one training loop: how it is set up, and how its state is read and put back whole.

Its engine clips, steps and drops the gradients within `accelerator.backward`. A step whose gradient is not finite it
leaves out and says so by an infinite norm, so that the state is that of the step before, as it is without DeepSpeed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils.deepspeed import DeepSpeedOptimizerWrapper
from torch import Tensor, nn
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from unsee.core.errors import ConfigError

MOMENTS = ("exp_avg", "exp_avg_sq")  # what AdamW remembers of every weight


def set_up(accelerator: Accelerator, clip_norm: float) -> None:
    """Tell the engine, if there will be one, what the loop cannot do in its place.

    Raises:
        ConfigError: the stage is neither 2 nor 3, or something is to be offloaded.
    """
    plugin = accelerator.state.deepspeed_plugin
    if plugin is None:
        return
    if plugin.zero_stage not in (2, 3):
        raise ConfigError(f"DeepSpeed: zero_stage is {plugin.zero_stage}; allowed are 2 and 3")
    if {plugin.offload_optimizer_device, plugin.offload_param_device} - {None, "none"}:
        raise ConfigError("DeepSpeed: offloading is not supported; set both offload devices to none")
    plugin.deepspeed_config["gradient_clipping"] = clip_norm
    plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = 1  # only for its reports: the loop brings the rows
    unset_hf_deepspeed_config()  # or transformers would load and generate in parts, outside of training too


def steers(optimiser: torch.optim.Optimizer) -> bool:
    """Whether the optimiser is that of a DeepSpeed engine."""
    return isinstance(optimiser, DeepSpeedOptimizerWrapper)


def remembered(parameter: nn.Parameter, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """A parameter in float32 and what AdamW keeps of it, whole; every process must ask."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    kept = {"parameter": safe_get_full_fp32_param(parameter)}
    for memory in list(optimiser.state.values())[:1]:  # the flat tensors of the engine have all taken the same steps
        kept["step"] = memory["step"]
        kept |= {key: safe_get_full_optimizer_state(parameter, key) for key in MOMENTS}
    return kept


@torch.no_grad()
def put_back(parameter: nn.Parameter, optimiser: Any, kept: Mapping[str, Tensor]) -> None:
    """What `remembered` gave, or a checkpoint without DeepSpeed holds, to where the engine has it."""
    from deepspeed import utils
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters([parameter], modifier_rank=0):
        parameter.copy_(kept["parameter"])
    if "step" in kept:
        _make_room(optimiser.optimizer, kept["step"])
    put_weight, put_moment = utils.safe_set_full_fp32_param, utils.safe_set_full_optimizer_state
    if hasattr(parameter, "ds_id"):  # there the full ones fail where the parts are not of one length
        put_weight, put_moment = utils.safe_set_local_fp32_param, utils.safe_set_local_optimizer_state
        kept = {key: value if key == "step" else _part(parameter, value) for key, value in kept.items()}
    put_weight(parameter, kept["parameter"])
    for key in MOMENTS:
        if key in kept:
            put_moment(parameter, kept[key], key)


def _make_room(engine: Any, step: Tensor) -> None:
    """Give each flat tensor of an engine that has not yet stepped what AdamW would after so many steps."""
    if engine.state:
        return
    by_stage = ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups")
    for flat in next(getattr(engine, name) for name in by_stage if hasattr(engine, name)):
        moments = {key: torch.zeros_like(flat) for key in MOMENTS}
        engine.state[flat] = {"step": step.to(flat.device, copy=True), **moments}
    if link := getattr(engine, "_lazy_init_hp_params_optimizer_state", None):
        link()  # stage 2 else knows of the moments only after a step


def _part(parameter: Any, tensor: Tensor) -> Tensor:
    """This process's part of a tensor, cut as ZeRO 3 cuts the parameter: the last one filled up with zeros."""
    length = parameter.ds_tensor.numel()
    first = length * parameter.ds_zero_partition_rank
    own = tensor.flatten()[first : first + length].to(parameter.ds_tensor.device)
    return nn.functional.pad(own, (0, length - len(own)))
