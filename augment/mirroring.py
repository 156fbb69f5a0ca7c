"""Networks that answer a face and its mirror image alike, by what their weights are.

The channels of every hidden layer come in twins, two by two: what one says of a face, the other says of its mirror
image. Networks that began as any others are brought there by averaging each weight with the one that would do the same
in the mirror; it costs nothing when they run.

Source: Cohen & Welling, "Group Equivariant Convolutional Networks", ICML 2016, for the group of the mirror alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from augment.networks import ResidualBlock, Retouch, UpStage


class Channels(NamedTuple):
    """What becomes of the channels of a map x when the face is mirrored: x.flip(-1)[:, places] * signs."""

    places: Tensor
    """(C,) int64, its own inverse."""
    signs: Tensor
    """(C,), 1 or -1."""

    def and_then(self, other: Channels) -> Channels:
        """These channels, and others behind them."""
        return Channels(torch.cat([self.places, other.places + len(self.places)]), torch.cat([self.signs, other.signs]))

    def unshuffled(self) -> Channels:
        """The channels that a pixel shuffle by two makes these of: of each four pixels, whose columns change places."""
        corners = torch.arange(4, device=self.places.device) ^ 1
        return Channels((4 * self.places[:, None] + corners).flatten(), self.signs.repeat_interleave(4))


def still(layer: nn.Conv2d, count: int) -> Channels:
    """Channels that stay what they are: colours, a mask, a condition; on the device of a layer, as all here."""
    return Channels(_numbers(layer, count), _ones(layer, count))


def twins(layer: nn.Conv2d | nn.InstanceNorm2d, count: int) -> Channels:
    """Channels that are twins, each with its neighbour; of an odd number the last is its own."""
    # Neighbours, so that the first channels of a wider layer are those of a narrower one: trainings begin with these.
    return Channels((_numbers(layer, count) ^ 1).clamp(max=count - 1), _ones(layer, count))


def flow(layer: nn.Conv2d) -> Channels:
    """Those of a motion: to the right becomes to the left."""
    return Channels(_numbers(layer, 2), 2.0 * _numbers(layer, 2) - 1)


# Counted on the device: numbers from the host would be waited for in every step.
def _numbers(layer: nn.Module, count: int) -> Tensor:
    return torch.arange(count, device=next(layer.parameters()).device)


def _ones(layer: nn.Module, count: int) -> Tensor:
    return torch.ones(count, device=next(layer.parameters()).device)


@torch.no_grad()
def mirror(layer: nn.Conv2d, given: Channels, made: Channels) -> None:
    """Bring a convolution to the nearest that answers mirror images alike, in place.

    Args:
        layer: of any kernel; of an odd side and stride 1, or an even side and stride 2, padded the same on both sides.
        given: its channels in.
        made: its channels out.
    """
    seen = layer.weight.flip(-1)[made.places][:, given.places]
    layer.weight.lerp_(made.signs[:, None, None, None] * given.signs[:, None, None] * seen, 0.5)
    if layer.bias is not None:
        layer.bias.lerp_(made.signs * layer.bias[made.places], 0.5)


@torch.no_grad()
def mirror_norm(layer: nn.InstanceNorm2d) -> None:
    """The same for the scales and shifts of an instance norm of twins."""
    places = twins(layer, layer.num_features).places
    for values in (layer.weight, layer.bias):
        values.lerp_(values[places], 0.5)


def mirror_layers(layers: Iterable[nn.Module], given: Channels) -> Channels:
    """The same for layers one after the other: convolutions, instance norms, residual blocks, stages that double the
    side, and what has no weights.

    Args:
        layers: in their order.
        given: the channels that come in; those of every layer go out as twins.

    Returns:
        The channels that go out.
    """
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            made = twins(layer, layer.out_channels)
            mirror(layer, given, made)
            given = made
        elif isinstance(layer, nn.InstanceNorm2d):
            mirror_norm(layer)
        elif isinstance(layer, ResidualBlock):
            mirror_layers(layer.layers, given)
        elif isinstance(layer, UpStage):
            convolution, _, norm, _ = layer.layers
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.InstanceNorm2d)
            made = twins(convolution, layer.out_channels)
            mirror(convolution, given, made.unshuffled())
            mirror_norm(norm)
            given = made
        elif any(True for _ in layer.parameters()):
            raise TypeError(f"{type(layer).__name__} has weights that nothing here mirrors")
    return given


def mirror_retouch(retouch: Retouch) -> None:
    """The same for what decides on motion, mask and paint, from twins."""
    for layer, made in (
        (retouch.paint, still(retouch.paint, 2)),
        (retouch.mask, still(retouch.mask, 1)),
        (retouch.flow, flow(retouch.flow)),
    ):
        mirror(layer, twins(layer, layer.in_channels), made)
