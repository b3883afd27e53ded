"""Closed-form edits: keys (inputs of a down projection), values (wanted outputs) and the solve for the matrix.

Shape letters: B rows (pictures), I answers, D hidden width, F input width of a down projection, N pictures of an edit,
T tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from safetensors.torch import load_file
from torch import Tensor

from unsee.core.errors import DataError
from unsee.core.progress import Progress, Silent
from unsee.edits.edit import write_tensors
from unsee.edits.pair_rows import PairRows
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.steering import Steered, shift
from unsee.edits.tune import linear_module, temporary_weights, weights_of
from unsee.forward.hooks import capture, frozen
from unsee.forward.trees import Node, Tree, collate, pack_by_length
from unsee.models.vlm import VLM
from unsee.runtime.cache import Cache

TEXT_TOKENS = 4096
"""Most tokens of a batch of texts."""


@torch.no_grad()
def subject_keys_BF(vlm: VLM, rows: PairRows, layer: int) -> Tensor:
    """Compute each picture's key: the down projection's input at the subject, mean over its sensitive questions."""
    with capture([linear_module(vlm, down_name(vlm, layer))]) as (seen,):
        vlm.hidden(rows.batch.inputs)
    return _mean_at_subject(rows, seen.input)


@torch.no_grad()
def subject_states_BD(vlm: VLM, rows: PairRows, layer: int) -> Tensor:
    """Compute the layer's output at the subject of each picture, mean over its sensitive questions."""
    with capture([decoder_layers(vlm)[layer]]) as (seen,):
        vlm.hidden(rows.batch.inputs)
    return _mean_at_subject(rows, seen.output)


def refusing_shifts_BD(
    vlm: VLM,
    rows: PairRows,
    layer: int,
    state_BD: Tensor,
    *,
    benign_weight: float,
    rate: float,
    steps: int,
    reach: float,
) -> Tensor:
    """Find the shift of the layer's output at the subject under which the model refuses what it should.

    Args:
        state_BD: that output in the unedited model; the unit of steps and lengths.
        rate: Adam's step, as a share of the state's root mean square.
        reach: longest shift, in lengths of the state.

    Source: ROME arXiv:2202.05262, Eq. 4; MEMIT arXiv:2210.07229, Eq. 16; here with the refusal objective.
    """
    unit_B1 = state_BD.square().mean(1, keepdim=True).sqrt()
    units_BD = torch.zeros_like(state_BD, requires_grad=True)
    optimiser = torch.optim.Adam([units_BD], lr=rate)
    longest = reach * state_BD.shape[1] ** 0.5
    with frozen(vlm.model):
        steered = Steered(vlm, rows, [layer], combine=shift)
        for _ in range(steps):
            loss = rows.loss_B(steered.score((units_BD * unit_B1)[:, None]), benign_weight).sum()
            (units_BD.grad,) = torch.autograd.grad(loss, units_BD)
            optimiser.step()
            with torch.no_grad():
                units_BD.mul_((longest / units_BD.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1))
    return (units_BD * unit_B1).detach()


def second_moment(vlm: VLM, layer: int, texts: Sequence[str], cache: Cache | None = None) -> Tensor:
    """Compute the mean outer product (F, F), float64, of the down projection's inputs over the tokens of texts.

    Args:
        cache: where it is kept by model, layer and texts; None keeps nothing.

    Raises:
        DataError: there are no texts.
    """
    if not texts:
        raise DataError("a second moment needs at least one text")
    content = hashlib.sha256("\0".join((vlm.fingerprint(), str(layer), *texts)).encode()).hexdigest()[:20]
    if cache is None:
        return _mean_outer_product(vlm, layer, texts)[0]
    path = cache.path("moments", f"{content}.safetensors")
    with cache.locked(path):  # another run may be computing it
        if cache.holds(path):
            return load_file(path)["moment"].to(vlm.device)
        moment, count = _mean_outer_product(vlm, layer, texts)
        about = {"tokens": str(count), "layer": str(layer)}
        cache.keep(path, lambda part: write_tensors({"moment": moment}, part, about))
    return moment


@torch.no_grad()
def _mean_outer_product(vlm: VLM, layer: int, texts: Sequence[str]) -> tuple[Tensor, int]:
    """Return the mean outer product (F, F) and the number of tokens."""
    down = linear_module(vlm, down_name(vlm, layer))
    total = torch.zeros(down.in_features, down.in_features, dtype=torch.float64, device=vlm.device)
    count = 0
    trees = [Tree([Node(vlm.text_ids(text), -1)]) for text in texts]
    for rows in pack_by_length(trees, TEXT_TOKENS):
        some = [trees[row] for row in rows]
        batch = collate(some, vlm).to(vlm.device)
        with capture([down]) as (seen,):
            vlm.hidden(batch.inputs)
        keys_TF = torch.cat([seen.input[row, : tree.num_tokens] for row, tree in enumerate(some)]).double()
        total += keys_TF.T @ keys_TF
        count += len(keys_TF)
    return total / count, count


