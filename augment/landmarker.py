"""Finding a face in a picture of any size with MediaPipe: 478 landmarks, 52 blendshape scores, head pose."""

import atexit
import contextlib
import functools
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from augment.faces import EYES, PHILTRUM, align_matrix, align_picture, anchor_points
from augment.models import FACE_LANDMARKER, find_model

_LARGEST_SEARCHED = 1024
_SMALLEST_SEARCHED = 192
_MOST_FACES = 5


@dataclass(frozen=True)
class Detection:
    """The largest face that was found in a picture."""

    landmarks: np.ndarray
    """Mesh, (478, 3) float32: x, y in pixels of the picture, (0, 0) at its corner; z in pixels, smaller is nearer."""
    blendshapes: np.ndarray
    """Scores of the 52 movements that `FaceLandmarker.blendshape_names` names, (52,) float32 in [0, 1]."""
    pose: np.ndarray
    """Yaw, pitch, roll in degrees, (3,) float32; see `pose_of`."""
    faces: int
    """Number of faces found in the picture, at least 1."""


@dataclass(frozen=True)
class _Search:
    """One way of showing a picture to the detector."""

    border: float = 0.25
    """Width of the border on each side, as a share of the long side."""
    level: int = 0
    """Grey level of the border, 0 to 255."""
    contrast: bool = False
    """Even out the contrast first."""
    window: float = 1.0
    """Side of the square windows that are searched one by one, as a share of the long side; 1 is the whole picture."""


# The detector was trained on faces that fill a fifth to a half of a picture, and expects something around them: a black
# border a quarter as wide as the picture finds the most on tightly cropped faces (96.7 % of 1,200 web faces of 48 px)
# and every frontal face of half-body pictures.
_FIRST = _Search()
# Tried in this order with half the confidence when the first finds nothing; each finds faces that the others miss.
_RETRIES = (
    _Search(),
    _Search(border=0.0),
    _Search(level=128),
    _Search(border=0.1),
    _Search(contrast=True),
    _Search(border=0.5),
    _Search(level=255),
)
# Last, for faces that fill less than a fifth of the picture, with full confidence: many windows give chance many tries.
# In smaller pictures such a face has too few pixels, and what is found is wallpaper.
_WINDOWS = (_Search(border=0.1, window=0.6), _Search(border=0.1, window=0.3))
_SMALLEST_FOR_WINDOWS = 256
# How far eyes and philtrum may be from their places in the confirming search, as a share of the aligned picture's side.
_AGREEMENT = 0.12
# Pixels. Doubtful finds below it are ears, nostrils and open mouths, rarely a face that is worth learning from.
_SMALLEST_FACE = 24


