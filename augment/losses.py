"""Loss terms that several systems share, as pure functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.networks import Opinion
from augment.ranks import drawn, least_count, mean_over_ranks

PatchJudge = Callable[[Tensor, Tensor], Opinion]
"""Samples (N, C, S, S) and their conditions (N, K) to an opinion, as `PatchCritic` gives it."""

AttributeLoss = Callable[[Tensor, Tensor], Tensor]
"""Logits (N, K) of what is read off samples and the conditions (N, K) that it should be, to a scalar."""


def critic_loss(real: Tensor, fake: Tensor, kind: str = "logistic") -> Tensor:
    """What an adversarial critic minimises.

    Args:
        real, fake: the critic's outputs, any shape.
        kind: `logistic` (Goodfellow et al. 2014) or `wasserstein` (Arjovsky et al. 2017).

    Returns:
        Scalar.
    """
    if kind == "logistic":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
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
    share = drawn(torch.rand, (len(real), *[1] * (real.ndim - 1)), device=real.device, dtype=real.dtype)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def count_of(counted: Tensor) -> Tensor:
    """How many samples count, `counted` (N,) being true, where sums are over samples: 1 or more.

    Of processes that share a batch, the mean of their counts, so that the mean of their quotients is the whole's.
    """
    return mean_over_ranks(counted.sum().float()).clamp_min(least_count())


def mean_of_counted(each: Tensor, counted: Tensor) -> Tensor:
    """Mean of the values (N,) whose `counted` (N,) is true, over the whole batch; 0 where none is."""
    return (each * counted).sum() / count_of(counted)


def soft_cross_entropy(logits: Tensor, condition: Tensor) -> Tensor:
    """Cross-entropy against conditions that may be blends.

    Args:
        logits: (N, K).
        condition: (N, K) in [0, 1]; each row is divided by its sum, and a row of zeros does not count.

    Returns:
        Scalar, mean over the samples that count; 0 when none does.
    """
    total = condition.sum(1, keepdim=True)
    wanted = condition / total.clamp_min(1e-6)
    return mean_of_counted(-(wanted * F.log_softmax(logits, 1)).sum(1), total[:, 0] > 0)


def intensity_divergence(logits: Tensor, condition: Tensor) -> Tensor:
    """How far the intensities that are read off samples are from the ones that they should be, entry by entry.

    The Kullback-Leibler divergence of two Bernoulli distributions: binary cross-entropy, less the part that no answer
    can take away, so that 0 is a perfect answer. Like `soft_cross_entropy` it pulls at a logit by the difference
    between answer and truth.

    Args:
        logits: (N, K); their sigmoid is the intensity.
        condition: (N, K) in [0, 1].

    Returns:
        Scalar, in nats, summed over entries and averaged over samples.
    """
    wanted = condition.float()
    cross = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none")
    return (cross + torch.xlogy(wanted, wanted) + torch.xlogy(1 - wanted, 1 - wanted)).sum(1).mean()


def attribute_loss(intensities: bool) -> AttributeLoss:
    """What an attribute head minimises: `intensity_divergence` for intensities, `soft_cross_entropy` for classes."""
    return intensity_divergence if intensities else soft_cross_entropy


def total_variation(field: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of (N, C, H, W)."""
    return (field[..., 1:, :] - field[..., :-1, :]).abs().mean() + (field[..., 1:] - field[..., :-1]).abs().mean()


