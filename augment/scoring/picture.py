"""What one picture says of itself: sharpness, colour noise, whether all of it is there, and its description.

Pictures are uint8 RGB, (H, W, 3); compare scores of pictures of one size only.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from augment.pictures import fit

_DESCRIBED = 64
_COLOURS = 8
# Immerkær's mask: the difference of two Laplacians, blind to planes and edges.
_NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def sharpness(picture: np.ndarray) -> float:
    """Logarithm, to base 10, of the finest detail's contrast over that of detail twice to three times as wide.

    A ratio, so that neither exposure nor contrast changes it; blur lowers it, noise raises it. Around -0.4 for
    photographs scaled down to 64 pixels.
    """
    grey = _grey(picture)
    finer, wider = (cv2.GaussianBlur(grey, (0, 0), deviation) for deviation in (0.7, 2))
    # A hundredth of a grey level: a flat picture has a ratio too.
    return math.log10((float((grey - finer).std()) + 0.01) / (float((finer - wider).std()) + 0.01))


def colour_noise(picture: np.ndarray) -> float:
    """Standard deviation of what looks like noise in the colour alone (Cb and Cr), grey levels; 0 on grey pictures.

    Source: Immerkær, "Fast Noise Variance Estimation", CVIU 1996, eq. 4.
    """
    colour = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(np.float32)
    # The border repeats pixels, and would look calmer than the rest.
    noise = cv2.filter2D(colour, -1, _NOISE_MASK)[1:-1, 1:-1]
    return float(np.abs(noise).mean()) * math.sqrt(math.pi / 2) / 6


def evenness(picture: np.ndarray) -> float:
    """Smallest share of the fine structure that lies in one half (left, right, upper, lower), 0 to 0.5.

    Structure is what changes along both axes: a half that is one colour, or that smears the middle outwards, has none.
    """
    grey = _grey(picture)
    mixed = np.abs(grey[1:, 1:] - grey[:-1, 1:] - grey[1:, :-1] + grey[:-1, :-1])
    y, x = (side // 2 for side in mixed.shape)
    total = float(mixed.sum())
    halves = (mixed[:y], mixed[y:], mixed[:, :x], mixed[:, x:])
    return min(float(half.sum()) for half in halves) / total if total else 0.0


def describe(picture: np.ndarray) -> np.ndarray:
    """Edge directions by place, and coarse colours, (1956,) float32 in [0, 1]: a fixed description of an aligned face.

    Source: Dalal & Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005: cells of 8 pixels, 9
    directions, blocks of 2x2 cells, on 64x64 pixels; then the picture at 8x8 pixels.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    histograms = _HOG.compute(fit(grey, _DESCRIBED))
    return np.concatenate([np.ravel(histograms), fit(picture, _COLOURS).ravel() / np.float32(255)]).astype(np.float32)


_HOG = cv2.HOGDescriptor((_DESCRIBED, _DESCRIBED), (16, 16), (8, 8), (8, 8), 9)


def _grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
