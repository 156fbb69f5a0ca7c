"""Head poses, backdrops, light, contrast and sharpness as a dataset's photographs have them: renders begin like them.

A rendered face that stands where no photograph of the dataset stands is told from one by that alone, and a refiner
then has to repaint what need not have been wrong.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from shlex import quote

import numpy as np
import torch
from torch import Tensor

from augment.faces import read_measures
from augment.folders import FaceTable, load_faces, read_faces
from augment.simulation.mannerisms import Draw
from augment.simulation.photograph import face_mask, from_srgb, to_srgb
from augment.simulation.scenes import Place, SceneSettings, draw_place
from emoaug import EmoaugError

_PATCH = 0.1, 0.06
"""Height and width of what a backdrop is read off, shares of the picture's side."""
_PATCHES = 12
"""How many of these, half as far apart as they are high, are looked at from the top of the left and the right edge."""
_CHEEKS = ((0.4, 0.75), (0.24, 0.46), (0.54, 0.76))
"""Rows, and columns left and right, of the cheeks of an aligned face, shares of its side."""
_STEEPEST = 0.9
"""Logarithm of the ratio of light on both cheeks under a bare lamp from the side."""
_CONTRASTS = 0.6, 4.0
"""Least and greatest contrast of a camera."""
_EVEN = 0.1
"""Standard deviation of the grey values of a rendered face, in [0, 1], whose contrast nobody has raised."""
_BANDS = ((0.12, 0.20), (0.40, 0.50))
"""Middle and high frequencies, cycles a pixel, whose power says how sharp a picture is."""
_SHARP = 3.3
"""By how much the logarithm of the power falls from the first to the second in rendered faces that are sharp."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What N photographs show beside faces; scenes draw from them."""

    labels: np.ndarray
    """The expression of each, (N,) str: heads are held differently with different ones."""
    pose: np.ndarray
    """Yaw, pitch and roll of the head, (N, 3), degrees."""
    backdrop: np.ndarray
    """Linear RGB at the left and the right edge, where these are flattest above the chin, (N, 2, 3) in [0, 1]: hair
    is seldom as flat as what is behind it."""
    slope: np.ndarray
    """Logarithm of the light on the right cheek, as seen, over that on the left, (N,)."""
    grey: np.ndarray
    """Whether the photograph is grey, (N,) bool."""
    contrast: np.ndarray
    """Contrast that gives a rendered face the spread of grey values of this one, a factor, (N,)."""
    blur: np.ndarray
    """Standard deviation of the Gaussian that would make a sharp render as soft, shares of the side, (N,)."""

    @classmethod
    def from_folder(cls, folder: Path, faces: FaceTable | None = None) -> Surroundings:
        """Read them off the training faces of a folder that `emoaug align` wrote.

        Args:
            folder: the aligned dataset.
            faces: its table, if it has been read.

        Raises:
            EmoaugError: no face in the folder that may be learnt from has been measured.
        """
        faces = faces or read_faces(folder)
        faces = faces.select(faces.for_training())
        measures = read_measures(faces.root, list(faces.table.file_name))
        known = np.isfinite(measures.pose).all(1) if measures is not None else np.zeros(0, bool)
        if measures is None or not known.any():
            raise EmoaugError(
                f"{folder}: no measured faces (faces.npz) that may be learnt from; "
                f"run: emoaug align {quote(str(folder))} OUT"
            )
        pixels = torch.from_numpy(load_faces(faces.select(known), None))
        # In parts: tens of thousands of photographs in floating point would take gigabytes.
        parts = [_looks_of(part) for part in pixels.split(512)]
        looks = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
        return cls(labels=faces.table.label.to_numpy(str)[known], pose=measures.pose[known], **looks)

    def fingerprint(self) -> str:
        """Hash of everything that is drawn from."""
        digest = hashlib.sha256()
        for field in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, field.name)).tobytes())
        return digest.hexdigest()

    def draw_pose(self, label: str, draw: Draw) -> tuple[float, float, float]:
        """Yaw, pitch and roll, degrees: nearly those of a photograph of the label, or of any if there is none."""
        rows = np.flatnonzero(self.labels == label)
        rows = rows if len(rows) else np.arange(len(self.labels))
        yaw, pitch, roll = self.pose[rows[draw.pick(len(rows))]]
        side = 1.0 if draw.uniform() < 0.5 else -1.0
        moved = (side * yaw + draw.normal(2.0), pitch + draw.normal(1.5), side * roll + draw.normal(1.0))
        return tuple(round(float(np.clip(angle, -60, 60)), 2) for angle in moved)  # type: ignore[return-value]

    def draw_place(self, generator: torch.Generator, settings: SceneSettings) -> Place:
        """A place with a photograph's backdrop, greyness, contrast, sharpness and direction of light.

        See `scenes.draw_place`.
        """
        row = Draw(generator).pick(len(self.labels))
        place = draw_place(generator, settings, steepness=float(np.clip(self.slope[row] / _STEEPEST, -1, 1)))
        # The camera's contrast moves a backdrop away from the face, as it does everything.
        seen = 0.5 + (to_srgb(torch.from_numpy(self.backdrop[row])) - 0.5) / max(1.0, float(self.contrast[row]))
        left, right = (tuple(round(value, 4) for value in colour) for colour in from_srgb(seen).tolist())
        camera = {**place.camera, "grey": float(self.grey[row]), "contrast": float(self.contrast[row])}
        if self.blur[row] > 0:
            # Noise that was there would have kept the high frequencies up; so there was none, or it is blurred as well.
            camera |= {"blur": float(self.blur[row]), "noise": 0.0}
        return replace(place, backdrop=(left, right), camera=camera)


