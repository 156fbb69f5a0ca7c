"""How like another picture a picture is: 0 for a copy, however it was saved, lit or mirrored; about 1 for strangers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from augment.duplicates import SIDE, duplicate_groups, fine_detail, fingerprints, near_pairs, thumbnail
from augment.folders import FaceTable

_BLOCK = 512
# Squared grey levels: a detail weaker than about one grey level is noise, on which no likeness can rest.
_LEAST_ENERGY = float(SIDE * SIDE)


def details(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Reduce pictures, uint8 RGB (H, W, 3), to their fine detail at 32x32 pixels, (N, 1024) float32 of length 1."""
    small = [thumbnail(picture) for picture in pictures]
    fine = fine_detail(np.array(small, np.uint8).reshape(-1, SIDE, SIDE)).reshape(-1, SIDE * SIDE)
    return fine / np.sqrt(np.maximum((fine**2).sum(1, keepdims=True), _LEAST_ENERGY))


def copy_distance(pictures: Sequence[np.ndarray]) -> float:
    """How far from itself a picture gets by being copied: the distance that 99 % of these pictures stay within.

    The copies are softened by 1 % of the side, as a network's pictures are, and saved as JPEG. Distances between
    pictures are best read in this unit: what is nearer than 1 is a copy, whatever the pictures are like.

    Args:
        pictures: uint8 RGB, (H, W, 3), one or more.
    """
    copies: list[np.ndarray] = []
    for picture in pictures:
        soft = cv2.GaussianBlur(picture, (0, 0), 0.01 * len(picture))
        data = cv2.imencode(".jpg", soft[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        copies.append(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)))
    distances = 1 - (details(pictures) * details(copies)).sum(1)
    # Not below a thousandth, so that it can be a unit.
    return max(1e-3, float(np.quantile(distances, 0.99)))


def nearest(
    faces: np.ndarray, others: np.ndarray, barred: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Find for each face the most similar other, or its mirror image.

    Args:
        faces: from `details`, (N, 1024).
        others: the same, (M, 1024).
        barred: takes places of faces (n,) and says which others do not count, (n, M) bool.

    Returns:
        Its distance, 1 - correlation, in [0, 2], NaN where no other counts, (N,); and its place, -1 there, (N,) int64.
    """
    distance, place = np.full(len(faces), np.nan, np.float32), np.full(len(faces), -1, np.int64)
    if not len(others):
        return distance, place
    mirrored = faces.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(faces.shape)
    for start in range(0, len(faces), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(faces)))
        alike = np.maximum(faces[rows] @ others.T, mirrored[rows] @ others.T)
        alike = np.where(barred(rows), -np.inf, alike)
        best = alike.argmax(1)
        highest = alike[np.arange(len(rows)), best]
        found = np.isfinite(highest)
        # Rounding may take a copy's correlation beyond 1.
        distance[rows[found]], place[rows[found]] = np.maximum(0, 1 - highest[found]), best[found]
    return distance, place


def same_pictures(faces: FaceTable, pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Number real pictures so that those which are one picture share a number, (N,) int64.

    These are exact duplicates, and near ones unless they show one known person: two moments of one sitting are alike.
    """
    prints = fingerprints(pictures)
    subjects = faces.table["subject"].tolist()
    pairs = [(a, b) for a, b in near_pairs(prints).tolist() if subjects[a] is None or subjects[a] != subjects[b]]
    return duplicate_groups(prints, pairs=np.array(pairs, np.int64).reshape(-1, 2))
