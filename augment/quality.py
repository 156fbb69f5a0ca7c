"""How near synthetic faces come to real ones."""

from __future__ import annotations

from torch import Tensor

from emoaug import EmoaugError


def kernel_distance(one: Tensor, other: Tensor) -> float:
    """Kernel distance between two sets of features: the unbiased squared maximum mean discrepancy of a cubic kernel.

    Args:
        one: features, (N, D), N at least 2.
        other: features, (M, D), M at least 2.

    Returns:
        The distance; 0 on average for two draws from one distribution, so it may come out a little below 0.

    Source: Bińkowski et al., "Demystifying MMD GANs", ICLR 2018 (KID), sec. 4, whose features are Inception's.
    """
    if min(len(one), len(other)) < 2:
        raise EmoaugError(f"{len(one)} and {len(other)} faces: a kernel distance needs 2 or more on each side")
    one, other = one.double(), other.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def mean_of_others(a: Tensor) -> Tensor:
        similar = kernel(a, a)
        return (similar.sum() - similar.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(mean_of_others(one) + mean_of_others(other) - 2 * kernel(one, other).mean())