def _looks_of(pixels: Tensor) -> dict[str, Tensor]:
    """Backdrop, slope, grey, contrast and blur of photographs uint8 (N, 3, S, S), as in `Surroundings`."""
    light, grey, side = from_srgb(pixels.float() / 255), pixels.float().mean(1), pixels.shape[-1]
    (top, bottom), *columns = ((round(a * side), round(b * side)) for a, b in _CHEEKS)
    left, right = (light[:, :, top:bottom, a:b].mean((1, 2, 3)).clamp(min=1e-3) for a, b in columns)
    return {
        "backdrop": torch.stack([_flattest(light, grey, edge) for edge in ("left", "right")], 1),
        "slope": (right / left).log(),
        "grey": (pixels.amax(1).int() - pixels.amin(1).int()).flatten(1).amax(1) <= 2,
        "contrast": contrast_of(grey / 255),
        "blur": softness(grey) / side,
    }


def _flattest(light: Tensor, grey: Tensor, edge: str) -> Tensor:
    """Median colour (N, 3) of the flattest patch along an edge; light (N, 3, S, S) is linear, grey is in [0, 255]."""
    high, wide = (max(2, round(share * grey.shape[-1])) for share in _PATCH)
    columns = slice(wide) if edge == "left" else slice(-wide, None)
    rows = [slice(i * high // 2, i * high // 2 + high) for i in range(_PATCHES)]
    # Against their own lightness, as black hair varies by little.
    patches = [grey[:, part, columns].flatten(1) for part in rows]
    uneven = torch.stack([patch.std(1) / (patch.mean(1) + 25) for patch in patches], 1)
    colours = torch.stack([light[:, :, part, columns].flatten(2).median(2).values for part in rows], 1)
    return colours[torch.arange(len(light)), uneven.argmin(1)]


def contrast_of(pictures: Tensor) -> Tensor:
    """Contrast of faces, as `CameraEffects.contrast` has it, (N,), from grey pictures (N, S, S) in [0, 1]."""
    values = pictures[:, face_mask(pictures.shape[-1])]
    return (values.std(1) / _EVEN).clamp(*_CONTRASTS)


def softness(pictures: Tensor) -> Tensor:
    """How soft pictures are.

    Args:
        pictures: grey, (N, S, S), in any units.

    Returns:
        Standard deviation of the Gaussian, pixels, that would take from a sharp render as much of its high frequencies
        as these lack, (N,); 0 for what is as sharp, or is noisy.
    """
    side = pictures.shape[-1]
    window = torch.hann_window(side, periodic=False)
    flat = (pictures - pictures.mean((1, 2), keepdim=True)) * window * window[:, None]
    power = torch.fft.fft2(flat).abs().square()
    frequency = torch.fft.fftfreq(side)
    radius = torch.hypot(frequency, frequency[:, None])
    middle, high = (power[:, (radius >= low) & (radius < top)].mean(1).clamp(min=1e-9).log() for low, top in _BANDS)
    # A Gaussian of deviation s leaves exp(-(2 pi s f)^2) of the power at frequency f.
    squares = [sum(band) ** 2 / 4 for band in _BANDS]
    lacking = (middle - high - _SHARP).clamp(min=0)
    return (lacking / (4 * math.pi**2 * (squares[1] - squares[0]))).sqrt()
