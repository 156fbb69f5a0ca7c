"""Faces in one common frame: where the eyes and the mouth go, and what was measured on each face.

Points in a picture are in pixels with (0, 0) at the outer corner of the first pixel, so its centre is at (0.5, 0.5) and
a picture of width W spans 0 to W. Landmark numbers are those of MediaPipe's 478-point mesh.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from augment.pictures import write_bytes
from emoaug import EmoaugError

MEASURES_FILE = "faces.npz"
"""Name of the file with the measures of a folder's faces."""

LANDMARKS = 478
BLENDSHAPES = 52

_SHAPES = {"landmarks": (LANDMARKS, 3), "blendshapes": (BLENDSHAPES,), "pose": (3,)}

# Eye corners, not eyelids or irises: a blink, a squint or a look aside does not move them.
_LEFT_EYE, _RIGHT_EYE = (33, 133), (362, 263)
# The philtrum, between the base of the nose and the upper lip. It stands for the mouth because the mouth itself is what
# an expression moves: on pairs of neutral and smiling portraits its distance from the eyes shrinks by 1 % (over eye
# distance), the upper and lower edge of the upper lip by 2 and 3 %, the mouth corners by 7 %; an open jaw leaves it in
# place, so the same face gets the same size whatever it expresses.
_PHILTRUM = (2, 0)

EYES = ((0.34, 0.365), (0.66, 0.365))
"""Where the centres of the eyes go, as seen from left to right; x and y as shares of the aligned picture's side."""
PHILTRUM = (0.5, 0.633)
"""Where the philtrum goes; the mouth of a calm, average face is then at y = 0.71 and its chin at 0.95."""
_ALIGNED_WITHIN = 0.05
"""Share of the picture's side by which an aligned face is off these places at most."""


def anchor_points(landmarks: np.ndarray) -> np.ndarray:
    """Reduce face meshes to the three points that alignment holds fast.

    Args:
        landmarks: one mesh or more, (..., 478, 2 or 3), pixels or any other unit.

    Returns:
        x, y of the left eye, the right eye (as seen in the picture) and the philtrum, (..., 3, 2) float64, in the same
        unit.
    """
    points = np.asarray(landmarks, np.float64)[..., :2]
    return np.stack([points[..., list(part), :].mean(-2) for part in (_LEFT_EYE, _RIGHT_EYE, _PHILTRUM)], -2)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit the rotation, uniform scale and shift that best maps points on points; never a reflection.

    Args:
        source: points, (P, 2).
        target: where they should go, (P, 2).

    Returns:
        Matrix of the map x -> M[:, :2] x + M[:, 2], (2, 3) float64.

    Raises:
        ValueError: all source points coincide.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991. In
    the plane, with points as complex numbers, it is the linear regression target = a * source + b.
    """
    z = np.asarray(source, np.float64) @ [1, 1j]
    w = np.asarray(target, np.float64) @ [1, 1j]
    spread = (np.abs(z - z.mean()) ** 2).sum()
    if not spread > 0:
        raise ValueError("the source points coincide; a similarity needs two different points")
    a = (np.conj(z - z.mean()) * (w - w.mean())).sum() / spread
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align_matrix(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Find the similarity that puts a face upright, with its eyes and philtrum in the common places.

    Args:
        landmarks: the mesh, (478, 2 or 3), pixels of the source picture.
        size: side of the aligned picture, pixels.

    Returns:
        Matrix from source pixels to aligned pixels, (2, 3) float64.
    """
    return similarity(anchor_points(landmarks), np.array([*EYES, PHILTRUM]) * size)


def centre_matrix(height: int, width: int, size: int) -> np.ndarray:
    """Give the matrix, (2, 3) float64, that fits a whole (height, width) picture, centred, into a square of `size`."""
    scale = size / max(height, width)
    return np.array([[scale, 0, (size - scale * width) / 2], [0, scale, (size - scale * height) / 2]])


