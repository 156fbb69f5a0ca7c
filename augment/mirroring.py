"""Networks that answer a face and its mirror image alike, by what their weights are.

The channels of every hidden layer come in twins, two by two: what one says of a face, the other says of its mirror
image. Networks that began as any others are brought there by averaging each weight with the one that would do the same
in the mirror; it costs nothing when they run.

Source: Cohen & Welling, "Group Equivariant Convolutional Networks", ICML 2016, for the group of the mirror alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from augment.networks import PlainResidualBlock, ResidualBlock, Retouch, UpStage


class Channels(NamedTuple):
    """What becomes of the channels of a map x when the face is mirrored: x.flip(-1)[:, places]."""

    places: Tensor
    """(C,) int64, its own inverse."""

    def and_then(self, other: Channels) -> Channels:
        """These channels, and others behind them."""
        return Channels(torch.cat([self.places, other.places + len(self.places)]))

    def flattened(self, side: int) -> Channels:
        """The features that maps of these, of a side, are flattened to, or come of; for a side of 2 also the channels
        that a pixel shuffle by two makes these of: of each four pixels, columns change places."""
        pixels = torch.arange(side**2, device=self.places.device).view(side, side).flip(1).flatten()
        return Channels((side**2 * self.places[:, None] + pixels).flatten())


@runtime_checkable
class Mirrored(Protocol):
    """A part of a network that brings its own weights there."""

    def mirror(self, given: Channels) -> Channels:
        """Do so for the channels that come in; give those that go out."""
        ...


def still(layer: nn.Module, count: int) -> Channels:
    """Channels that stay what they are: colours, a mask, a condition; on the device of a layer, as all here."""
    # Counted on the device: numbers from the host would be waited for in every step.
    return Channels(torch.arange(count, device=next(layer.parameters()).device))


def twins(layer: nn.Module, count: int) -> Channels:
    """Channels that are twins, each with its neighbour; of an odd number the last is its own."""
    # Neighbours, so that the first channels of a wider layer are those of a narrower one: trainings begin with these.
    return Channels((still(layer, count).places ^ 1).clamp(max=count - 1))


@torch.no_grad()
def mirror(layer: nn.Conv2d | nn.Linear, given: Channels, made: Channels, signs: Tensor | None = None) -> None:
    """Bring a layer to the nearest that answers mirror images alike, in place.

    Args:
        layer: dense, or a convolution of an odd side and stride 1 or an even side and stride 2, padded the same on both
            sides.
        given: its channels or features in.
        made: its channels or features out.
        signs: those that features out take besides when the face is mirrored, (C,), 1 or -1; None for all 1.
    """
    if isinstance(layer, nn.Conv2d):
        given = given.flattened(layer.kernel_size[0])
    seen = layer.weight.flatten(1).index_select(0, made.places).index_select(1, given.places)
    layer.weight.lerp_((seen if signs is None else signs[:, None] * seen).view_as(layer.weight), 0.5)
    if layer.bias is not None:
        seen = layer.bias[made.places]
        layer.bias.lerp_(seen if signs is None else signs * seen, 0.5)


@torch.no_grad()
def mirror_norm(layer: nn.InstanceNorm2d | nn.GroupNorm) -> None:
    """The same for the scales and shifts of a norm of twins, whose groups part no twins."""
    places = twins(layer, len(layer.weight)).places
    for values in (layer.weight, layer.bias):
        values.lerp_(values[places], 0.5)


def mirror_layers(layers: Iterable[nn.Module], given: Channels) -> Channels:
    """The same for layers one after the other: convolutions, with pixel shuffles by two behind them, norms, residual
    blocks, stages that double the side, what brings its own weights there, sequences of these, and what has no weights.

    Args:
        layers: in their order.
        given: the channels that come in; those of every layer go out as twins.

    Returns:
        The channels that go out.
    """
    for layer, after in pairwise([*layers, nn.Identity()]):
        if isinstance(layer, nn.Conv2d) and isinstance(after, nn.PixelShuffle):
            made = twins(layer, layer.out_channels // 4)
            mirror(layer, given, made.flattened(2))
            given = made
        elif isinstance(layer, nn.Conv2d):
            made = twins(layer, layer.out_channels)
            mirror(layer, given, made)
            given = made
        elif isinstance(layer, nn.InstanceNorm2d | nn.GroupNorm):
            mirror_norm(layer)
        elif isinstance(layer, ResidualBlock | PlainResidualBlock | UpStage):
            given = mirror_layers(layer.layers, given)
        elif isinstance(layer, nn.Sequential):
            given = mirror_layers(layer, given)
        elif isinstance(layer, Mirrored):
            given = layer.mirror(given)
        elif any(True for _ in layer.parameters()):
            raise TypeError(f"{type(layer).__name__} has weights that nothing here mirrors")
    return given


def mirror_retouch(retouch: Retouch) -> None:
    """The same for what decides on motion, mask and paint, from twins."""
    for layer in (retouch.paint, retouch.mask, retouch.flow):
        made = still(layer, layer.out_channels)
        # Motion to the right becomes motion to the left.
        signs = 2.0 * made.places - 1 if layer is retouch.flow else None
        mirror(layer, twins(layer, layer.in_channels), made, signs)


@torch.no_grad()
def regain(module: nn.Module) -> None:
    """Give weights without norms, just drawn and mirrored, their scale back: the mean of two has less."""
    for weights in module.parameters():
        if weights.ndim > 1:
            weights.mul_(2**0.5)
