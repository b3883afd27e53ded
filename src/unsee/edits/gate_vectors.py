"""Stages A and B of Neural Gate: a vector of one factor per dimension for each picture, and a gate for each category.

The vector multiplies the hidden state of some tokens, as published of the subject's last, so that the model refuses the
sensitive questions and still answers the benign ones; the gate lets through the dimensions that it turns around again
and again (published) or changes most (clean).
Shape letters: B pictures, L layers, D hidden width, V tokens that run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unsee.edits.pair_rows import Scope, Sheet
from unsee.edits.partial_forward import Above, decoder_layers
from unsee.forward.hooks import rewrite
from unsee.forward.losses import Scored
from unsee.models.vlm import VLM

Combine = Callable[[Tensor, Tensor], Tensor]
START, RATE, STEPS, PULL, ENOUGH = 2.0, 0.5, 25, 0.001, 0.05
"""The published numbers of stage A: start of u, learning rate, most steps, weight of |u - 2|, loss that ends it."""


class Steered:
    """One sheet whose hidden states at some tokens are combined with a vector per layer and picture.

    Args:
        vlm: the model.
        sheet: pictures and questions.
        layers: whose outputs are changed, lowest first.
        scope: the tokens at which they are.
        combine: (hidden (B, V, D), vector (B, 1, D)) -> hidden.
    """

    def __init__(
        self, vlm: VLM, sheet: Sheet, layers: Sequence[int], *, combine: Combine, scope: Scope = "subject_last"
    ) -> None:
        self.sheet, self.width = sheet, vlm.model.config.get_text_config().hidden_size
        self._combine = combine
        self._higher = [decoder_layers(vlm)[layer] for layer in layers[1:]]
        self._above = Above(vlm, sheet.batch, layers[0], None if scope == "every" else sheet.scopes[scope])
        self._at_BV = self._above.pick(sheet.scopes[scope])

    def score(self, vectors_BLD: Tensor) -> Scored:
        """Scores of all answers under these vectors."""
        higher = {
            module: lambda hidden, index=index: self._change(hidden, vectors_BLD[:, index])
            for index, module in enumerate(self._higher, start=1)
        }
        with rewrite(higher):
            return self._above(self._change(self._above.hidden_BVD, vectors_BLD[:, 0]))

    def _change(self, hidden_BVD: Tensor, vector_BD: Tensor) -> Tensor:
        changed_BVD = self._combine(hidden_BVD, vector_BD[:, None].to(hidden_BVD.dtype))
        return torch.where(self._at_BV[..., None], changed_BVD, hidden_BVD)


def published_vectors(steered: Steered, num_layers: int, *, benign_weight: float, epsilon: float) -> Tensor:
    """tanh(u) for each picture, (B, L, D), by the published procedure in half precision.

    Adam's `epsilon` is far above most gradients, so that it, the rate and the steps decide how many dimensions turn.
    A picture whose loss is small enough is not stepped any further.

    Source: arXiv:2603.12598, Eq. 2-5 and 8.
    """
    sheet = steered.sheet
    shape = (sheet.num_rows, num_layers, steered.width)
    u_BLD = torch.full(shape, START, dtype=torch.float16, device=sheet.row_I.device, requires_grad=True)
    optimiser = torch.optim.Adam([u_BLD], lr=RATE, eps=epsilon)
    for _ in range(STEPS):
        pull_B = (u_BLD.float() - START).abs().mean((1, 2))
        loss_B = sheet.loss_B(steered.score(u_BLD.float().tanh()), benign_weight) + PULL * pull_B
        done_B = loss_B.detach() < ENOUGH
        if done_B.all():
            break
        (u_BLD.grad,) = torch.autograd.grad(loss_B.sum(), u_BLD)
        before_BLD = u_BLD.detach().clone()
        optimiser.step()
        with torch.no_grad():
            u_BLD[done_B] = before_BLD[done_B]
    return u_BLD.detach().float().tanh()


def sparse_vectors(
    steered: Steered, num_layers: int, *, benign_weight: float, sparsity: float, rate: float, steps: int
) -> Tensor:
    """Factors m for each picture, (B, L, D), many of them exactly 1.

    Proximal Adam on the loss plus a penalty on |m - 1|. The penalty is a share of the steepest first gradient of each
    picture: at 1 no dimension would ever move, at 0 all do; whatever the size of the model.

    Args:
        sparsity: that share, 0 to 1.
        rate: the step of a dimension whose gradient keeps its sign.
    """
    sheet = steered.sheet
    ones_BLD = torch.ones(sheet.num_rows, num_layers, steered.width, device=sheet.row_I.device)
    m_BLD, first, second = ones_BLD.clone(), torch.zeros_like(ones_BLD), torch.zeros_like(ones_BLD)
    penalty_B = torch.zeros(sheet.num_rows, 1, 1, device=ones_BLD.device)
    for step in range(1, steps + 1):
        m_BLD.requires_grad_(True)
        loss_B = sheet.loss_B(steered.score(m_BLD), benign_weight)
        (gradient_BLD,) = torch.autograd.grad(loss_B.sum(), m_BLD)
        if step == 1:
            penalty_B = sparsity * gradient_BLD.abs().amax((1, 2), keepdim=True)
        first = 0.9 * first + 0.1 * gradient_BLD
        second = 0.999 * second + 0.001 * gradient_BLD.square()
        root = (second / (1 - 0.999**step)).sqrt()
        rate_BLD = rate / root.clamp(min=torch.finfo(root.dtype).tiny)
        moved_BLD = m_BLD.detach() - rate_BLD * first / (1 - 0.9**step) - 1
        m_BLD = 1 + moved_BLD.sign() * (moved_BLD.abs() - rate_BLD * penalty_B).clamp(min=0)
    return m_BLD


def flips(vectors_BLD: Tensor) -> Tensor:
    """Share of the pictures in which each dimension turns its sign, (L, D).

    Source: arXiv:2603.12598, Eq. 6.
    """
    return (vectors_BLD < 0).float().mean(0)


def changes(vectors_BLD: Tensor) -> Tensor:
    """How far each dimension's factor is from 1, mean over the pictures, (L, D)."""
    return (vectors_BLD - 1).abs().mean(0)


def gate_above(frequency_D: Tensor, threshold: float) -> Tensor:
    """The dimensions that turn in more than `threshold` of the pictures."""
    return frequency_D > threshold


def gate_of_share(strength_D: Tensor, share: float) -> Tensor:
    """The `share` of the dimensions that are changed most, at least one; never one that is not changed at all."""
    wanted = max(1, round(share * len(strength_D)))
    gate_D = torch.zeros_like(strength_D, dtype=torch.bool)
    gate_D[strength_D.topk(wanted).indices] = True
    return gate_D & (strength_D > 0)


def random_gate(gate_D: Tensor, seed: str) -> Tensor:
    """As many dimensions, drawn blindly; the same for the same seed."""
    drawn = random.Random(seed).sample(range(len(gate_D)), int(gate_D.sum()))
    random_D = torch.zeros_like(gate_D)
    random_D[drawn] = True
    return random_D


def scaled(hidden: Tensor, vector: Tensor) -> Tensor:
    """The combination of Neural Gate: a factor for each dimension."""
    return hidden * vector


def shifted(hidden: Tensor, vector: Tensor) -> Tensor:
    """The combination of ROME and MEMIT: an addend for each dimension."""
    return hidden + vector
