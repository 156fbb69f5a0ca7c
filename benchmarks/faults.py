"""Faults put into real faces, each as a generator might make it; draws come from the numpy generator that is given."""

from __future__ import annotations

import cv2
import numpy as np


def saved_again(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A little brighter or darker, with a little more or less contrast, and through JPEG: no pixel stays the same."""
    gain, offset = generator.uniform(0.92, 1.08), generator.uniform(-8, 8)
    changed = np.clip(np.rint(picture * gain + offset), 0, 255).astype(np.uint8)
    data = cv2.imencode(".jpg", changed[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)


def blurred(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Out of focus: a Gaussian of 2 to 3 % of the picture's side."""
    return cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.02, 0.03) * len(picture))


def colour_noise(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Noise of 6 to 12 grey levels, its own in every channel."""
    noise = generator.normal(0, generator.uniform(6, 12), picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def half_a_face(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One half (left, right, upper, lower) is black, or the mean colour, or smears the middle outwards."""
    turns, kind = generator.integers(4), generator.integers(3)
    turned = np.rot90(picture, turns).copy()
    half = turned.shape[1] // 2
    fill = (0, turned.mean((0, 1)), turned[:, half : half + 1])[kind]
    turned[:, :half] = np.broadcast_to(np.asarray(fill), turned[:, :half].shape)
    return np.ascontiguousarray(np.rot90(turned, -turns))
