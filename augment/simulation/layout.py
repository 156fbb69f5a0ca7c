"""Where things lie in a painted texture: the texture's grid, and the regions of a face around its landmarks."""

import functools
import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from augment.simulation.morphable import PARTS, TEXTURE_BOTTOM, TEXTURE_TOP, FaceModel

ARC_RADIUS = 8.5
"""cm of arc on the skin for one radian around the head's axis, which makes angles comparable with heights."""
_FOCUS = (2.5, 1.5)
"""How much more of the texture the face gets than the back of the head and the neck, across and down."""
_MIDDLE = (0.5, 0.62)
"""The point of the wrapped coordinates that gets most of the texture: the tip of the nose."""


def focus(coordinates: Tensor) -> Tensor:
    """Give the face more of the texture than the back of the head, where nobody looks.

    Args:
        coordinates: wrapped texture coordinates, (..., 2) in [0, 1].

    Returns:
        (..., 2) in [0, 1], growing in each coordinate; 0 and 1 stay. The face's middle is magnified 2.1 times across
        and 1.6 times down.
    """
    stretched = []
    for axis in (0, 1):
        strength, middle = 2 * _FOCUS[axis], _MIDDLE[axis]
        low, high = math.atan(-strength * middle), math.atan(strength * (1 - middle))
        stretched.append((torch.atan(strength * (coordinates[..., axis] - middle)) - low) / (high - low))
    return torch.stack(stretched, -1)


def unfocus(coordinates: Tensor) -> Tensor:
    """Undo `focus`: (..., 2) in [0, 1] to (..., 2) in [0, 1]."""
    relaxed = []
    for axis in (0, 1):
        strength, middle = 2 * _FOCUS[axis], _MIDDLE[axis]
        low, high = math.atan(-strength * middle), math.atan(strength * (1 - middle))
        relaxed.append(torch.tan(low + coordinates[..., axis] * (high - low)) / strength + middle)
    return torch.stack(relaxed, -1)


def focused(model: FaceModel) -> FaceModel:
    """Give a model the texture coordinates that the painted textures use; eyeballs keep theirs."""
    eyes = (model.parts == PARTS.index("eyeball"))[:, None]
    return replace(model, texture_coordinates=model.texture_coordinates.where(eyes, focus(model.texture_coordinates)))


def arc_coordinates(wrapped: Tensor) -> np.ndarray:
    """Turn wrapped texture coordinates, (..., 2), into cm on the skin: x to the viewer's right, y up from the eyes."""
    across = (wrapped[..., 0] - 0.5) * (2 * math.pi * ARC_RADIUS)
    up = TEXTURE_TOP - wrapped[..., 1] * (TEXTURE_TOP - TEXTURE_BOTTOM)
    return torch.stack([across, up], -1).numpy()


@dataclass(frozen=True, eq=False)
class Layout:
    """A texture's grid and what of the face is where in it. All distances in cm on the skin; masks in [0, 1]."""

    side: int
    """Side R of the texture in texels."""
    x: np.ndarray
    """Place of each column, (R,): positive on the person's left."""
    y: np.ndarray
    """Place of each row, (R,): positive above the eyes."""
    landmarks: np.ndarray
    """The Multi-PIE points, (68, 2)."""
    vertices: np.ndarray
    """Every vertex of the model, (V, 2)."""
    vertex_pixels: np.ndarray
    """The same in texels: column and row, (V, 2) float32."""
    ear: np.ndarray
    """Middle of the ear and half its size, (x, y, half width, half height), x > 0."""
    lips: np.ndarray
    """Signed distance to the lips' outline, positive inside, (R, R)."""
    lip_gap: np.ndarray
    """Distance to the line between the lips, (R, R)."""
    eyes: np.ndarray
    """Signed distance to the lids' edges, positive inside the openings, (R, R)."""
    lid: np.ndarray
    """Mask of the upper lids and the hollows around the eyes, (R, R)."""
    beard: np.ndarray
    """Mask of where a full beard grows, (R, R)."""
    moustache: np.ndarray
    """Mask of where a moustache grows, (R, R)."""
    goatee: np.ndarray
    """Mask of the chin's part of a beard, (R, R)."""

    def blob(self, x: float, y: float, width: float, height: float) -> np.ndarray:
        """Draw a Gaussian spot with these standard deviations, cm; (R, R), 1 in its middle."""
        across = np.exp(-0.5 * ((self.x - x) / width) ** 2)
        return np.outer(np.exp(-0.5 * ((self.y - y) / height) ** 2), across)

    def pair(self, x: float, y: float, width: float, height: float) -> np.ndarray:
        """Draw a spot on either side of the face."""
        return self.blob(x, y, width, height) + self.blob(-x, y, width, height)

    def pixels(self, places: np.ndarray) -> np.ndarray:
        """Turn places in cm, (..., 2), into texels: (column, row), the first texel's middle at 0."""
        columns = np.interp(places[..., 0], self.x, np.arange(self.side))
        rows = np.interp(-places[..., 1], -self.y, np.arange(self.side))
        return np.stack([columns, rows], -1)


