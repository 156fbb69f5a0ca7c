"""JPEG's loss without its bytes: what a picture looks like after it was saved and opened again.

Only rounding in JPEG loses anything; coding the rounded numbers does not. So the rounding alone is done, for a whole
batch at once, the same on every device, each picture at its own quality.

Source: ITU-T T.81 (JPEG), tables K.1 and K.2 and A.3.3; JFIF 1.02 for colour; the Independent JPEG Group's scale of
quality and its halved colour resolution.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99, *[99] * 32),
)
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg(pictures: Tensor, quality: Tensor) -> Tensor:
    """Save pictures as JPEG and open them again.

    Args:
        pictures: sRGB, (N, 3, H, W) in [0, 1].
        quality: from 1 to 100, (N,); a picture of quality 0 is left as it is.

    Returns:
        sRGB, (N, 3, H, W) in [0, 1].
    """
    height, width = pictures.shape[2:]
    whole = pad(pictures, (0, -width % 16, 0, -height % 16), mode="replicate") * 255
    ycc = _mix(whole.round(), _TO_YCC)
    luma, chroma = ycc[:, :1] - 128, avg_pool2d(ycc[:, 1:], 2)
    luma = _round_trip(luma, _table(_LUMA, quality)) + 128
    chroma = interpolate(
        _round_trip(chroma, _table(_CHROMA, quality)), scale_factor=2, mode="bilinear", align_corners=False
    )
    back = _mix(torch.cat([luma, chroma], 1), _TO_RGB).round().clamp(0, 255)[..., :height, :width] / 255
    return torch.where((quality > 0)[:, None, None, None], back, pictures)


def _mix(pictures: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Mix the channels."""
    return torch.einsum("dc,nchw->ndhw", pictures.new_tensor(matrix), pictures)


def _table(base: tuple[int, ...], quality: Tensor) -> Tensor:
    """Quantisation steps, (N, 1, 1, 1, 8, 8), by the Independent JPEG Group's rule."""
    quality = quality.float().clamp(1, 100)[:, None]
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    steps = ((quality.new_tensor(base) * scale + 50) / 100).floor().clamp(1, 255)
    return steps.view(-1, 1, 1, 1, 8, 8)


@functools.cache
def _cosines() -> Tensor:
    """The discrete cosine transform of 8 values as an orthogonal matrix, (8, 8)."""
    number = torch.arange(8, dtype=torch.float64)
    matrix = torch.cos((2 * number + 1) * number[:, None] * math.pi / 16) / 2
    matrix[0] /= 2**0.5
    return matrix.float()


def _round_trip(planes: Tensor, steps: Tensor) -> Tensor:
    """Transform blocks of 8 x 8, round to multiples of `steps`, and transform back; (N, C, H, W)."""
    count, channels, height, width = planes.shape
    cosines = _cosines().to(planes)
    blocks = planes.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    rounded = (cosines @ blocks @ cosines.t() / steps).round() * steps
    restored = cosines.t() @ rounded @ cosines
    return restored.transpose(3, 4).reshape(count, channels, height, width)
