"""Expressions from blendshape scores: how far brows, lids and mouth have moved, and a linear model on top.

A second opinion that sees no pixels: it cannot fall for texture, light or a generator's fingerprints.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoaug import EmoaugError


@dataclass(frozen=True)
class GeometrySettings:
    """How the linear model on blendshapes is fitted."""

    penalty: float = 0.1
    """Weight of the squared norm of the coefficients, per training face; larger trusts single faces less."""
    class_balanced: bool = True
    """Weigh every class equally, instead of every face."""
    iterations: int = 1000
    """Most iterations of the solver (L-BFGS)."""


@dataclass(frozen=True)
class GeometryClassifier:
    """Blendshape scores in, probabilities out; made by `train_geometry`."""

    mean: NDArray[np.float64]
    """Mean of each score over the training faces, (D,)."""
    deviation: NDArray[np.float64]
    """Standard deviation of each score, (D,); 1 where a score never changes."""
    coefficients: NDArray[np.float64]
    """Weight of each standardised score for each class, (K, D)."""
    intercept: NDArray[np.float64]
    """Offset of each class, (K,); minus infinity for a class without training faces."""

    def __call__(self, blendshapes: ArrayLike) -> NDArray[np.float32]:
        """Probabilities (N, K), float32, rows sum to 1, of blendshape scores (N, D) in [0, 1].

        A missing score counts as the training mean, so a row without a face (all NaN) gets the class offsets alone.
        Use `has_face` to leave such rows out.
        """
        scores = np.asarray(blendshapes, dtype=np.float64)
        if scores.ndim != 2 or scores.shape[1] != len(self.mean):
            raise EmoaugError(f"blendshapes of shape {scores.shape}; (N, {len(self.mean)}) needed, as in training")
        values = np.where(np.isfinite(scores), (scores - self.mean) / self.deviation, 0.0)
        logits = values @ self.coefficients.T + self.intercept
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def has_face(blendshapes: ArrayLike) -> NDArray[np.bool_]:
    """Which rows of (N, D) scores belong to a face that was found: (N,), False where every score is NaN."""
    return np.isfinite(np.asarray(blendshapes, dtype=np.float64)).sum(axis=1) > 0


def train_geometry(
    blendshapes: ArrayLike, labels: ArrayLike, classes: int | None = None, settings: GeometrySettings | None = None
) -> GeometryClassifier:
    """Fit a logistic regression on standardised blendshape scores.

    Rows without a face (all NaN) are left out of the fit; a single missing score is replaced by the mean of the
    others. The fit is convex: it needs no seed.

    Args:
        blendshapes: scores in [0, 1], (N, D), D = 52 for ARKit's shapes; NaN where unknown.
        labels: integers in [0, classes), (N,).
        classes: number of expressions; None takes the largest label plus 1. A class without faces gets probability 0.
        settings: None takes the defaults.

    Raises:
        EmoaugError: when shapes or labels do not fit, or fewer than two classes have a face.
    """
    from sklearn.linear_model import LogisticRegression

    settings = GeometrySettings() if settings is None else settings
    scores, truth = np.asarray(blendshapes, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 2 or truth.shape != (len(scores),) or not np.issubdtype(truth.dtype, np.integer):
        raise EmoaugError(
            f"blendshapes {scores.shape} and labels {truth.shape} ({truth.dtype}) do not fit: (N, D) and integers (N,)"
        )
    if settings.penalty <= 0:
        raise EmoaugError(f"penalty is {settings.penalty}; it must be above 0, for example 0.1")
    found = has_face(scores)
    kept = np.unique(truth[found])
    if len(kept) < 2:
        raise EmoaugError(f"blendshapes of {len(kept)} expression(s) with a face found; at least 2 are needed")
    classes = int(truth.max()) + 1 if classes is None else classes
    if truth.min() < 0 or truth.max() >= classes:
        raise EmoaugError(f"labels run from {truth.min()} to {truth.max()}; with {classes} classes, 0 to {classes - 1}")
    scores, truth = np.where(np.isfinite(scores[found]), scores[found], np.nan), truth[found]
    known = np.isfinite(scores)
    mean = np.nansum(scores, axis=0) / np.maximum(known.sum(axis=0), 1)
    values = np.where(known, scores - mean, 0.0)
    deviation = values.std(axis=0)
    # Scores that never change carry nothing; a tiny deviation would blow up their rounding errors.
    deviation = np.where(deviation > 1e-8, deviation, 1.0)
    model = LogisticRegression(
        C=1 / (settings.penalty * len(truth)),
        class_weight="balanced" if settings.class_balanced else None,
        max_iter=settings.iterations,
    ).fit(values / deviation, truth)
    coefficients, intercept = np.zeros((classes, scores.shape[1])), np.full(classes, -np.inf)
    if len(kept) == 2:
        # scikit-learn keeps one row for two classes: the second against the first.
        coefficients[kept], intercept[kept] = (
            np.stack([-model.coef_[0], model.coef_[0]]) / 2,
            (np.array([-model.intercept_[0], model.intercept_[0]]) / 2),
        )
    else:
        coefficients[kept], intercept[kept] = model.coef_, model.intercept_
    return GeometryClassifier(mean, deviation, coefficients, intercept)