def smooth_step(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """Rise from 0 at `low` to 1 at `high` without corners (3t² - 2t³)."""
    # Weak scalars keep float32 arrays float32, which are twice as fast.
    t = np.clip((values - low) * (1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


@functools.lru_cache(maxsize=8)
def layout(model: FaceModel, side: int) -> Layout:
    """Lay out the texture of a model.

    Args:
        model: the face model, on the CPU.
        side: R, texels.

    Returns:
        The layout; made once for each model and size.
    """
    centres = (torch.arange(side) + 0.5) / side
    grid = arc_coordinates(unfocus(torch.stack([centres, centres], -1)))
    x, y = grid[:, 0].astype(np.float32), grid[:, 1].astype(np.float32)
    vertices = arc_coordinates(model.texture_coordinates)
    marks = vertices[model.landmarks.numpy()].astype(np.float32)
    points = np.stack(np.meshgrid(x, y), -1)
    eyes = np.maximum(_signed_distance(points, marks[36:42]), _signed_distance(points, marks[42:48]))
    lips = _signed_distance(points, marks[48:60])
    gap = _distance(
        points, np.concatenate([marks[48:49], (marks[60:65] + marks[[60, 67, 66, 65, 64]]) / 2, marks[54:55]])
    )
    beard, moustache, goatee = _beards(points, marks, lips)
    columns, rows = np.interp(vertices[:, 0], x, np.arange(side)), np.interp(-vertices[:, 1], -y, np.arange(side))
    return Layout(
        side=side,
        x=x,
        y=y,
        landmarks=marks,
        vertices=vertices,
        vertex_pixels=np.stack([columns, rows], -1).astype(np.float32),
        ear=_ear(model, vertices),
        lips=lips.astype(np.float32),
        lip_gap=gap,
        eyes=eyes.astype(np.float32),
        lid=_lids(points, marks, eyes).astype(np.float32),
        beard=beard,
        moustache=moustache,
        goatee=goatee,
    )


def _distance(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Measure the distance from points, (..., 2), to an open polyline, (K, 2)."""
    best = np.full(points.shape[:-1], np.inf, np.float32)
    for start, end in itertools.pairwise(line):
        along = end - start
        share = np.clip(((points - start) @ along) / max(float(along @ along), 1e-9), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - start - share[..., None] * along, axis=-1))
    return best


def _signed_distance(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Measure the distance to a closed polygon, (K, 2); positive inside."""
    closed = np.concatenate([corners, corners[:1]])
    inside = np.zeros(points.shape[:-1], bool)
    for start, end in itertools.pairwise(closed):
        rises = (start[1] > points[..., 1]) != (end[1] > points[..., 1])
        height = end[1] - start[1] if end[1] != start[1] else 1e-9
        inside ^= rises & (points[..., 0] < start[0] + (points[..., 1] - start[1]) * (end[0] - start[0]) / height)
    return np.where(inside, 1, -1) * _distance(points, closed)


def _ear(model: FaceModel, places: np.ndarray) -> np.ndarray:
    """Find the left ear: what stands out sideways near the height of the nose."""
    sides = model.vertices[model.landmarks[[0, 16]], 0].abs().mean()
    x, y = model.vertices[:, 0].numpy(), model.vertices[:, 1].numpy()
    stands_out = (x > float(sides) + 0.9) & (y > -6) & (y < 2.5) & (model.parts == PARTS.index("skin")).numpy()
    if not stands_out.any():
        return np.array([15.5, -1.8, 1.4, 3.0], np.float32)
    found = places[stands_out]
    low, high = found.min(0), found.max(0)
    return np.concatenate([(low + high) / 2, (high - low) / 2]).astype(np.float32)


def _lids(points: np.ndarray, marks: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Mask the upper lids up to the crease, fading out below the brows."""
    mask = np.zeros(points.shape[:-1], np.float32)
    for eye, brow in ((slice(36, 42), slice(17, 22)), (slice(42, 48), slice(22, 27))):
        middle, width = marks[eye].mean(0), np.ptp(marks[eye][:, 0])
        gap = marks[brow][:, 1].mean() - middle[1]
        across = np.exp(-(np.abs((points[..., 0] - middle[0]) / (0.62 * width)) ** 3))
        height = points[..., 1] - middle[1]
        mask = np.maximum(mask, across * smooth_step(-0.3, 0.15, height) * (1 - smooth_step(0.25, 1.0, height / gap)))
    return mask * smooth_step(0.15, -0.05, eyes)


def _beards(points: np.ndarray, marks: np.ndarray, lips: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask where beard, moustache and goatee grow."""
    across, up = np.abs(points[..., 0]), points[..., 1]
    right = marks[[16, 14, 12, 11, 10, 9, 8]]
    mirrored = marks[[0, 2, 4, 5, 6, 7, 8]] * [-1, 1]
    jaw = (right + mirrored) / 2
    corner, nose = float(np.abs(marks[[48, 54], 0]).mean()), float(marks[33, 1])
    mouth, chin = float(marks[[48, 54], 1].mean()), float(marks[8, 1])
    # The upper edge falls from the sideburn in front of the ear to the corner of the mouth.
    top_x = [0, corner, corner + 1.5, 0.62 * jaw[0, 0] + 1.5, jaw[0, 0], 40]
    top_y = [mouth + 0.2, mouth + 0.4, mouth + 0.5, mouth + 1.6, jaw[0, 1] - 0.5, jaw[0, 1] - 0.5]
    low_x = [0, *jaw[::-1][1:, 0].tolist()]
    low_y = [chin - 1.6, *(jaw[::-1][1:, 1] - 1.6).tolist()]
    top, low = np.interp(across, top_x, top_y), np.interp(across, low_x, low_y)
    behind = 1 - smooth_step(jaw[0, 0] + 0.3, jaw[0, 0] + 1.6, across)
    beard = smooth_step(0.35, -0.45, up - top) * smooth_step(-1.0, 0.4, up - low) * behind
    under_nose = smooth_step(-0.05, -0.45, up - nose + 0.35 * across) * smooth_step(mouth - 0.8, mouth + 0.1, up)
    moustache = under_nose * smooth_step(corner + 0.8, corner + 0.1, across)
    goatee = beard * smooth_step(corner + 0.9, corner + 0.2, across)
    # Bare: the lips, and the two spots beside the tuft under the lower lip.
    bare = smooth_step(-0.02, -0.16, lips)
    tuft = 1 - 0.7 * np.exp(-(((across - 0.45 * corner - 0.5) / 0.5) ** 2) - ((up - mouth + 1.45) / 0.35) ** 2)
    return tuple((mask * bare * tuft).astype(np.float32) for mask in (beard, moustache, goatee))
