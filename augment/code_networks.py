"""Networks between faces and codes, and judges whose features are matched: what CVAE-GAN and IP-GAN share.

The residual ones are for small data and CPUs; those named after papers keep the published widths.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment.mirroring import Channels, mirror, mirror_layers, mirror_retouch, still, twins
from augment.networks import PlainResidualBlock, Retouch, Retouched, plain


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm of up to 8 groups: no batch statistics, which a few faces would make unsteady."""
    # Of an even number of channels each, where there are: twins (see `augment.mirroring`) share a group.
    return nn.GroupNorm(math.gcd(8, channels if channels % 2 else channels // 2), channels)


class DownStage(nn.Module):
    """Half the side, residual; (N, C, H, W) to (N, out, H/2, W/2)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            group_norm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, out_channels, 4, 2, 1, bias=False),
            group_norm(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip = nn.Conv2d(channels, out_channels, 1, bias=False)

    def mirror(self, given: Channels) -> Channels:
        """Bring the weights to the nearest that answer mirror images alike; see `augment.mirroring`."""
        made = mirror_layers(self.layers, given)
        mirror(self.skip, given, made)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Halve the side."""
        return self.skip(F.avg_pool2d(x, 2)) + self.layers(x)


class FaceEncoder(nn.Module):
    """Faces (N, 3, S, S) to features (N, length) before any last layer.

    Args:
        size: S, a multiple of 2^depth.
        width: channels of the first layer; they double with each halving.
        widest: the most channels.
        depth: halvings.
    """

    def __init__(self, size: int, width: int, widest: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1)]
        channels = width
        for _ in range(depth):
            wider = min(2 * channels, widest)
            layers.append(DownStage(channels, wider))
            channels = wider
        layers += [group_norm(channels), nn.ReLU(inplace=True), nn.Flatten()]
        self.layers = nn.Sequential(*layers)
        self.side = size // 2**depth
        self.length = channels * self.side**2

    def mirror(self) -> Channels:
        """Bring the weights to the nearest that answer mirror images alike; gives what becomes of the features."""
        return mirror_layers(self.layers, still(self, 3)).flattened(self.side)

    def forward(self, faces: Tensor) -> Tensor:
        """Read faces."""
        return self.read(faces)[0]

    def read(self, faces: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features (N, length), and the maps after each halving, finest first, each as wide as in `FaceRetoucher`."""
        maps = []
        for layer in self.layers:
            faces = layer(faces)
            if isinstance(layer, DownStage):
                maps.append(faces)
        return faces, maps


class FaceDecoder(nn.Module):
    """Codes (N, L) to faces (N, 3, S, S) in [-1, 1].

    Without norms: one with group norms whose scales the code set, as BigGAN's, rebuilt faces worse after as many steps
    (a throwaway script).

    Args:
        code: L.
        size: S, a multiple of 2^depth.
        width: channels of the last stage; they double with each halving of the side.
        widest: the most channels.
        depth: doublings.
    """

    def __init__(self, code: int, size: int, width: int, widest: int, depth: int) -> None:
        super().__init__()
        channels = [min(width * 2**level, widest) for level in range(depth + 1)][::-1]
        self.start = (channels[0], size // 2**depth, size // 2**depth)
        self.first = nn.Linear(code, math.prod(self.start))
        plain(self.first)
        layers: list[nn.Module] = []
        for c, out in pairwise(channels):
            # A pixel shuffle would leave chequers.
            larger = nn.Upsample(scale_factor=2.0, mode="bilinear")
            layers += [PlainResidualBlock(c), nn.ReLU(), larger, plain(nn.Conv2d(c, out, 3, padding=1))]
        self.layers = nn.Sequential(*layers, nn.ReLU())
        self.colour = nn.Conv2d(channels[-1], 3, 3, padding=1)
        plain(self.colour, share=0.3)

    def mirror(self, code: Channels) -> None:
        """Bring the weights to the nearest that answer mirror images alike, as the code is in the mirror."""
        channels, side, _ = self.start
        given = twins(self, channels)
        mirror(self.first, code, given.flattened(side))
        mirror(self.colour, mirror_layers(self.layers, given), still(self, 3))

    def forward(self, code: Tensor) -> Tensor:
        """Paint faces."""
        return torch.tanh(self.colour(self.layers(self.first(code).view(-1, *self.start))))


class FaceRetoucher(nn.Module):
    """Retouches faces as codes (N, L) say; where things are in a face, the maps of a `FaceEncoder` tell.

    Without norms, as CDAAE's decoders: one with group norms learnt from pairs at half the speed.

    Args:
        code: L.
        size, width, widest, depth: those of the encoder.
    """

    def __init__(self, code: int, size: int, width: int, widest: int, depth: int) -> None:
        super().__init__()
        channels = [min(width * 2**level, widest) for level in range(1, depth + 1)][::-1]
        self.start = (channels[0], size // 2**depth, size // 2**depth)
        self.first = nn.Linear(code, math.prod(self.start))
        plain(self.first)
        self.joins = nn.ModuleList(nn.Conv2d(c, c, 1) for c in channels[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(nn.ReLU(), plain(nn.Conv2d(c, 4 * out, 3, padding=1)), nn.PixelShuffle(2))
            for c, out in pairwise(channels)
        )
        finest = channels[-1]
        # The start is near to what the encoder says of the source.
        self.last = nn.Sequential(nn.ReLU(), plain(nn.Conv2d(finest, finest, 3, padding=1), share=0.3))
        self.layers = nn.Sequential(
            PlainResidualBlock(finest), plain(nn.Conv2d(finest, finest, 5, padding=2)), nn.ReLU()
        )
        # At half the side: at the full one, mouths that close were speckled.
        self.retouch = Retouch(finest, finest)

    def mirror(self, code: Channels) -> None:
        """Bring the weights to the nearest that answer mirror images alike, as the code is in the mirror."""
        channels, side, _ = self.start
        given = twins(self, channels)
        mirror(self.first, code, given.flattened(side))
        for join, stage in zip(self.joins, self.stages, strict=True):
            given = mirror_layers([join, stage], given)
        mirror_layers([self.last, self.layers], given)
        mirror_retouch(self.retouch)

    def forward(self, source: Tensor, maps: list[Tensor], code: Tensor) -> Retouched:
        """Retouch source faces (N, 3, S, S), of which the encoder's maps are given, finest first."""
        x = self.first(code).view(-1, *self.start)
        for join, stage, level in zip(self.joins, self.stages, maps[:0:-1], strict=True):
            x = stage(x + join(level))
        x = self.layers(maps[0] + self.last(x))
        return self.retouch(source, x, F.avg_pool2d(x, 2))


class PublishedDecoder(nn.Module):
    """CVAE-GAN's generator: codes (N, L) to faces (N, 3, S, S) in [-1, 1], S a multiple of 64.

    Two fully connected layers, then six transposed convolutions of stride 2 (Bao et al. 2017, sec. 4). The width of the
    fully connected layers is not known; here it is what the first transposed convolution takes, 256 maps of 2×2 for
    128 px.
    """

    channels = (256, 256, 128, 92, 64, 3)
    kernels = (3, 3, 5, 5, 5, 5)

    def __init__(self, code: int, size: int) -> None:
        super().__init__()
        side = size // 64
        wide = self.channels[0] * side**2
        layers: list[nn.Module] = []
        for length in (code, wide):
            layers += [nn.Linear(length, wide), nn.BatchNorm1d(wide), nn.ReLU(inplace=True)]
        layers.append(nn.Unflatten(1, (self.channels[0], side, side)))
        before = self.channels[0]
        for channels, kernel in zip(self.channels, self.kernels, strict=True):
            layers.append(nn.ConvTranspose2d(before, channels, kernel, 2, kernel // 2, output_padding=1))
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            before = channels
        self.layers = nn.Sequential(*layers[:-2], nn.Tanh())

    def forward(self, code: Tensor) -> Tensor:
        """Paint faces."""
        return self.layers(code)


class Judgement(NamedTuple):
    """What a judge says of faces, and what it says it from."""

    features: Tensor
    """The features that a generator matches, (N, F)."""
    logits: Tensor
    """(N, A)."""


class FaceJudge(nn.Module):
    """Logits about faces (N, 3, S, S), and the features they come from; critics and classifiers are of this kind.

    Without norms, so that its gradient can be held by a penalty.

    Args:
        size: S, a multiple of 2^depth.
        width: channels of the first layer; they double with each halving.
        depth: halvings.
        answers: logits.
        matched: levels, from the last, whose outputs are the features. Published is the last alone; finer ones besides
            see the edges that a small decoder else leaves soft.
    """

    def __init__(self, size: int, width: int, depth: int, answers: int, matched: int = 1) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        channels, lengths = 3, []
        for level in range(depth):
            wider = width * 2**level
            convolution = nn.Conv2d(channels, wider, 4, 2, 1)
            # Without norms, torch's own initial weights would let little of a face through four layers.
            nn.init.kaiming_normal_(convolution.weight, a=0.2)
            self.levels.append(nn.Sequential(convolution, nn.LeakyReLU(0.2)))
            lengths.append(wider * (size >> level + 1) ** 2)
            channels = wider
        self.answer = nn.Linear(lengths[-1], answers)
        self.matched = matched
        self.feature_length = sum(lengths[-matched:])

    def mirror(self) -> None:
        """Bring the weights to the nearest that answer mirror images alike; see `augment.mirroring`."""
        given = mirror_layers([layer for level in self.levels for layer in level.children()], still(self, 3))
        side = int((self.answer.in_features // len(given.places)) ** 0.5)
        mirror(self.answer, given.flattened(side), still(self, self.answer.out_features))

    def forward(self, faces: Tensor) -> Judgement:
        """Judge faces."""
        seen = []
        for level in self.levels:
            faces = level(faces)
            seen.append(faces.flatten(1))
        return Judgement(torch.cat(seen[-self.matched :], 1), self.answer(seen[-1]))


class PublishedCritic(nn.Module):
    """DCGAN's critic with the input of its last layer as features; faces (N, 3, S, S), S a multiple of 16.

    Source: Radford et al. 2016; CVAE-GAN and IP-GAN take it over.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for wider in (64, 128, 256, 512):
            layers.append(nn.Conv2d(channels, wider, 5, 2, 2))
            if channels > 3:
                layers.append(nn.BatchNorm2d(wider))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = wider
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.feature_length = channels * (size // 16) ** 2
        self.answer = nn.Linear(self.feature_length, 1)

    def forward(self, faces: Tensor) -> Judgement:
        """Judge faces."""
        features = self.layers(faces)
        return Judgement(features, self.answer(features))


class PublishedClassifier(nn.Module):
    """AlexNet with the input of its last layer as features, (N, 4096).

    Without dropout: a face and its copy must be read by the same units to be compared.
    """

    feature_length = 4096

    def __init__(self, classes: int) -> None:
        super().__init__()
        from torchvision.models import AlexNet

        network = AlexNet(num_classes=classes, dropout=0.0)
        # Flattened to the 6×6 maps that AlexNet's first dense layer was made for, whatever the side of the faces.
        self.layers = nn.Sequential(network.features, network.avgpool, nn.Flatten(), *network.classifier[:-1])
        self.answer = network.classifier[-1]

    def forward(self, faces: Tensor) -> Judgement:
        """Classify faces."""
        features = self.layers(faces)
        return Judgement(features, self.answer(features))


def googlenet_features() -> tuple[nn.Module, int]:
    """GoogLeNet, untrained, up to the input of its last layer, faces (N, 3, S, S) to (N, 1024), and that length."""
    from torchvision.models import GoogLeNet

    network = GoogLeNet(aux_logits=False, init_weights=False)
    length = network.fc.in_features
    network.dropout, network.fc = nn.Identity(), nn.Identity()
    return network, length


def resnet34_features() -> tuple[nn.Module, int]:
    """ResNet-34, untrained, up to its last pooling layer, faces (N, 3, S, S) to (N, 512), and that length."""
    from torchvision.models import resnet34

    network = resnet34(weights=None)
    length = network.fc.in_features
    network.fc = nn.Identity()
    return network, length
