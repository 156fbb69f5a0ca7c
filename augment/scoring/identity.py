"""Who is on a face: an embedding learned on some people, for ranking a made face among others' real ones.

Its descriptions hold the whole picture, hair and background too, which a made face keeps of its source and a stranger
does not have; and it learns without names too. Softness and light lower its cosines, but hardly their order, and the
filters' thresholds were measured with it. Where a cosine is read as it is (compare, the benchmarks of held-out people),
`augment.identity` is asked, which gives little for what is not the face; its docstring has figures of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_FACES = 4000
"""Faces that an embedding is learned from, at most; more change little and take long."""

_COMPONENTS = 150
_WITHIN = 0.5


@dataclass(frozen=True)
class WhitenedEmbedding:
    """Takes descriptions of faces, gives places on a sphere; made by `learn_identity`."""

    mean: np.ndarray
    """Mean description, (D,)."""
    deviation: np.ndarray
    """Its standard deviation, (D,)."""
    directions: np.ndarray
    """Whitened directions, (D, C)."""

    def __call__(self, descriptions: np.ndarray) -> np.ndarray:
        """Embed descriptions (N, D) as unit vectors (N, C) float32; their products are the cosines."""
        places = ((descriptions - self.mean) / self.deviation) @ self.directions
        return (places / np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def learn_identity(descriptions: np.ndarray, people: Sequence[str | None]) -> WhitenedEmbedding:
    """Learn in which directions people differ, and in which one person's pictures do.

    The principal components of the descriptions are whitened by a mixture, half and half, of the variation within
    people, so that an expression counts little, and of all variation. Where nobody shows twice, or nobody is named, the
    latter alone remains, and a changed expression counts like any other change.

    Args:
        descriptions: (N, D), from `describe`; N at least 2.
        people: who it is, (N,); None where unknown.

    Source: whitened cosine as in Deng et al., "Robust, accurate and efficient face recognition from a single training
    sample: A uniform pursuit approach", Pattern Recognition 2010; the covariance within classes as in Hatch et al.,
    "Within-class covariance normalization", Interspeech 2006.
    """
    if len(descriptions) > MOST_FACES:
        kept = np.sort(np.random.default_rng(0).permutation(len(descriptions))[:MOST_FACES])
        descriptions, people = descriptions[kept], [people[i] for i in kept]
    mean, deviation = descriptions.mean(0), descriptions.std(0) + 1e-3
    values = (descriptions - mean) / deviation
    # A third as many components as faces, at most: with more, the faces learned from all lie at right angles to each
    # other, and any new face looks alike to all of them by comparison.
    components = max(1, min(_COMPONENTS, len(values) // 3, values.shape[1]))
    from sklearn.decomposition import PCA

    analysis = PCA(components, svd_solver="full" if len(values) < values.shape[1] else "covariance_eigh").fit(values)
    total = np.diag(analysis.explained_variance_)
    covariance, within = total, _variation_within(analysis.transform(values), people)
    if within is not None and np.trace(within) > 0:
        covariance = _WITHIN * within * (np.trace(total) / np.trace(within)) + (1 - _WITHIN) * total
    # A thousandth of the mean variance: directions in which nothing varies must not be blown up.
    floor = max(1e-3 * np.trace(covariance) / components, 1e-12)
    variances, axes = np.linalg.eigh(covariance + floor * np.eye(components))
    return WhitenedEmbedding(mean, deviation, analysis.components_.T @ (axes / np.sqrt(variances)))


def _variation_within(places: np.ndarray, people: Sequence[str | None]) -> np.ndarray | None:
    """Covariance (C, C) of the pictures of one person about their mean; None where nobody shows twice."""
    members: dict[str, list[int]] = {}
    for i, person in enumerate(people):
        if person is not None:
            members.setdefault(person, []).append(i)
    several = [rows for rows in members.values() if len(rows) > 1]
    if not several:
        return None
    about = np.concatenate([places[rows] - places[rows].mean(0) for rows in several])
    return about.T @ about / (len(about) - len(several))