def align_picture(picture: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Draw a picture in the aligned frame, without aliasing; what lies outside of it is its mirror image, blurred.

    Args:
        picture: uint8 RGB, (H, W, 3).
        matrix: similarity from source pixels to aligned pixels, (2, 3).
        size: side of the aligned picture, pixels.

    Returns:
        uint8 RGB, (size, size, 3).

    Raises:
        EmoaugError: a side is longer than the 32,766 px that OpenCV can warp.
    """
    if max(picture.shape[:2]) > 32_766:
        raise EmoaugError(f"the picture has a side of {max(picture.shape[:2]):,} pixels; at most 32,766 can be aligned")
    # OpenCV's warp samples points, which aliases when it shrinks: draw at no less than the source's resolution, then
    # average whole blocks of pixels.
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    blocks = max(1, math.ceil(1 / scale - 1e-9))
    fine = np.asarray(matrix, np.float64) * blocks
    # OpenCV counts from pixel centres: its x is ours minus a half, on both sides.
    fine[:, 2] += fine[:, :2] @ [0.5, 0.5] - 0.5
    side = size * blocks
    drawn = cv2.warpAffine(picture, fine, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    if blocks > 1:
        drawn = cv2.resize(drawn, (size, size), interpolation=cv2.INTER_AREA)
    return _blur_outside(drawn, picture.shape[0], picture.shape[1], matrix)


def _blur_outside(aligned: np.ndarray, height: int, width: int, matrix: np.ndarray) -> np.ndarray:
    """Blur what does not come from the source, more with the distance from it: a mirrored eye must not look like one.

    Args:
        aligned: uint8 RGB, (size, size, 3).
        height: of the source picture, pixels.
        width: of the source picture, pixels.
        matrix: similarity from source pixels to aligned pixels, (2, 3).
    """
    size = len(aligned)
    turn, shift = matrix[:, :2], matrix[:, 2]
    scale2 = np.linalg.det(turn)
    centres = np.arange(size) + 0.5
    grid = np.stack(np.meshgrid(centres, centres), -1)
    source = (grid - shift) @ turn / scale2  # a similarity's inverse is its transpose over its scale squared
    beyond = np.maximum(np.maximum(-source, source - [width, height]), 0)
    distance = np.hypot(beyond[..., 0], beyond[..., 1]) * math.sqrt(scale2)
    if not distance.any():
        return aligned
    blurred = cv2.GaussianBlur(aligned, (0, 0), size / 16, borderType=cv2.BORDER_REPLICATE)
    weight = np.clip(distance / (size / 16), 0, 1)[..., None]
    return np.rint(aligned * (1 - weight) + blurred * weight).astype(np.uint8)


def transform_landmarks(landmarks: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Move a face mesh from the source picture to the aligned one.

    Args:
        landmarks: x, y and, if there is one, z of each point, (P, 2 or 3), pixels of the source picture.
        matrix: similarity from source pixels to aligned pixels, (2, 3).
        size: side of the aligned picture, pixels.

    Returns:
        The same points, float32: x and y with the aligned picture's edges at -1 and 1, z in the same scale.
    """
    points = np.array(landmarks, np.float64)
    points[:, :2] = (points[:, :2] @ matrix[:, :2].T + matrix[:, 2]) * (2 / size) - 1
    points[:, 2:] *= math.sqrt(abs(np.linalg.det(matrix[:, :2]))) * 2 / size
    return points.astype(np.float32)


@dataclass(frozen=True)
class FaceMeasures:
    """What was measured on each face of a folder; a row of NaN is a picture in which no face was found."""

    landmarks: np.ndarray
    """Mesh, (N, 478, 3) float32: x, y with the aligned picture's edges at -1 and 1, z in the same scale."""
    blendshapes: np.ndarray
    """Scores of the facial movements, (N, 52) float32 in [0, 1]."""
    blendshape_names: np.ndarray
    """ARKit's names of the movements, (52,) str."""
    pose: np.ndarray
    """Yaw, pitch, roll of the head in the source picture, (N, 3) float32, degrees."""

    def __len__(self) -> int:
        return len(self.landmarks)


def write_measures(folder: Path, file_names: Sequence[str], measures: FaceMeasures) -> None:
    """Write `faces.npz` beside the classes of a dataset folder, atomically.

    Args:
        folder: the dataset folder.
        file_names: file name of each row, as in `metadata.csv`.
        measures: as many rows.
    """
    if len(file_names) != len(measures):
        raise ValueError(f"{len(file_names)} file names for {len(measures)} rows of measures")
    buffer = io.BytesIO()
    np.savez(
        buffer,
        file_name=np.array(list(file_names), dtype=np.str_),
        landmarks=measures.landmarks.astype(np.float32),
        blendshapes=measures.blendshapes.astype(np.float32),
        blendshape_names=measures.blendshape_names.astype(np.str_),
        pose=measures.pose.astype(np.float32),
    )
    write_bytes(folder / MEASURES_FILE, buffer.getvalue())


def read_measures(folder: Path, file_names: Sequence[str]) -> FaceMeasures | None:
    """Read the measures of some faces of a dataset folder.

    Args:
        folder: the dataset folder.
        file_names: the faces wanted, named as in `metadata.csv`.

    Returns:
        One row a file name, in the order asked, NaN where the folder has no measures of it; None without `faces.npz`.

    Raises:
        EmoaugError: `faces.npz` is damaged.
    """
    path = Path(folder) / MEASURES_FILE
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            count = len(stored["file_name"])
            for name, shape in _SHAPES.items():
                if stored[name].shape != (count, *shape) or stored[name].dtype.kind != "f":
                    raise ValueError(f"{name} is {stored[name].dtype} {stored[name].shape} for {count} file names")
            if stored["blendshape_names"].shape != (BLENDSHAPES,):
                raise ValueError(f"{stored['blendshape_names'].size} names of {BLENDSHAPES} blendshapes")
            place = {str(name): row for row, name in enumerate(stored["file_name"])}
            rows = np.array([place.get(str(name), -1) for name in file_names], dtype=np.int64)
            landmarks, blendshapes, pose = (_rows(stored[name], rows) for name in ("landmarks", "blendshapes", "pose"))
            return FaceMeasures(landmarks, blendshapes, stored["blendshape_names"], pose)
    except Exception as error:  # damaged archives raise anything from zlib.error to MemoryError
        raise EmoaugError(f"{path}: not readable as face measures ({error}). Delete it, or align again.") from error


def lie_aligned(landmarks: np.ndarray) -> bool:
    """Whether faces lie where `emoaug align` puts them, by their eyes and philtrum.

    They do when half of all faces are off by at most 0.05 of the picture's side, on average over the three points.
    Aligned photographs are off by 0.01 (posed) to 0.04 (with half profiles, which no similarity puts in place).

    Args:
        landmarks: meshes in their pictures as in `FaceMeasures`, (N, 478, 3); those with NaN count as not aligned.
    """
    off = np.linalg.norm((anchor_points(landmarks) + 1) / 2 - np.array([*EYES, PHILTRUM]), axis=-1).mean(-1)
    return bool(2 * np.count_nonzero(off <= _ALIGNED_WITHIN) >= max(1, len(off)))


def _rows(stored: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Take rows of an array; number -1 gives NaN."""
    taken = np.full((len(rows), *stored.shape[1:]), np.nan, np.float32)
    taken[rows >= 0] = stored[rows[rows >= 0]]
    return taken