class FaceLandmarker:
    """Finds the largest face in a picture. Threads may share one, but MediaPipe does their calls one after another."""

    def __init__(self, model: Path | None = None) -> None:
        """Load the model.

        Args:
            model: path of `face_landmarker.task`; by default it is looked for as `augment.models.find_model` says.

        Raises:
            EmoaugError: there is no such file, or it is not the pinned one.
        """
        self._model = find_model(FACE_LANDMARKER, model)
        self._strict = _load(self._model, 0.5)
        self._lenient: Any = None

    @property
    def blendshape_names(self) -> tuple[str, ...]:
        """ARKit's names of the 52 scores, in order; the first, `_neutral`, is not a movement."""
        from mediapipe.tasks.python.vision.face_landmarker import Blendshapes

        return tuple("_neutral" if shape.value == 0 else _camel_case(shape.name) for shape in Blendshapes)

    def detect(self, picture: np.ndarray) -> Detection | None:
        """Find the largest face.

        Args:
            picture: uint8 RGB, (H, W, 3), any size.

        Returns:
            The face, or None if there is none.
        """
        found = _search(self._strict, picture, _FIRST)
        if found is not None and _looks_sure(found, picture):
            return found
        if found is not None and (sure := self._confirm(picture, found)) is not None:
            return sure
        if self._lenient is None:
            self._lenient = _load(self._model, 0.25)
        retries = [(self._lenient, search) for search in _RETRIES]
        if max(picture.shape[:2]) >= _SMALLEST_FOR_WINDOWS:
            retries += [(self._strict, search) for search in _WINDOWS]
        for landmarker, search in retries:
            doubtful = _search(landmarker, picture, search)
            if doubtful is not None and (sure := self._confirm(picture, doubtful)) is not None:
                return sure
        return None

    def _confirm(self, picture: np.ndarray, doubtful: Detection) -> Detection | None:
        """Look again at a doubtful find, cut out and then upright, with full confidence each time.

        A chance pattern is not found three times; a face is, and when upright it is where alignment meant to put it.
        """
        low, high = doubtful.landmarks[:, :2].min(0), doubtful.landmarks[:, :2].max(0)
        if (high - low).max() < _SMALLEST_FACE:
            return None
        side = max(8, math.ceil(1.5 * float((high - low).max())))
        x, y = np.rint((low + high - side) / 2).astype(int)
        margin = [max(0, -y), max(0, y + side - picture.shape[0]), max(0, -x), max(0, x + side - picture.shape[1])]
        if max(margin) >= side:
            return None
        around = cv2.copyMakeBorder(picture, margin[0], margin[1], margin[2], margin[3], cv2.BORDER_CONSTANT)
        top, left = y + margin[0], x + margin[2]
        again = _search(self._strict, around[top : top + side, left : left + side], _FIRST)
        if again is None:
            return None
        landmarks = again.landmarks + np.array([x, y, 0], np.float32)
        upright = align_picture(picture, align_matrix(landmarks, _SMALLEST_SEARCHED), _SMALLEST_SEARCHED)
        aligned = _search(self._strict, upright, _FIRST)
        if aligned is None:
            return None
        apart = anchor_points(aligned.landmarks) / _SMALLEST_SEARCHED - [*EYES, PHILTRUM]
        if np.linalg.norm(apart, axis=1).max() > _AGREEMENT:
            return None
        return Detection(landmarks, again.blendshapes, again.pose, doubtful.faces)


def _looks_sure(found: Detection, picture: np.ndarray) -> bool:
    """Say whether a find needs no second look: chance finds are nearly all small or far from upright."""
    extent = float(np.ptp(found.landmarks[:, :2], axis=0).max())
    return extent > 0.25 * max(picture.shape[:2]) and abs(float(found.pose[2])) < 40


def pose_of(transformation: np.ndarray) -> np.ndarray:
    """Read the head's pose from MediaPipe's facial transformation matrix.

    The matrix turns a face that looks along +z, with x to the right of the picture and y up, and is read as roll about
    z, then pitch about x, then yaw about y.

    Args:
        transformation: (4, 4).

    Returns:
        (3,) float32, degrees: yaw, positive when the nose points to the right of the picture; pitch, positive when it
        points up; roll, positive when the head is turned counter-clockwise in the picture.
    """
    # The nearest rotation: the matrix has the face's scale in it.
    left, _, right = np.linalg.svd(np.asarray(transformation, np.float64)[:3, :3])
    rotation = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    yaw = math.atan2(rotation[0, 2], rotation[2, 2])
    pitch = math.asin(np.clip(rotation[1, 2], -1, 1))
    roll = math.atan2(rotation[1, 0], rotation[1, 1])
    return np.degrees([yaw, pitch, roll]).astype(np.float32)