def retouching(flow: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What retouching a face costs, beside what it looks like.

    Args:
        flow: (N, 2, S, S), see `networks.Retouched`.
        mask: (N, 1, S, S).

    Returns:
        `flow`, unevenness of the motion; `mask`, share of the face that is painted over; `mask_smoothness`, unevenness
        of that share. Scalars.
    """
    return {"flow": total_variation(flow), "mask": mask.mean(), "mask_smoothness": total_variation(mask)}


def over_patches(of: Callable[..., Tensor], fine_weight: float, *opinions: Opinion) -> Tensor:
    """A function of patches, of the large ones of opinions and, where all have judged any, of the smaller ones: summed.

    Args:
        of: takes as many tensors of patches (N, 1, s, s) as there are opinions.
        fine_weight: weight of the smaller patches.
    """
    total = of(*(opinion.patches for opinion in opinions))
    fine = [opinion.fine for opinion in opinions if opinion.fine is not None]
    return total + fine_weight * of(*fine) if len(fine) == len(opinions) else total


def mean_patch(patches: Tensor) -> Tensor:
    """Mean of the patches (N, 1, s, s) of each sample, (N,), in float32."""
    return patches.float().mean((1, 2, 3))


def patch_critic_loss(
    critic: PatchJudge,
    real: tuple[Tensor, Tensor],
    made: tuple[Tensor, Tensor],
    kind: str,
    fine_weight: float,
    wrong_conditions: bool = True,
    attribute_loss: AttributeLoss = soft_cross_entropy,
) -> tuple[Tensor, Tensor]:
    """What a patch critic minimises.

    Args:
        critic: judges samples as pictures of a condition.
        real: real samples and what they show.
        made: made samples and what they should show; the same conditions are the wrong ones for the real samples.
        kind: as in `critic_loss`.
        fine_weight: weight of the smaller patches, if the critic judges any.
        wrong_conditions: whether real samples under the wrong condition count as made: a conditional critic so learns
            what each condition looks like, and not only what is real.
        attribute_loss: of the attributes read off the real samples.

    Returns:
        The adversarial loss and the attribute loss; scalars.
    """
    own, theirs = critic(*real), critic(*made)
    patches = theirs.patches
    if wrong_conditions:
        patches = torch.cat([patches, critic(real[0], made[1]).patches])
    adversarial = over_patches(partial(critic_loss, kind=kind), fine_weight, own, theirs._replace(patches=patches))
    return adversarial, attribute_loss(own.attributes, real[1])


def patch_generator_loss(
    critic: PatchJudge,
    made: tuple[Tensor, Tensor],
    kind: str,
    fine_weight: float,
    attribute_loss: AttributeLoss = soft_cross_entropy,
) -> tuple[Tensor, Tensor]:
    """What a generator minimises against `patch_critic_loss`: adversarial loss, and attribute loss."""
    opinion = critic(*made)
    adversarial = over_patches(partial(generator_loss, kind=kind), fine_weight, opinion)
    return adversarial, attribute_loss(opinion.attributes, made[1])


def patch_r1_penalty(critic: PatchJudge, real: tuple[Tensor, Tensor], fine_weight: float) -> Tensor:
    """`r1_penalty` of a patch critic's mean over patches, large and small."""
    return r1_penalty(lambda samples: over_patches(mean_patch, fine_weight, critic(samples, real[1])), real[0])


def distances(one: Tensor, other: Tensor, side: int) -> Tensor:
    """`blurred_l1`, picture by picture: (N,)."""
    return (_means(one, side) - _means(other, side)).abs().mean((1, 2, 3))


ALIKE = 0.12
"""Most by which two pictures of a person may differ, of 2, over squares of 1/8 of the side, to be a pair: more than
those of a studio do, and less than with the head turned or in other light."""


def are_pairs(faces: Tensor, partners: Tensor, same_picture: Tensor) -> Tensor:
    """Say which faces and partners, (N, 3, S, S) each, make pairs to compare pixel by pixel, (N,) bool.

    A pair whose light, pose or background differ teaches these; and the same picture, (N,) bool, is no pair.
    """
    return (distances(faces, partners, faces.shape[-1] // 8) < ALIKE) & ~same_picture


def blurred_l1(one: Tensor, other: Tensor, side: int) -> Tensor:
    """Mean absolute difference of pictures (N, C, H, W) whose pixels are means over squares of a side, in pixels.

    Two pictures that a person was photographed for apart do not fit pixel by pixel; compared so, they ask for blur.
    """
    return distances(one, other, side).mean()


def _means(pictures: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(pictures, side, 1) if side > 1 else pictures


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of a diagonal normal distribution from the standard one (Kingma & Welling 2014, app. B).

    Args:
        mean, log_variance: (N, L) each.

    Returns:
        Scalar, in nats, summed over a code's entries and averaged over codes.
    """
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()


def half_squared_distance(one: Tensor, other: Tensor) -> Tensor:
    """Half the squared norm of the difference of samples (N, ...): (N,), as papers write it, a sum and no mean."""
    return 0.5 * (one.float() - other.float()).square().flatten(1).sum(1)
