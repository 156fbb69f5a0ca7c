"""Whether a face moved as it was asked to: MediaPipe's scores before and after, against real faces of both classes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from augment.action_units import BLENDSHAPE_NAMES
from augment.landmarker import FaceLandmarker

UPPER = np.array([name.startswith(("brow", "eye")) for name in BLENDSHAPE_NAMES])
"""Which scores are of brows and eyes, (52,) bool."""
LOWER = np.array([name.startswith(("cheek", "jaw", "mouth", "nose")) for name in BLENDSHAPE_NAMES])
"""Which scores are of the face below them, (52,) bool."""


def measure_blendshapes(landmarker: FaceLandmarker, pictures: Iterable[np.ndarray]) -> np.ndarray:
    """MediaPipe's scores of pictures, uint8 RGB (H, W, 3): (N, 52) in [0, 1], in its order; NaN where no face is."""
    none = np.full(len(BLENDSHAPE_NAMES), np.nan, np.float32)
    rows = [none if found is None else found.blendshapes for found in map(landmarker.detect, pictures)]
    return np.array(rows, dtype=np.float32).reshape(-1, len(BLENDSHAPE_NAMES))


def typical_blendshapes(blendshapes: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Mean scores of each class, (K, 52), of faces (N, 52) with labels (N,); NaN for a class without a face found."""
    means = np.full((classes, blendshapes.shape[1]), np.nan)
    found = np.isfinite(blendshapes).all(1)
    for label in range(classes):
        rows = found & (labels == label)
        if rows.any():
            means[label] = blendshapes[rows].mean(0)
    return means


def movements(before: np.ndarray, after: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """How much of the movement that was asked for happened: its share of the asked direction.

    Args:
        before: scores of the sources, (N, 52).
        after: scores of the results, (N, 52).
        asked: what should change, (N, 52): the difference of two classes' typical scores, times the strength.

    Returns:
        (N, 3): the whole face, and what brows and eyes, and what the rest, add to that. The whole is 1 where a face
        moved as the classes' means do, 0 where nothing moved, below 0 where it moved the other way; NaN where a face
        was not found or nothing was asked.
    """
    products = (after - before) * asked
    sums = np.stack([products[:, 1:].sum(1), products[:, UPPER].sum(1), products[:, LOWER].sum(1)], axis=1)
    size = (asked[:, 1:] ** 2).sum(1, keepdims=True)
    return np.divide(sums, size, out=np.full(sums.shape, np.nan), where=size > 1e-6)