def _search(landmarker: Any, picture: np.ndarray, search: _Search) -> Detection | None:
    """Show a picture, or windows of it, to MediaPipe and take the largest face; its points are in the picture's."""
    if search.contrast:
        picture = _even_contrast(picture)
    found: list[tuple[float, Detection]] = []
    for x, y, window in _windows(picture, search.window):
        height, width = window.shape[:2]
        long = max(height, width)
        scale = min(max(long, _SMALLEST_SEARCHED), _LARGEST_SEARCHED) / long
        border = round(search.border * long * scale)
        shown = window
        if scale != 1:
            to = (max(1, round(width * scale)), max(1, round(height * scale)))
            shown = cv2.resize(window, to, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
        inner = np.array([shown.shape[1], shown.shape[0]])
        shown = cv2.copyMakeBorder(
            shown, border, border, border, border, cv2.BORDER_CONSTANT, value=(search.level, search.level, search.level)
        )
        result = landmarker.detect(_image(shown))
        for mesh, scores, matrix in zip(
            result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes, strict=True
        ):
            points = np.array([(point.x, point.y, point.z) for point in mesh])
            points[:, :2] = (points[:, :2] * [shown.shape[1], shown.shape[0]] - border) * [width, height] / inner
            points[:, 2] *= shown.shape[1] / scale
            middle = (points[:, :2].min(0) + points[:, :2].max(0)) / 2
            if not ((middle >= 0) & (middle <= [width, height])).all():
                continue
            extent = float(np.ptp(points[:, :2], axis=0).max())
            points[:, :2] += [x, y]
            values = np.array([score.score for score in scores], np.float32)
            found.append((extent, Detection(points.astype(np.float32), values, pose_of(matrix), 1)))
    if not found:
        return None
    largest = max(found, key=lambda pair: pair[0])[1]
    # Overlapping windows show a face several times; faces are counted in whole pictures only.
    faces = len(found) if search.window == 1 else 1
    return Detection(largest.landmarks, largest.blendshapes, largest.pose, faces)


def _windows(picture: np.ndarray, share: float) -> Iterator[tuple[int, int, np.ndarray]]:
    """Give left, top and content of square windows that cover the picture, each overlapping the next by half."""
    height, width = picture.shape[:2]
    if share == 1:
        yield 0, 0, picture
        return
    side = round(share * max(height, width))
    for y in _starts(height, side):
        for x in _starts(width, side):
            yield x, y, picture[y : y + side, x : x + side]


def _starts(length: int, side: int) -> list[int]:
    """First pixels of windows of `side` that cover `length` evenly, overlapping by half or more."""
    count = max(1, math.ceil(2 * (length - side) / side) + 1)
    return [round(start) for start in np.linspace(0, max(0, length - side), count)]


def _even_contrast(picture: np.ndarray) -> np.ndarray:
    """Equalise the lightness within tiles (CLAHE)."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(4, 4)).apply(lab[..., 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


# Kept for the life of the process, and not closed at its end: MediaPipe's landmarkers close themselves in __del__ by
# waiting for a thread of theirs, which never answers when the garbage collector happens to run within an import, and
# fails when the interpreter is ending. Its calls are serialised, so sharing them is safe.
@functools.cache
def _load(model: Path, confidence: float) -> Any:
    """Make MediaPipe's landmarker for single pictures, once a process."""
    # Imported here: it takes half a second, and most users of this package never search for a face.
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
        num_faces=_MOST_FACES,
        min_face_detection_confidence=confidence,
        min_face_presence_confidence=confidence,
    )
    with _quiet():
        landmarker = vision.FaceLandmarker.create_from_options(options)
        landmarker.detect(_image(np.zeros((64, 64, 3), np.uint8)))  # the graph starts, and logs, with the first picture
    atexit.register(setattr, landmarker, "_handle", None)
    return landmarker


def _image(picture: np.ndarray) -> Any:
    """Wrap a uint8 RGB picture for MediaPipe."""
    from mediapipe import Image, ImageFormat

    return Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(picture))


def _camel_case(name: str) -> str:
    """Turn BROW_DOWN_LEFT into browDownLeft."""
    first, *rest = name.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what native code writes to stderr nowhere: MediaPipe logs its start-up there whatever its log level is."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
