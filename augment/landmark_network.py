"""Landmarks from pixels, as far as a translator needs them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment import landmarks
from augment.mirroring import mirror, mirror_layers, still
from augment.networks import UpStage


class LandmarkNetwork(nn.Module):
    """Draws the heat map and the parts of a face from its pixels, so that a trained translator needs no landmarks.

    Takes faces (N, 3, S, S); gives a heat map (N, 1, S, S) in [-1, 1] and logits of the parts (N, parts, S/2, S/2).
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()

        def block(channels: int, out: int, stride: int = 1) -> nn.Sequential:
            # Of an even side where it halves: an odd one would look further to one side than to the other.
            side = 4 if stride == 2 else 3
            return nn.Sequential(
                nn.Conv2d(channels, out, side, stride, 1, bias=False),
                nn.InstanceNorm2d(out, affine=True),
                nn.ReLU(True),
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

    def mirror(self) -> None:
        """Bring the weights to the nearest that answer mirror images alike; see `augment.mirroring`."""
        given = mirror_layers(self.fine, still(self.heat, 3).flattened(2))
        mirror_layers([*self.coarse, self.up], given)
        mirror(self.heat, given, still(self.heat, 1).flattened(2))
        mirror(self.parts, given, still(self.parts, self.parts.out_channels))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Draw heat map and parts."""
        fine = self.fine(faces)
        x = fine + self.up(self.coarse(fine))
        return torch.tanh(F.pixel_shuffle(self.heat(x), 2)), self.parts(x)
