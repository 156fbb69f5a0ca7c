"""How near a set of synthetic faces comes to a set of real ones: distance, precision, recall, density, coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emoaug import EmoaugError

FIGURES = ("kernel_distance", "precision", "recall", "density", "coverage")
"""What `compare_sets` gives."""

PRECISION_NEIGHBOURS = 3
"""Neighbours that decide how far a face's surroundings reach, for precision and recall; the source's."""
DENSITY_NEIGHBOURS = 5
"""The same for density and coverage; the source's."""


def kernel_distance(one: Tensor, other: Tensor) -> float:
    """Kernel distance between two sets of features: the unbiased squared maximum mean discrepancy of a cubic kernel.

    Args:
        one: features, (N, D), N at least 2.
        other: features, (M, D), M at least 2.

    Returns:
        The distance; 0 on average for two draws from one distribution, so it may come out a little below 0.

    Source: Bińkowski et al., "Demystifying MMD GANs", ICLR 2018 (KID), sec. 4, whose features are Inception's.
    """
    return _Kernels(one, other).distance(torch.ones(len(one)), torch.ones(len(other)))


class _Kernels:
    """Cubic kernels within and between two sets, from which the distance of any weighting of their faces follows."""

    def __init__(self, one: Tensor, other: Tensor) -> None:
        if min(len(one), len(other)) < 2:
            raise EmoaugError(f"{len(one)} and {len(other)} faces: a kernel distance needs 2 or more on each side")
        one, other = one.double(), other.double()
        self.own, self.others = (self._kernel(x, x).fill_diagonal_(0) for x in (one, other))
        self.between = self._kernel(one, other)

    @staticmethod
    def _kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def distance(self, one: Tensor, other: Tensor) -> float:
        """The distance of faces that count with weights (N,) and (M,), a face never compared with itself."""
        one, other = one.double(), other.double()

        def within(weights: Tensor, kernel: Tensor) -> Tensor:
            return weights @ kernel @ weights / (weights.sum() ** 2 - (weights**2).sum())

        between = one @ self.between @ other / (one.sum() * other.sum())
        return float(within(one, self.own) + within(other, self.others) - 2 * between)


@dataclass(frozen=True)
class Neighbourhoods:
    """What each face contributes to four figures, which are the means."""

    precision: Tensor
    """Whether a made face lies among the real ones, (N,) of 0 or 1."""
    recall: Tensor
    """Whether a real face lies among the made ones, (M,) of 0 or 1."""
    density: Tensor
    """In how many real faces' surroundings a made face lies, over `DENSITY_NEIGHBOURS`, (N,), 0 or more."""
    coverage: Tensor
    """Whether a made face lies in a real face's surroundings, (M,) of 0 or 1."""


def neighbourhoods(made: Tensor, real: Tensor) -> Neighbourhoods:
    """Say which faces lie in whose surroundings: within the distance of the k-th nearest other of the same set.

    Args:
        made: features, (N, D), N at least 6.
        real: features, (M, D), M at least 6.

    Source: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", NeurIPS 2019,
    eq. 1 and 2; Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020, eq. 3 and 4.
    """
    if min(len(made), len(real)) <= DENSITY_NEIGHBOURS:
        raise EmoaugError(
            f"{len(made)} and {len(real)} faces: precision to coverage need more than {DENSITY_NEIGHBOURS} on each side"
        )
    made, real = made.double(), real.double()

    def reach(features: Tensor, neighbours: int) -> Tensor:
        # The nearest of all is the face itself.
        return torch.cdist(features, features).kthvalue(neighbours + 1).values

    apart = torch.cdist(made, real)
    among_real = apart <= reach(real, PRECISION_NEIGHBOURS)
    among_made = apart <= reach(made, PRECISION_NEIGHBOURS)[:, None]
    near = (apart <= reach(real, DENSITY_NEIGHBOURS)).double()
    return Neighbourhoods(
        among_real.any(1).double(), among_made.any(0).double(), near.sum(1) / DENSITY_NEIGHBOURS, near.amax(0)
    )


def compare_sets(
    made: Tensor,
    real: Tensor,
    made_groups: Sequence[object] | None = None,
    real_groups: Sequence[object] | None = None,
    repeats: int = 200,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """All figures of two sets, and how much they vary when the faces are drawn again.

    The draws keep the surroundings as they are, since the same face twice would have none.

    Args:
        made: features, (N, D), N at least 6.
        real: features, (M, D), M at least 6.
        made_groups: who is on each made face, (N,); then people are drawn, not faces.
        real_groups: the same of the real faces, (M,).
        repeats: bootstrap draws.
        seed: of the draws.

    Returns:
        For each name of `FIGURES` the figure, then its value in every draw, (1 + repeats,).
    """
    kernels, near = _Kernels(made, real), neighbourhoods(made, real)
    generator = np.random.default_rng(seed)
    rows = []
    for draw in range(1 + repeats):
        one, other = (
            torch.ones(len(features)) if draw == 0 else _redraw(groups, len(features), generator)
            for features, groups in ((made, made_groups), (real, real_groups))
        )
        means = [
            float((weights * values).sum() / weights.sum())
            for weights, values in (
                (one, near.precision),
                (other, near.recall),
                (one, near.density),
                (other, near.coverage),
            )
        ]
        rows.append([kernels.distance(one, other), *means])
    return dict(zip(FIGURES, np.array(rows).T, strict=True))


def _redraw(groups: Sequence[object] | None, count: int, generator: np.random.Generator) -> Tensor:
    """How often each face comes, (count,), when as many groups as there are are drawn with replacement."""
    names = np.arange(count) if groups is None else np.unique([str(g) for g in groups], return_inverse=True)[1]
    total = int(names.max()) + 1
    # Two different ones at least: the distance of a set of one group to anything is not defined by it.
    while np.count_nonzero(times := np.bincount(generator.integers(total, size=total), minlength=total)) < min(
        2, total
    ):
        pass
    return torch.from_numpy(times[names]).double()
