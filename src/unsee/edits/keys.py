"""What a matrix is given and what it should give: the parts of closed-form edits.

Shape letters: B rows (pictures), I answers, D hidden width, F width of a down projection's input, N cases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from unsee.core.errors import DataError
from unsee.core.progress import Progress, Silent
from unsee.edits.edit import write_tensors
from unsee.edits.gate_vectors import Steered, shifted
from unsee.edits.pair_rows import Sheet
from unsee.edits.partial_forward import decoder_layers, down_name
from unsee.edits.tune import linear, matrices, working_with
from unsee.forward.hooks import capture, frozen
from unsee.forward.trees import Node, Tree, collate, pack_by_length
from unsee.models.vlm import VLM

TEXT_TOKENS = 4096


@torch.no_grad()
def keys_BF(vlm: VLM, sheet: Sheet, layer: int) -> Tensor:
    """What the layer's down projection is given at the subject, mean over each picture's sensitive questions."""
    with capture([linear(vlm, down_name(vlm, layer))]) as (seen,):
        vlm.hidden(sheet.batch.inputs)
    return _at_subject(sheet, seen.input)


@torch.no_grad()
def states_BD(vlm: VLM, sheet: Sheet, layer: int) -> Tensor:
    """What the layer gives at the subject, mean over each picture's sensitive questions."""
    with capture([decoder_layers(vlm)[layer]]) as (seen,):
        vlm.hidden(sheet.batch.inputs)
    return _at_subject(sheet, seen.output)


def shifts_BD(
    vlm: VLM, sheet: Sheet, layer: int, state_BD: Tensor, *, benign_weight: float, rate: float, steps: int, reach: float
) -> Tensor:
    """What must be added to the layer's output at the subject so that the model refuses and answers as it should.

    Args:
        state_BD: that output in the unedited model; steps and lengths are counted in its length.
        rate: Adam's step, as a share of the state's root mean square.
        reach: longest shift, in lengths of the state.

    Source: ROME arXiv:2202.05262, Eq. 4; MEMIT arXiv:2210.07229, Eq. 16; here with the refusal objective.
    """
    unit_B1 = state_BD.square().mean(1, keepdim=True).sqrt()
    units_BD = torch.zeros_like(state_BD, requires_grad=True)
    optimiser = torch.optim.Adam([units_BD], lr=rate)
    longest = reach * state_BD.shape[1] ** 0.5
    with frozen(vlm.model):
        steered = Steered(vlm, sheet, [layer], combine=shifted)
        for _ in range(steps):
            loss = sheet.loss_B(steered.score((units_BD * unit_B1)[:, None]), benign_weight).sum()
            (units_BD.grad,) = torch.autograd.grad(loss, units_BD)
            optimiser.step()
            with torch.no_grad():
                units_BD.mul_((longest / units_BD.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1))
    return (units_BD * unit_B1).detach()


def second_moment(vlm: VLM, layer: int, texts: Sequence[str], cache: Path | None = None) -> Tensor:
    """Mean outer product (F, F), float64, of what the layer's down projection is given over the tokens of texts.

    Args:
        cache: folder in which it is kept under a name made of the model, the layer and the texts.

    Raises:
        DataError: there are no texts.
    """
    if not texts:
        raise DataError("a second moment needs at least one text")
    content = hashlib.sha256("\0".join((vlm.fingerprint(), str(layer), *texts)).encode()).hexdigest()[:20]
    path = cache / f"{content}.safetensors" if cache else None
    if path and path.is_file():
        return load_file(path)["moment"].to(vlm.device)
    moment, count = _summed(vlm, layer, texts)
    moment /= count
    if path:
        write_tensors({"moment": moment}, path, {"tokens": str(count), "layer": str(layer)})
    return moment


@torch.no_grad()
def _summed(vlm: VLM, layer: int, texts: Sequence[str]) -> tuple[Tensor, int]:
    down = linear(vlm, down_name(vlm, layer))
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
    return total, count


def rank_one(weight_DF: Tensor, key_F: Tensor, value_D: Tensor, moment_FF: Tensor) -> Tensor:
    """The change of least weight under the moment after which the matrix gives `value` for `key`.

    Source: ROME, arXiv:2202.05262, Eq. 2.
    """
    direction_F = torch.linalg.solve(moment_FF, key_F)
    return torch.outer((value_D - weight_DF @ key_F) / (direction_F @ key_F), direction_F)


