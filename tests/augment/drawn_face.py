"""A face drawn with shaded ellipses: good enough for a face detector, and nobody's."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest


def draw_face(size: int = 256, smile: float = 0.0, skin: int = 190) -> np.ndarray:
    """Draw a face that fills most of a picture.

    Args:
        size: side of the picture, pixels.
        smile: how far the mouth corners are raised, 0 to 1.
        skin: red level of the skin, 0 to 255; tells one drawing from another.

    Returns:
        uint8 RGB, (size, size, 3).
    """
    s = 256
    picture = np.full((s, s, 3), (150, 165, 175), np.uint8)
    tone = (skin, int(skin * 0.78), int(skin * 0.66))
    dark = tuple(int(0.82 * level) for level in tone)

    def oval(x: float, y: float, width: float, height: float, colour: tuple[int, ...]) -> None:
        cv2.ellipse(picture, (round(x), round(y)), (round(width), round(height)), 0, 0, 360, colour, -1, cv2.LINE_AA)

    oval(128, 105, 84, 98, (60, 42, 35))  # hair
    cv2.rectangle(picture, (100, 200), (156, 255), dark, -1)  # neck
    oval(128, 130, 68, 90, tone)
    for side in (-1, 1):
        oval(128 + side * 30, 112, 19, 14, dark)  # sockets
        oval(128 + side * 30, 114, 13, 7, (245, 245, 245))
        oval(128 + side * 30, 114, 6, 6, (70, 50, 40))
        oval(128 + side * 30, 114, 3, 3, (10, 10, 10))
        cv2.ellipse(picture, (128 + side * 30, 104), (20, 9), 0, 200, 340, (60, 42, 35), 5, cv2.LINE_AA)  # brows
        oval(128 + side * 8, 151, 4, 2.5, (90, 55, 50))  # nostrils
    cv2.ellipse(picture, (128, 148), (15, 8), 0, 20, 160, dark, 3, cv2.LINE_AA)
    cv2.line(picture, (122, 112), (118, 142), dark, 2, cv2.LINE_AA)
    raised = round(16 * smile)
    curve = [(100, 184 - raised), (114, 184), (128, 186), (142, 184), (156, 184 - raised)]
    lips = np.array([*curve, (142, 192 + raised // 2), (128, 195 + raised // 2), (114, 192 + raised // 2)], np.int32)
    cv2.fillPoly(picture, [lips], (165, 70, 75), cv2.LINE_AA)
    cv2.polylines(picture, [np.array(curve, np.int32)], False, (110, 40, 45), 2, cv2.LINE_AA)
    picture = cv2.GaussianBlur(picture, (0, 0), 2)
    return picture if size == s else cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def model_path() -> Path:
    """Path of `face_landmarker.task`, from EMOAUG_MODELS or ../shared/models; skips the test without it."""
    folder = Path(os.environ.get("EMOAUG_MODELS", Path(__file__).parents[3] / "shared" / "models"))
    if not (folder / "face_landmarker.task").is_file():
        pytest.skip(f"{folder} has no face_landmarker.task; EMOAUG_MODELS can name a folder that has")
    return folder / "face_landmarker.task"
