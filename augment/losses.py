"""Loss terms that several systems share, as pure functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def critic_loss(real: Tensor, fake: Tensor, kind: str = "logistic") -> Tensor:
    """What an adversarial critic minimises.

    Args:
        real, fake: the critic's outputs, any shape.
        kind: `logistic` (Goodfellow et al. 2014), `hinge` (Lim & Ye 2017) or `wasserstein` (Arjovsky et al. 2017).

    Returns:
        Scalar.
    """
    if kind == "logistic":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return fake.mean() - real.mean()


def generator_loss(fake: Tensor, kind: str = "logistic") -> Tensor:
    """What a generator minimises against `critic_loss` of the same kind; the logistic one is non-saturating."""
    return F.softplus(-fake).mean() if kind == "logistic" else -fake.mean()


def r1_penalty(critic: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Half the squared norm of the critic's gradient at real samples (Mescheder et al. 2018, eq. 9).

    Args:
        critic: samples to outputs, one or more a sample.
        real: samples, (N, ...).

    Returns:
        Scalar, mean over samples.
    """
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(1).mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """WGAN-GP: squared distance of the gradient's norm from 1 between real and fake (Gulrajani et al. 2017, eq. 3).

    Args:
        critic: samples to outputs, one or more a sample.
        real, fake: samples, (N, ...) each.

    Returns:
        Scalar, mean over samples.
    """
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def soft_cross_entropy(logits: Tensor, condition: Tensor) -> Tensor:
    """Cross-entropy against conditions that may be blends.

    Args:
        logits: (N, K).
        condition: (N, K) in [0, 1]; each row is divided by its sum.

    Returns:
        Scalar, mean over samples.
    """
    wanted = condition / condition.sum(1, keepdim=True).clamp_min(1e-6)
    return -(wanted * F.log_softmax(logits, 1)).sum(1).mean()


def total_variation(field: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of (N, C, H, W)."""
    return (field[..., 1:, :] - field[..., :-1, :]).abs().mean() + (field[..., 1:] - field[..., :-1]).abs().mean()
