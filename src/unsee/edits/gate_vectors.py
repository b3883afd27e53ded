"""The vectors of Neural Gate: one factor per dimension for each picture, learned so that the model refuses.

A vector multiplies hidden states at some tokens. Under it the model refuses the sensitive questions about the picture
and still answers the benign ones. Gates are cut from the vectors of a category (`gates.py`).
Shape letters: B pictures, L layers, D hidden width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unsee.edits.steering import Steered

START, RATE, STEPS, PULL, ENOUGH = 2.0, 0.5, 25, 0.001, 0.05
"""The published numbers: start of u, learning rate, most steps, weight of |u - 2|, loss at which a picture is done."""


def published_vectors(steered: Steered, *, benign_weight: float, epsilon: float) -> Tensor:
    """Learn tanh(u) for each picture, (B, L, D), by the published procedure in half precision.

    Adam's `epsilon` is far above most gradients, so that epsilon, rate and steps decide how many factors become
    negative. A picture whose loss is small enough is not stepped any further.

    Source: arXiv:2603.12598, Eq. 2-5 and 8.
    """
    rows = steered.rows
    u_BLD = torch.full(steered.shape_BLD, START, dtype=torch.float16, device=rows.row_I.device, requires_grad=True)
    optimiser = torch.optim.Adam([u_BLD], lr=RATE, eps=epsilon)
    for _ in range(STEPS):
        pull_B = (u_BLD.float() - START).abs().mean((1, 2))
        loss_B = rows.loss_B(steered.score(u_BLD.float().tanh()), benign_weight) + PULL * pull_B
        done_B = loss_B.detach() < ENOUGH
        if done_B.all():
            break
        (u_BLD.grad,) = torch.autograd.grad(loss_B.sum(), u_BLD)
        before_BLD = u_BLD.detach().clone()
        optimiser.step()
        with torch.no_grad():
            u_BLD[done_B] = before_BLD[done_B]
    return u_BLD.detach().float().tanh()


def sparse_vectors(steered: Steered, *, benign_weight: float, sparsity: float, rate: float, steps: int) -> Tensor:
    """Learn factors m for each picture, (B, L, D), many of them exactly 1.

    Proximal Adam on the loss plus a penalty on |m - 1|. The penalty is a share of the steepest first gradient of each
    picture, whatever the size of the model: at 1 no factor ever moves, at 0 all do.

    Args:
        sparsity: that share, 0 to 1.
        rate: the step of a factor whose gradient keeps its sign.
    """
    rows = steered.rows
    ones_BLD = torch.ones(steered.shape_BLD, device=rows.row_I.device)
    m_BLD, first, second = ones_BLD.clone(), torch.zeros_like(ones_BLD), torch.zeros_like(ones_BLD)
    penalty_B = torch.zeros(rows.num_rows, 1, 1, device=ones_BLD.device)
    for step in range(1, steps + 1):
        m_BLD.requires_grad_(True)
        loss_B = rows.loss_B(steered.score(m_BLD), benign_weight)
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


def flip_share(vectors_BLD: Tensor) -> Tensor:
    """Compute the share of the pictures in which the factor of each dimension is negative, (L, D).

    Source: arXiv:2603.12598, Eq. 6.
    """
    return (vectors_BLD < 0).float().mean(0)


def mean_change(vectors_BLD: Tensor) -> Tensor:
    """Compute the distance of each dimension's factor from 1, mean over the pictures, (L, D)."""
    return (vectors_BLD - 1).abs().mean(0)
