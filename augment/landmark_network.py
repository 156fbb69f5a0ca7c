"""Landmarks from pixels, as far as a translator needs them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment import landmarks
from augment.networks import UpStage


class LandmarkNetwork(nn.Module):
    """Draws the heat map and the parts of a face from its pixels, so that a trained translator needs no landmarks.

    Takes faces (N, 3, S, S); gives a heat map (N, 1, S, S) in [-1, 1] and logits of the parts (N, parts, S/2, S/2).
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()

        def block(channels: int, out: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.InstanceNorm2d(out, affine=True), nn.ReLU(True)
            )

        self.fine = nn.Sequential(nn.PixelUnshuffle(2), block(12, width))
        self.coarse = nn.Sequential(
            block(width, 2 * width, 2),
            block(2 * width, 3 * width, 2),
            block(3 * width, 3 * width),
            UpStage(3 * width, 2 * width),
        )
        self.up = UpStage(2 * width, width)
        self.heat = nn.Conv2d(width, 4, 3, padding=1)
        self.parts = nn.Conv2d(width, 1 + len(landmarks.REGIONS), 3, padding=1)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Draw heat map and parts."""
        fine = self.fine(faces)
        x = fine + self.up(self.coarse(fine))
        return torch.tanh(F.pixel_shuffle(self.heat(x), 2)), self.parts(x)