def rank_one(weight_DF: Tensor, key_F: Tensor, value_D: Tensor, moment_FF: Tensor) -> Tensor:
    """Compute the change, smallest under the moment, after which the matrix maps `key` to `value`.

    Source: ROME, arXiv:2202.05262, Eq. 2.
    """
    direction_F = torch.linalg.solve(moment_FF, key_F)
    return torch.outer((value_D - weight_DF @ key_F) / (direction_F @ key_F), direction_F)


def least_squares(residuals_ND: Tensor, keys_NF: Tensor, moment_FF: Tensor) -> Tensor:
    """Solve X (moment + K^T K) = R^T K for the change X: new associations against those to keep.

    Source: MEMIT, arXiv:2210.07229, Eq. 14.
    """
    change_FD: Tensor = torch.linalg.solve(moment_FF + keys_NF.T @ keys_NF, keys_NF.T @ residuals_ND)
    return change_FD.T


def projected_least_squares(residuals_ND: Tensor, keys_NF: Tensor, null_FF: Tensor, ridge: float) -> Tensor:
    """Compute the change X = R^T K P (K^T K P + ridge I)^-1, which is 0 for keys outside the null space.

    Args:
        null_FF: the projection P onto the null space of the keys to keep.

    Source: AlphaEdit, arXiv:2410.02355, the closed form of Sec. 3 for a first edit.
    """
    identity = torch.eye(len(null_FF), dtype=null_FF.dtype, device=null_FF.device)
    normal_FF = null_FF @ keys_NF.T @ keys_NF + ridge * identity
    change_FD: Tensor = torch.linalg.solve(normal_FF, null_FF @ keys_NF.T @ residuals_ND)
    return change_FD.T


def null_space_projection(moment_FF: Tensor, share: float) -> Tensor:
    """Compute the projection onto the weakest directions, which together hold at most `share` of the moment's trace.

    Source: AlphaEdit, arXiv:2410.02355, Sec. 3.1; the share replaces an absolute limit on eigenvalues, which depends on
    the size of the model's activations.
    """
    values_F, vectors_FF = torch.linalg.eigh(moment_FF)
    held_F = values_F.clamp(min=0).cumsum(0)
    null_FC: Tensor = vectors_FF[:, held_F <= share * held_F[-1]]  # the last is the trace, to the last bit
    return null_FC @ null_FC.T


def add_ridge(moment_FF: Tensor, share: float) -> Tensor:
    """Add a share of the moment's mean diagonal to its diagonal, so that it can be inverted."""
    identity = torch.eye(len(moment_FF), dtype=moment_FF.dtype, device=moment_FF.device)
    return moment_FF + share * moment_FF.diagonal().mean() * identity


def spread_over_layers(
    vlm: VLM, batches: Sequence[PairRows], layers: Sequence[int], solve: Callable[[int, Tensor, Tensor], Tensor], *,
    benign_weight: float, rate: float, steps: int, reach: float, progress: Progress | None = None,
) -> dict[int, Tensor]:  # fmt: skip
    """Compute the change of each layer's down projection, float32, that together bring the last output to its value.

    Args:
        solve: (layer, residuals (N, D), keys (N, F), both float64) -> change of the matrix.

    Source: MEMIT, arXiv:2210.07229, Algorithm 1.
    """
    wanted: list[Tensor] = []
    with (progress or Silent()).task("edit", len(batches) + len(layers)) as advance:
        for rows in batches:
            state_BD = subject_states_BD(vlm, rows, layers[-1])
            shift_BD = refusing_shifts_BD(
                vlm, rows, layers[-1], state_BD, benign_weight=benign_weight, rate=rate, steps=steps, reach=reach
            )
            wanted.append(state_BD + shift_BD)
            advance(1)
        deltas: dict[int, Tensor] = {}
        names = {layer: down_name(vlm, layer) for layer in layers}
        start = weights_of(vlm, list(names.values()))
        for index, layer in enumerate(layers):
            weights = {names[done]: start[names[done]] + delta for done, delta in deltas.items()}
            with temporary_weights(vlm, weights):
                keys_NF = torch.cat([subject_keys_BF(vlm, rows, layer) for rows in batches])
                states_ND = torch.cat([subject_states_BD(vlm, rows, layers[-1]) for rows in batches])
            residuals_ND = (torch.cat(wanted) - states_ND) / (len(layers) - index)
            deltas[layer] = solve(layer, residuals_ND.double(), keys_NF.double()).float()
            advance(1)
    return deltas


def _mean_at_subject(rows: PairRows, values: Tensor) -> Tensor:
    """Return values (B, T, ...) at the subject's last token, mean over each row's sensitive questions."""
    values_I = values.flatten(0, 1)[rows.last_I].float()[rows.sensitive_I]
    rows_I = rows.row_I[rows.sensitive_I]
    total = values_I.new_zeros(rows.num_rows, values_I.shape[1]).index_add(0, rows_I, values_I)
    return total / torch.bincount(rows_I, minlength=rows.num_rows)[:, None]
