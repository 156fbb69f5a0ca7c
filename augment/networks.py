"""Layers that several systems share."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment.ranks import drawn


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with instance norm around a skip; (N, C, H, W) in and out.

    Source: the residual block of StarGAN's and LSSL's released generators.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add what the two convolutions say."""
        return x + self.layers(x)


def plain(layer: nn.Conv2d | nn.Linear | nn.ConvTranspose2d, slope: float = 0.0, share: float = 1.0) -> nn.Module:
    """A layer whose initial weights keep the scale of what passes it and a (leaky) ReLU; no norms are needed then.

    With a share below 1 they keep that much of it, for what is added to something else.
    """
    if isinstance(layer, nn.ConvTranspose2d):
        # Each output pixel sees every second weight in either direction: a quarter of the kernel.
        taps = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1] / 4
        nn.init.normal_(layer.weight, std=(2 / (1 + slope**2) / taps) ** 0.5)
    else:
        nn.init.kaiming_normal_(layer.weight, a=slope)
    with torch.no_grad():
        layer.weight.mul_(share)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class PlainResidualBlock(nn.Module):
    """Two 3×3 convolutions around a skip, without norms: these would take the light of the face away."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.layers = nn.Sequential(plain(first), nn.ReLU(), plain(second, share=0.3))

    def forward(self, x: Tensor) -> Tensor:
        """Add what the two convolutions say."""
        return x + self.layers(x)


class UpStage(nn.Module):
    """Twice the side by a 3×3 convolution and a pixel shuffle; (N, C, H, W) to (N, out, 2H, 2W)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 4 * out_channels, 3, padding=1),
            nn.PixelShuffle(2),
            nn.InstanceNorm2d(out_channels, affine=True),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Double the side."""
        return self.layers(x)


class Halving(nn.Conv2d):
    """A critic's 4×4 convolution of stride 2; (N, C, H, W) to (N, out, H/2, W/2), even H and W.

    Maps of few pixels go through it as one product of matrices. On a CPU that is two to five times faster, backward
    too: there the many weights are what takes time, and a convolution fetches them again and again.

    Args:
        channels: C.
        out_channels: of the result.
        leak: slope below zero of the leaky ReLU that follows, for the initial weights. Without norms, torch's own would
            let little of a face through four layers, and a critic would need most of a short run to wake up.
    """

    few_pixels: ClassVar[int] = 16
    """H times W up to which it is one product."""

    def __init__(self, channels: int, out_channels: int, leak: float) -> None:
        super().__init__(channels, out_channels, 4, 2, 1)
        nn.init.kaiming_normal_(self.weight, a=leak)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        rows, columns = x.shape[2:]
        if rows * columns > self.few_pixels:
            return super().forward(x)
        windows = F.unfold(x, 4, padding=1, stride=2)
        # All faces' windows in one matrix: of each face apart, torch would multiply one after another.
        seen = F.linear(windows.mT.flatten(0, 1), self.weight.flatten(1), self.bias)
        return seen.unflatten(0, (len(x), -1)).mT.unflatten(2, (rows // 2, columns // 2)).contiguous()


class Opinion(NamedTuple):
    """What a critic says of samples."""

    patches: Tensor
    """Real or made, (N, 1, s, s)."""
    fine: Tensor | None
    """Real or made, smaller patches, (N, 1, 2s, 2s)."""
    attributes: Tensor
    """Logits of the attributes, (N, A)."""
    levels: tuple[Tensor, ...] = ()
    """What it saw after each halving, finest first."""


class PatchCritic(nn.Module):
    """Judges samples (N, C, S, S): patches real or made, and their attributes.

    The conditional form has one map of real or made for each class (StarGAN v2, Choi et al. 2020, sec. 2.1). For
    intensities, none of which need be there, it has one map more, for what is real whatever the condition: a projection
    (Miyato & Koyama, "cGANs with projection discriminator", ICLR 2018, eq. 3). Besides, smaller patches may be judged
    whatever the condition: too small to show an expression, they would only water down what the large ones say of it.

    Args:
        channels: of the samples.
        size: side of the samples, pixels.
        width: channels of the first layer; they double with each halving.
        depth: halvings.
        maps: 1, or the length of the condition, or one more than that.
        attributes: how many attributes are read off a sample.
        fine: whether smaller patches are judged too.
        leak: slope of the leaky ReLUs below zero.

    Source: the critic of StarGAN (Choi et al. 2018, tab. 5).
    """

    def __init__(
        self, channels: int, size: int, width: int, depth: int, maps: int, attributes: int, fine: bool, leak: float
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        for level in range(depth):
            wider = width * 2**level
            self.levels.append(nn.Sequential(Halving(channels, wider, leak), nn.LeakyReLU(leak)))
            channels = wider
        self.real = nn.Conv2d(channels, maps, 3, padding=1, bias=False)
        self.fine = nn.Conv2d(channels // 2, 1, 3, padding=1, bias=False) if fine else None
        self.attribute = nn.Linear(channels * (size // 2**depth) ** 2, attributes)

    def forward(self, samples: Tensor, condition: Tensor) -> Opinion:
        """Judge samples as pictures of a condition (N, K); a critic with one map does not look at it."""
        seen = [samples]
        for level in self.levels:
            seen.append(level(seen[-1]))
        *_, before, features = seen
        patches = self.real(features)
        if patches.shape[1] > 1:
            if patches.shape[1] > condition.shape[1]:
                condition = torch.cat([torch.ones_like(condition[:, :1]), condition], 1)
            patches = (patches * condition[:, :, None, None]).sum(1, keepdim=True)
        fine = None if self.fine is None else self.fine(before)
        return Opinion(patches, fine, self.attribute(features.flatten(1)), tuple(seen[1:]))


def tile(condition: Tensor, size: int) -> Tensor:
    """Repeat conditions (N, K) over a square: (N, K, size, size)."""
    return condition[:, :, None, None].expand(-1, -1, size, size)


def warp(faces: Tensor, flow: Tensor, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """Move pixels: each output pixel takes the colour found at its own place plus the flow there.

    Args:
        faces: (N, C, H, W).
        flow: x, y displacement, (N, 2, H, W), in units in which the picture is 2 wide.
        mode: how to weigh the neighbours of a place between pixels; bilinear weights are fast, and blur.

    Returns:
        (N, C, H, W), border colours repeated outside.
    """
    n, _, height, width = faces.shape
    identity = torch.eye(2, 3, device=faces.device, dtype=torch.float32).expand(n, 2, 3)
    grid = F.affine_grid(identity, [n, 1, height, width], align_corners=False) + flow.float().permute(0, 2, 3, 1)
    # A place that is not a number makes the backward pass on the CPU write outside its memory.
    moved = F.grid_sample(faces.float(), grid.nan_to_num(), mode, "border", align_corners=False)
    return moved.to(faces.dtype)


class Retouched(NamedTuple):
    """Faces whose pixels were moved and painted over."""

    faces: Tensor
    """(N, 3, S, S)."""
    flow: Tensor
    """Where each pixel was fetched, relative to its own place, (N, 2, S, S), the picture being 2 wide."""
    mask: Tensor
    """Share of each pixel that was painted over, (N, 1, S, S)."""


class Retouch(nn.Module):
    """Changes a face by moving its pixels and painting over them where a mask says so.

    Motion is decided at less than the side and enlarged. Paint is smoothed: what could change single pixels would be
    noise in a critic's blind spots; where networks decide on it at half the side besides, teeth and lips are one band
    and wide mouths end in dark blots. Fine detail is the source's own. Motion and the mask's outlines are curves, and
    as sharp in finer faces as in small ones. Paint is darker or lighter than its neighbourhood by a factor and has
    its hue, or a paler one: expressions cast shadows and bare teeth, and free colours ended as red lips on neutral
    faces. A grey face so stays grey, the teeth of a face in the shade are not white, and a dark face's open mouth is
    not cut off at black.

    Args:
        channels: of the features.
        coarse_channels: of the coarse features.

    Shape:
        - source: (N, 3, S, S), or the same faces in finer detail, which they keep: (N, 3, T, T), T >= S.
        - features: (N, channels, t, t), t being S or less: where mask and paint are decided.
        - coarse: (N, coarse_channels, s, s), where motion is decided: a face moves in patches, single pixels must not.
    """

    max_flow: ClassVar[float] = 0.25
    """Farthest that a pixel is moved, the picture being 2 wide."""
    max_shade: ClassVar[float] = 6.0
    """How many times as dark or as light as its neighbourhood paint can be: depths of open mouths are a sixth to a
    sixteenth as light as cheeks in photographs, the middle of what is seen in them half as light (a throwaway script).
    """
    max_logit: ClassVar[float] = 6.0
    """Of the mask: sure enough to show nothing of what is under the paint, and not so sure that outlines get steps."""

    def __init__(self, channels: int, coarse_channels: int) -> None:
        super().__init__()
        # 5×5 at the full side makes LSSL a sixth slower, and no better.
        self.paint = nn.Conv2d(channels, 2, 3, padding=1, bias=False)
        self.mask = nn.Conv2d(channels, 1, 3, padding=1)
        self.flow = nn.Conv2d(coarse_channels, 2, 3, padding=1)
        # The start is the source, barely painted over: from there the first updates already show a face.
        for parameter in self.flow.parameters():
            nn.init.zeros_(parameter)

    def forward(self, source: Tensor, features: Tensor, coarse: Tensor) -> Retouched:
        """Retouch source faces."""
        side = source.shape[-1]
        flow = self.max_flow * torch.tanh(self.flow(coarse).float())
        # Without this the cheapest motion is to shift the whole picture.
        flow = splined(flow - flow.mean((2, 3), keepdim=True), side)
        # A little motion is everywhere in a face, and bilinear weights would blur it all.
        moved = warp(source, flow, "bicubic")
        shade, colour = self.paint(features).float().chunk(2, 1)
        # Enlarged as shares, a mouth would have a blurred rim in finer faces.
        logits = self.max_logit * torch.tanh((self.mask(features).float() - 2) / self.max_logit)
        mask = torch.sigmoid(splined(logits, side))
        # Means over a neighbourhood have no detail to lose, and of a large face they would take most of the time. Here
        # black is 0: light falls on a face by multiplication.
        low = (scaled(moved, features.shape[-1]) + 1) / 2
        brightness = low.mean(1, keepdim=True)
        # Of the neighbourhood: lips that close over teeth take the colour of lips, not of teeth, and teeth are as
        # bright as the light that falls on the face lets them be.
        own = features.shape[-1]
        hue = mean_around(low - brightness, 2 * (own // 16) + 1)
        light = mean_around(brightness, 2 * (own // 8) + 1)
        shade = torch.exp(math.log(self.max_shade) * smoothed(torch.tanh(shade)))
        # The start is near to the neighbourhood's hue; twice as much of it made lips orange. Teeth are lighter than it,
        # not more colourful.
        hue = smoothed(torch.sigmoid(2 * colour + 2)) * shade.clamp(max=1) * hue
        paint = enlarged(2 * (shade * light + hue) - 1, side)
        return Retouched((1 - mask) * moved + mask * paint, flow, mask)


def mean_around(maps: Tensor, side: int) -> Tensor:
    """Mean over the square of an odd side, pixels, around every pixel of (N, C, H, W), as far as it is in the picture.

    Along one direction, then along the other: a fraction of the work. As products of matrices it is two to seven
    times faster than by pooling; in float64, which autocast leaves alone, and whose rounding hides what batch it was.
    """
    shares = []
    for length in maps.shape[-2:]:
        places = torch.arange(length, device=maps.device)
        near = ((places[:, None] - places).abs() <= side // 2).double()
        shares.append(near / near.sum(1, keepdim=True))
    return (shares[0] @ maps.double() @ shares[1].T).to(maps.dtype)


def smoothed(maps: Tensor) -> Tensor:
    """Average (N, C, H, W) with weights 1, 2, 1 along both sides, which takes out what alternates pixel by pixel."""
    # 1/4, 1/2, 1/4, counted on the device: numbers from the host would be waited for.
    weights = 0.5 - 0.25 * torch.arange(-1, 2, device=maps.device, dtype=maps.dtype).abs()
    kernel = (weights[:, None] * weights).expand(maps.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="replicate"), kernel, groups=maps.shape[1])


def splined(maps: Tensor, side: int) -> Tensor:
    """Enlarge control points (N, C, s, s) to the surfaces (N, C, side, side) of quadratic B-splines, in float32.

    Bilinear weights have kinks at control points: moved with these, the irises of wide eyes become diamonds.

    Source: Rueckert et al., "Nonrigid Registration Using Free-Form Deformations", IEEE TMI 1999, there cubic.
    """
    points = maps.shape[-1]
    # Points beyond the border are like those at it.
    surface = F.pad(maps.float(), (1, 1, 1, 1), mode="replicate")
    places = (torch.arange(side, device=maps.device)[:, None] + 0.5) * (points / side) + 0.5
    nearest = places.round()
    off = places - nearest
    weights = 0.5 * (0.5 - off).square(), 0.75 - off.square(), 0.5 * (0.5 + off).square()
    for _ in ("down", "across"):
        # A product of matrices would be cast where autocast is on, and rounded otherwise for another layout or batch.
        before, at, after = (surface.index_select(2, nearest[:, 0].long() + step) for step in (-1, 0, 1))
        surface = torch.addcmul(torch.addcmul(before * weights[0], at, weights[1]), after, weights[2])
        surface = surface.mT.contiguous()
    return surface


def enlarged(maps: Tensor, side: int) -> Tensor:
    """Enlarge (N, C, s, s) to (N, C, side, side), bilinear, in float32."""
    if maps.shape[-1] == side:
        return maps.float()
    return F.interpolate(maps.float(), size=(side, side), mode="bilinear", align_corners=False)


def enlarged_along(maps: Tensor, faces: Tensor, detailed: Tensor) -> Tensor:
    """Enlarge maps so that their edges fall on those of the faces that they belong to: a guided filter.

    Around every pixel the map is read as a linear function of the face's brightness, and to the interpolated map is
    added what that function makes of the finer face's detail; the source also smooths what brightness does not explain.

    Args:
        maps: (N, C, s, s).
        faces: (N, 3, s, s) in [-1, 1].
        detailed: the same faces in finer detail, (N, 3, S, S).

    Returns:
        (N, C, S, S) float32.

    Source: He & Sun, "Fast Guided Filter", 2015 (arXiv 1505.00996).
    """
    side, window = detailed.shape[-1], 3
    if maps.shape[-1] == side:
        return maps.float()
    maps, brightness = maps.float(), faces.float().mean(1, keepdim=True)
    means, mean = mean_around(maps, window), mean_around(brightness, window)
    variance = mean_around(brightness.square(), window) - mean.square()
    # Differences of brightness fainter than 0.1 are texture, which the map is not to follow.
    slope = (mean_around(brightness * maps, window) - mean * means) / (variance + 0.1**2)
    slope = mean_around(slope, window)
    detail = detailed.float().mean(1, keepdim=True) - enlarged(brightness, side)
    return enlarged(maps, side) + enlarged(slope, side) * detail


def scaled(faces: Tensor, side: int) -> Tensor:
    """Faces (N, C, H, W) at a side, (N, C, side, side); smaller ones are averaged, not sampled."""
    if faces.shape[-2:] == (side, side):
        return faces
    return F.interpolate(faces, (side, side), mode="bilinear", align_corners=False, antialias=True)


def augment_for_critic(samples: Tensor, strength: float = 1.0) -> Tensor:
    """Differentiable augmentation of what the critic sees, real and fake alike: colour, shift, cut-out.

    Args:
        samples: (N, C, H, W) in [-1, 1]; brightness, saturation and contrast touch the first three channels only.
        strength: 0 changes nothing, 1 is the source's.

    Returns:
        (N, C, H, W).

    Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020.
    """
    if strength == 0:
        return samples
    n, _, height, width = samples.shape
    device = samples.device

    def draw(low: float, high: float) -> Tensor:
        return drawn(torch.rand, (n, 1, 1, 1), device=device) * (high - low) + low

    colour, rest = samples[:, :3], samples[:, 3:]
    grey = colour.mean(1, keepdim=True)
    # Whatever the strength, saturation goes all the way to grey: else the critic reads expressions off the redness of
    # lips, and the generator paints them.
    colour = (colour - grey) * draw(0, 1 + strength) + grey
    mean = colour.mean((1, 2, 3), keepdim=True)
    colour = (colour - mean) * draw(1 - 0.5 * strength, 1 + 0.5 * strength) + mean + draw(-0.5, 0.5) * strength
    samples = torch.cat([colour, rest], 1)
    shift = torch.cat([draw(-1, 1), draw(-1, 1)], 1) * (0.25 * strength)
    samples = warp(samples, shift.expand(n, 2, height, width))
    # The hole is a product of two soft steps, so that no index arithmetic waits for the device.
    side = 0.5 * strength
    y = torch.linspace(-1, 1, height, device=device).view(1, 1, height, 1)
    x = torch.linspace(-1, 1, width, device=device).view(1, 1, 1, width)
    hole = ((y - draw(-1, 1)).abs() < side) & ((x - draw(-1, 1)).abs() < side)
    return samples * (~hole).to(samples.dtype)
