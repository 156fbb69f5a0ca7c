"""What a camera does to light: exposure, colour balance, blur, falloff, noise, contrast, JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from augment.simulation.jpeg import jpeg

_SHOULDER = 0.7
"""Linear value from which highlights are compressed instead of cut, as films and cameras do."""
_VIGNETTE_REACH = 0.5**0.5
"""Distance of the corners from the middle, in sides of the picture."""
FACE = (0.5, 0.53, 0.28, 0.36)
"""An ellipse inside of aligned faces: its middle and half its width and height, shares of the picture's side."""


@dataclass(frozen=True, eq=False)
class CameraEffects:
    """How a batch of N pictures is taken; every field has one value a picture."""

    exposure: Tensor
    """Factor on the light, (N,), above 0."""
    white_balance: Tensor
    """Factors on red, green and blue, (N, 3), above 0; (1, 1, 1) leaves colours alone."""
    blur: Tensor
    """Standard deviation of a Gaussian blur, pixels, (N,); 0 is sharp."""
    vignette: Tensor
    """Share of light lost in the corners, (N,) in [0, 1]."""
    shot_noise: Tensor
    """Standard deviation of the noise where linear light is 1, (N,); grows as the root of the light."""
    read_noise: Tensor
    """Standard deviation of the noise in the dark, linear, (N,)."""
    contrast: Tensor
    """Factor on the differences from the face's mean, of encoded values, (N,); 1 leaves them, more cuts off what then
    lies beyond black and white, as hard photographs do."""
    quality: Tensor
    """JPEG quality from 1 to 100, (N,); 0 is no JPEG."""
    grey: Tensor
    """Whether the picture is grey, (N,) bool."""

    def to(self, device: torch.device | str) -> CameraEffects:
        """Move to a device."""
        return CameraEffects(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def photograph(pictures: Tensor, effects: CameraEffects, generators: Sequence[torch.Generator]) -> Tensor:
    """Take pictures of light.

    Args:
        pictures: linear RGB, (N, 3, S, S), from 0 upwards.
        effects: N of them, on the device of the pictures.
        generators: for the noise, one a picture, on the CPU.

    Returns:
        sRGB, (N, 3, S, S) in [-1, 1].
    """
    side = pictures.shape[-1]
    light = pictures * (effects.exposure[:, None] * effects.white_balance)[:, :, None, None]
    light = light * (1 - effects.vignette[:, None, None, None] * _falloff(side).to(light))
    light = blur(light, effects.blur)
    noise = torch.stack([torch.randn(3, side, side, generator=generator) for generator in generators]).to(light)
    variance = effects.shot_noise[:, None, None, None] ** 2 * light + effects.read_noise[:, None, None, None] ** 2
    light = (light + variance.clamp(min=0).sqrt() * noise).clamp(min=0)
    seen = to_srgb(_compress(light))
    inside = face_mask(side).to(seen)
    face = (seen.mean(1) * inside).sum((1, 2)) / inside.sum()
    seen = torch.lerp(face[:, None, None, None], seen, effects.contrast[:, None, None, None]).clamp(0, 1)
    luma = (seen * seen.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    seen = torch.where(effects.grey[:, None, None, None], luma, seen)
    return 2 * jpeg(seen, effects.quality) - 1


def face_mask(side: int) -> Tensor:
    """Say which pixels lie inside of `FACE`, (side, side) bool."""
    x, y, across, down = FACE
    place = (torch.arange(side) + 0.5) / side
    return ((place - x) / across) ** 2 + ((place[:, None] - y) / down) ** 2 < 1


def to_srgb(light: Tensor) -> Tensor:
    """Encode linear light, cut to [0, 1], as sRGB in [0, 1]. Source: IEC 61966-2-1."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def from_srgb(colour: Tensor) -> Tensor:
    """Decode sRGB in [0, 1] to linear light in [0, 1]. Source: IEC 61966-2-1."""
    return torch.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def blur(pictures: Tensor, sigma: Tensor) -> Tensor:
    """Blur each picture with its own Gaussian; edges are repeated outwards.

    Args:
        pictures: (N, C, H, W).
        sigma: standard deviations in pixels, (N,); 0 leaves a picture as it is.

    Returns:
        (N, C, H, W).
    """
    down, across = (_blur_matrix(side, sigma)[:, None] for side in pictures.shape[2:])
    return down @ pictures @ across.transpose(2, 3)


def _blur_matrix(side: int, sigma: Tensor) -> Tensor:
    """Matrices (N, side, side) that blur columns of that many pixels."""
    place = torch.arange(side, device=sigma.device, dtype=torch.float32)
    edges = torch.cat([place - 0.5, place[-1:] + 0.5])
    # What lies beyond the picture counts for its outermost pixels.
    edges[0], edges[-1] = -torch.inf, torch.inf
    reach = sigma.clamp(min=1e-3)[:, None, None] * 2**0.5
    below = torch.erf((edges - place[:, None]) / reach)
    soft = (below[..., 1:] - below[..., :-1]) / 2
    return torch.where(sigma[:, None, None] > 0, soft, torch.eye(side, device=sigma.device))


def _falloff(side: int) -> Tensor:
    """Share of a vignette at every pixel, (side, side): 0 in the middle, 1 in the corners, as the distance squared."""
    place = (torch.arange(side) + 0.5) / side - 0.5
    return (place[:, None] ** 2 + place**2) / _VIGNETTE_REACH**2


def _compress(light: Tensor) -> Tensor:
    """Bend values above the shoulder so that they approach 1 and never reach it."""
    room = 1 - _SHOULDER
    bent = _SHOULDER + room * (1 - torch.exp(-(light - _SHOULDER).clamp(min=0) / room))
    return torch.where(light > _SHOULDER, bent, light)