def least_squares(residuals_ND: Tensor, keys_NF: Tensor, moment_FF: Tensor) -> Tensor:
    """The change X that solves X (moment + K^T K) = R^T K: new associations against kept ones.

    Source: MEMIT, arXiv:2210.07229, Eq. 14.
    """
    change_FD: Tensor = torch.linalg.solve(moment_FF + keys_NF.T @ keys_NF, keys_NF.T @ residuals_ND)
    return change_FD.T


def projected_least_squares(residuals_ND: Tensor, keys_NF: Tensor, free_FF: Tensor, ridge: float) -> Tensor:
    """The change X = R^T K P (K^T K P + ridge I)^-1, which leaves everything outside the free space as it was.

    Source: AlphaEdit, arXiv:2410.02355, the closed form of Sec. 3 for a first edit.
    """
    identity = torch.eye(len(free_FF), dtype=free_FF.dtype, device=free_FF.device)
    normal_FF = free_FF @ keys_NF.T @ keys_NF + ridge * identity
    change_FD: Tensor = torch.linalg.solve(normal_FF, free_FF @ keys_NF.T @ residuals_ND)
    return change_FD.T


def free_space(moment_FF: Tensor, share: float) -> Tensor:
    """Projection onto the directions that together hold at most `share` of what the moment holds.

    Source: AlphaEdit, arXiv:2410.02355, Sec. 3.1; the share replaces an absolute limit on eigenvalues, which depends on
    the size of the model's activations.
    """
    values_F, vectors_FF = torch.linalg.eigh(moment_FF)
    held_F = values_F.clamp(min=0).cumsum(0) / values_F.clamp(min=0).sum()
    free_FC: Tensor = vectors_FF[:, held_F <= share]
    return free_FC @ free_FC.T


def ridged(moment_FF: Tensor, share: float) -> Tensor:
    """The moment with a share of its mean diagonal added to it, so that it can be inverted."""
    identity = torch.eye(len(moment_FF), dtype=moment_FF.dtype, device=moment_FF.device)
    return moment_FF + share * moment_FF.diagonal().mean() * identity


def spread(
    vlm: VLM, sheets: Sequence[Sheet], layers: Sequence[int], solve: Callable[[int, Tensor, Tensor], Tensor], *,
    benign_weight: float, rate: float, steps: int, reach: float, progress: Progress | None = None,
) -> dict[int, Tensor]:  # fmt: skip
    """What to add to the down projection of each layer, float32, so that the last one's output takes the wanted value.

    Args:
        solve: (layer, residuals (N, D), keys (N, F), both float64) -> change of the matrix.

    Source: MEMIT, arXiv:2210.07229, Algorithm 1.
    """
    wanted: list[Tensor] = []
    with (progress or Silent()).task("edit", len(sheets) + len(layers)) as advance:
        for sheet in sheets:
            state_BD = states_BD(vlm, sheet, layers[-1])
            shift_BD = shifts_BD(
                vlm, sheet, layers[-1], state_BD, benign_weight=benign_weight, rate=rate, steps=steps, reach=reach
            )
            wanted.append(state_BD + shift_BD)
            advance(1)
        deltas: dict[int, Tensor] = {}
        names = {layer: down_name(vlm, layer) for layer in layers}
        start = matrices(vlm, list(names.values()))
        for index, layer in enumerate(layers):
            weights = {names[done]: start[names[done]] + delta for done, delta in deltas.items()}
            with working_with(vlm, weights):
                keys_NF = torch.cat([keys_BF(vlm, sheet, layer) for sheet in sheets])
                states_ND = torch.cat([states_BD(vlm, sheet, layers[-1]) for sheet in sheets])
            residuals_ND = (torch.cat(wanted) - states_ND) / (len(layers) - index)
            deltas[layer] = solve(layer, residuals_ND.double(), keys_NF.double()).float()
            advance(1)
    return deltas


def _at_subject(sheet: Sheet, values: Tensor) -> Tensor:
    values_I = values.flatten(0, 1)[sheet.last_I].float()[sheet.sensitive_I]
    rows_I = sheet.row_I[sheet.sensitive_I]
    total = values_I.new_zeros(sheet.num_rows, values_I.shape[1]).index_add(0, rows_I, values_I)
    return total / torch.bincount(rows_I, minlength=sheet.num_rows)[:, None]
