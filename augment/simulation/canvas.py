"""What painters of textures share: covering with colour, strokes, and noise."""

import functools
from collections.abc import Sequence

import cv2
import numpy as np

_FRACTION = 4
"""Binary digits after the point in OpenCV's drawing coordinates."""


def cover(albedo: np.ndarray, coverage: np.ndarray, colour: np.ndarray | Sequence[float]) -> None:
    """Lay a colour over a picture, in place.

    Args:
        albedo: linear RGB, (3, H, W).
        coverage: how opaque the colour is, (H, W) in [0, 1].
        colour: (3,), or a picture (3, H, W).
    """
    paint = np.asarray(colour, np.float32).reshape(3, *([1, 1] if np.ndim(colour) == 1 else coverage.shape))
    albedo += coverage * (paint - albedo)


def draw_strokes(canvas: np.ndarray, strokes: np.ndarray, strengths: np.ndarray, thickness: int = 1) -> None:
    """Draw anti-aliased lines, in place; where lines cross, the later one stays.

    Args:
        canvas: uint8, (H, W).
        strokes: (S, K, 2), S lines of K points (column, row) in pixels.
        strengths: grey value of each line, (S,) in [0, 255].
        thickness: pixels.
    """
    points = np.rint(strokes * (1 << _FRACTION)).astype(np.int32)
    for line, strength in zip(points, strengths.tolist(), strict=True):
        cv2.polylines(canvas, [line], False, strength, thickness, cv2.LINE_AA, _FRACTION)


def draw_dots(canvas: np.ndarray, centres: np.ndarray, radii: np.ndarray, strengths: np.ndarray) -> None:
    """Draw anti-aliased discs, in place.

    Args:
        canvas: uint8, (H, W).
        centres: (S, 2), column and row in pixels.
        radii: (S,), pixels.
        strengths: (S,) in [0, 255].
    """
    points = np.rint(centres * (1 << _FRACTION)).astype(int).tolist()
    sizes = np.rint(radii * (1 << _FRACTION)).astype(int).tolist()
    for centre, radius, strength in zip(points, sizes, strengths.tolist(), strict=True):
        cv2.circle(canvas, centre, radius, strength, -1, cv2.LINE_AA, _FRACTION)


def blur(picture: np.ndarray, across: float, down: float | None = None) -> np.ndarray:
    """Blur with a Gaussian whose standard deviations are in pixels."""
    return cv2.GaussianBlur(picture, (0, 0), across, sigmaY=across if down is None else down)


@functools.lru_cache(maxsize=32)
def _noise_bank(side: int, across: float, down: float) -> np.ndarray:
    """Make noise once: mean 0, variance 1, periodic, two periods each way, (2 side, 2 side)."""
    white = np.random.default_rng(20_230_501).standard_normal((side, side), np.float32)
    margin = int(4 * max(across, down)) + 1
    smooth = blur(np.pad(white, margin, mode="wrap"), across, down)[margin:-margin, margin:-margin]
    return np.tile((smooth - smooth.mean()) / smooth.std(), (2, 2))


def noise(side: int, across: float, down: float, rng: np.random.Generator) -> np.ndarray:
    """Give noise of a grain.

    One field is made for every size and grain, and each person looks at it from another place: shifted and mirrored.

    Args:
        side: R, texels.
        across: standard deviation of the grain along a row, texels.
        down: the same along a column; strands of hair are long in one direction.
        rng: the person's.

    Returns:
        Mean 0, variance 1, (R, R) float32.
    """
    bank = _noise_bank(side, across, down)
    rows, columns, flips = rng.integers(side), rng.integers(side), rng.integers(4)
    view = bank[rows : rows + side, columns : columns + side]
    return view[:: -1 if flips & 1 else 1, :: -1 if flips & 2 else 1]


def clouds(side: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Give smooth noise of about `cells` waves a side: mean 0, variance near 1, (side, side) float32."""
    coarse = rng.standard_normal((cells, cells), np.float32)
    return 1.4 * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
