"""StarGAN's generator, the reference for speed: built as published, with random weights, which cost the same.

Source: Choi et al., "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation",
CVPR 2018, table 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from augment.networks import ResidualBlock, tile
from augment.systems import SystemInfo, Translator


@dataclass(frozen=True)
class StarGANSettings:
    """The published network; it takes faces of any size."""

    size: int = 128
    """Side of the faces, pixels; a multiple of 4."""


class StarGAN(Translator):
    """Two halvings, six residual blocks, two doublings; the condition enters as channels beside the face's."""

    name = "stargan"
    info = SystemInfo(title="StarGAN", paper="Choi et al., CVPR 2018, arXiv 1711.09020", needs="only a reference")
    settings_class = StarGANSettings
    configurations: ClassVar[dict[str, Any]] = {"paper": StarGANSettings()}

    def __init__(self, condition_names: tuple[str, ...], settings: StarGANSettings | None = None) -> None:
        super().__init__(condition_names, settings or StarGANSettings())
        self.generator = nn.Sequential(
            *_normed(nn.Conv2d(3 + len(condition_names), 64, 7, padding=3, bias=False)),
            *_normed(nn.Conv2d(64, 128, 4, stride=2, padding=1, bias=False)),
            *_normed(nn.Conv2d(128, 256, 4, stride=2, padding=1, bias=False)),
            *(ResidualBlock(256) for _ in range(6)),
            *_normed(nn.ConvTranspose2d(256, 128, 4, stride=2, padding=1, bias=False)),
            *_normed(nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False)),
            nn.Conv2d(64, 3, 7, padding=3, bias=False),
            nn.Tanh(),
        )

    def averaged_modules(self) -> dict[str, nn.Module]:
        """The generator."""
        return {"generator": self.generator}

    def translate(self, faces: Tensor, condition: Tensor) -> Tensor:
        """Change faces (N, 3, size, size) in [-1, 1] to conditions (N, K) in [0, 1]."""
        self.check(faces, condition)
        return self.painted(faces, condition)

    def painted(self, faces: Tensor, condition: Tensor) -> Tensor:
        """As `translate`, also of faces that autocast left in lower precision."""
        return self.generator(torch.cat([faces, tile(condition, self.size)], 1))


def _normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(convolution.out_channels, affine=True), nn.ReLU(inplace=True)]
