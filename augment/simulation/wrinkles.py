"""Draw the folds that age leaves and expressions deepen, one map a group of folds."""

import functools
from dataclasses import dataclass

import numpy as np

from augment.simulation.canvas import blur, draw_strokes, noise
from augment.simulation.layout import Layout, smooth_step
from augment.simulation.people import Person
from augment.simulation.surface import WRINKLES

_STEPS = 13
"""Points of each drawn fold."""

_AGED = {
    "forehead": 0.55,
    "frown": 0.45,
    "crows_feet": 0.6,
    "under_eye": 0.65,
    "nose": 0.1,
    "smile": 0.6,
    "mouth_corner": 0.45,
    "chin": 0.25,
}
"""How deep each fold is at 80 years in a face at rest; under-eye and smile folds show in the young already."""


def age_lines(person: Person) -> np.ndarray:
    """Say how deep each fold is at rest, (len(WRINKLES),) in [0, 1]."""
    rng = np.random.default_rng([person.seed, 2])
    old = float(smooth_step(20, 85, np.array(person.age)))
    personal = np.exp(0.35 * rng.standard_normal(len(WRINKLES)) * person.irregularity)
    young = np.array([0.3 if name in ("smile", "under_eye") else 0.06 for name in WRINKLES])
    full = np.array([_AGED[name] for name in WRINKLES])
    return np.clip((young * full + (1 - young) * full * old) * personal, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class _Fold:
    """A line from start to end, cm on the skin, that leaves its chord by `bend` cm to the left."""

    group: str
    start: tuple[float, float]
    end: tuple[float, float]
    bend: float
    strength: float
    waves: float = 0.0
    """Amplitude of a wave along the line, cm."""


@functools.lru_cache(maxsize=8)
def _mean_folds(layout: Layout) -> tuple[_Fold, ...]:
    """Lay out the folds of an average face, both sides."""
    marks = layout.landmarks
    mean = (marks[[22, 45, 42, 46, 35, 54]] + marks[[21, 36, 39, 41, 31, 48]] * [-1, 1]) / 2
    (brow_x, brow_y), (out_x, out_y), (in_x, in_y), (low_x, low_y), (wing_x, wing_y), (lip_x, lip_y) = mean.tolist()
    brow, fold_y = float(marks[17:27, 1].mean()), 0.62 * float(marks[57, 1]) + 0.38 * float(marks[8, 1])
    left = [
        _Fold("frown", (brow_x - 0.45, brow_y - 0.9), (brow_x - 0.35, brow_y + 1.0), 0.08, 0.9),
        _Fold("crows_feet", (out_x + 0.55, out_y + 0.15), (out_x + 2.0, out_y + 0.95), -0.1, 0.6),
        _Fold("crows_feet", (out_x + 0.60, out_y - 0.15), (out_x + 2.3, out_y - 0.20), -0.1, 0.7),
        _Fold("crows_feet", (out_x + 0.50, out_y - 0.45), (out_x + 1.9, out_y - 1.35), 0.1, 0.6),
        _Fold("under_eye", (in_x + 0.05, in_y - 0.35), (low_x + 0.6, low_y - 0.75), 0.12, 0.75),
        _Fold("under_eye", (in_x + 0.25, in_y - 0.25), (out_x - 0.1, out_y - 0.5), -0.4, 0.45),
        _Fold("nose", (0.35, in_y - 0.3), (0.95, in_y - 1.4), -0.05, 0.7),
        _Fold("nose", (0.60, in_y - 0.2), (1.30, in_y - 1.1), -0.05, 0.55),
        _Fold("nose", (0.00, in_y + 0.55), (0.70, in_y + 0.5), -0.05, 0.5),
        _Fold("smile", (wing_x + 0.35, wing_y + 0.45), (lip_x + 0.85, lip_y - 0.35), 0.32, 1.0),
        _Fold("mouth_corner", (lip_x + 0.15, lip_y - 0.1), (lip_x + 0.45, lip_y - 2.0), 0.1, 0.75),
    ]
    right = [
        _Fold(fold.group, (-fold.start[0], fold.start[1]), (-fold.end[0], fold.end[1]), -fold.bend, fold.strength)
        for fold in left
    ]
    rows = zip((4.6, 4.3, 4.0, 3.6), (1.1, 1.9, 2.7, 3.5), strict=True)
    across = [_Fold("forehead", (-x, brow + y), (x, brow + y), 0.3, 0.75, 0.12) for x, y in rows]
    across.append(_Fold("chin", (-1.2, fold_y), (1.2, fold_y), 0.15, 0.8))
    return tuple(sorted(left + right + across, key=lambda fold: list(WRINKLES).index(fold.group)))


def paint_wrinkles(layout: Layout, person: Person) -> np.ndarray:
    """Draw every group of folds at full depth.

    Args:
        layout: the texture's.
        person: whose folds.

    Returns:
        (len(WRINKLES), R, R) float32 in [0, 1]; 1 is the bottom of a deep fold.
    """
    rng = np.random.default_rng([person.seed, 3])
    folds = _mean_folds(layout)
    lines, strengths = _personal_lines(folds, rng, person.irregularity)
    pixels = layout.pixels(lines)
    maps = np.zeros((len(WRINKLES), layout.side, layout.side), np.float32)
    scale = layout.side / 256
    margin = int(9 * scale) + 2
    groups = np.array([fold.group for fold in folds])
    for number, name in enumerate(WRINKLES):
        own = groups == name
        low = np.maximum(np.floor(pixels[own].min((0, 1))).astype(int) - margin, 0)
        high = np.ceil(pixels[own].max((0, 1))).astype(int) + margin
        canvas = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        placed, thickness = pixels[own] - low, max(round(scale), 1)
        # A fold is faint at its ends: the whole line first, then its middle over it.
        draw_strokes(canvas, placed, 130 * strengths[own], thickness)
        draw_strokes(canvas, placed[:, 2:-2], 255 * strengths[own], thickness)
        sharp = canvas.astype(np.float32)
        drawn = blur(sharp, 0.8 * scale) * (0.8 / 255) + blur(sharp, 2.6 * scale) * (1.3 / 255)
        target = maps[number, low[1] : high[1], low[0] : high[0]]
        target[:] = np.minimum(drawn, 1)[: target.shape[0], : target.shape[1]]
    _dimple_chin(maps[list(WRINKLES).index("chin")], layout, person, rng)
    return maps


def _dimple_chin(picture: np.ndarray, layout: Layout, person: Person, rng: np.random.Generator) -> None:
    """Give a tense chin the peel of an orange, in place."""
    scale = layout.side / 256
    peel = np.clip(noise(layout.side, 1.8 * scale, 1.8 * scale, rng), 0, 2) * person.irregularity
    middle = (layout.landmarks[57] + layout.landmarks[8]) / 2
    rows = slice(*np.rint(layout.pixels(np.array([[0, middle[1] + 2], [0, middle[1] - 2]]))[:, 1]).astype(int).tolist())
    picture[rows] = np.minimum(picture[rows] + 0.3 * (peel * layout.blob(0, middle[1], 1.1, 0.7))[rows], 1)


def _personal_lines(folds: tuple[_Fold, ...], rng: np.random.Generator, loose: float) -> tuple[np.ndarray, np.ndarray]:
    """Move the average folds to where one person has them; lines (S, `_STEPS`, 2) in cm, and strengths (S,)."""
    count, t = len(folds), np.linspace(0, 1, _STEPS)[:, None]
    drawn = loose * rng.standard_normal((8, count))
    starts = np.array([fold.start for fold in folds]) + 0.10 * drawn[0:2].T
    ends = np.array([fold.end for fold in folds]) + 0.18 * drawn[2:4].T
    bends = np.array([fold.bend for fold in folds]) + 0.06 * drawn[4]
    strengths = np.clip(np.array([fold.strength for fold in folds]) * np.exp(0.25 * drawn[5]), 0, 1)
    chord = ends - starts
    normal = np.stack([-chord[:, 1], chord[:, 0]], 1) / np.linalg.norm(chord, axis=1, keepdims=True)
    wave = np.array([fold.waves for fold in folds])[:, None, None] * (1 + drawn[6])[:, None, None]
    away = bends[:, None, None] * 4 * t * (1 - t) - wave * np.cos(4 * np.pi * t + drawn[7][:, None, None])
    return starts[:, None] + t * chord[:, None] + away * normal[:, None], strengths
