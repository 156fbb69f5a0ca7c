"""Weights that answer mirror images alike."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from augment.mirroring import Channels, mirror, mirror_layers, mirror_retouch, still, twins
from augment.networks import ResidualBlock, Retouch, UpStage


def in_the_mirror(maps: torch.Tensor, channels: Channels) -> torch.Tensor:
    return maps.flip(-1)[:, channels.places]


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(1, 9),
    classes=st.integers(0, 3),
    shape=st.sampled_from([(3, 1, 1), (5, 1, 2), (1, 1, 0), (4, 2, 1), (2, 2, 0)]),
    seed=st.integers(0, 1000),
)
def test_layers_one_after_the_other_answer_mirror_images_alike(width, classes, shape, seed):
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(3 + classes, width, *shape),
        nn.InstanceNorm2d(width, affine=True),
        nn.ReLU(),
        ResidualBlock(width),
        UpStage(width, width + 1),
        nn.Conv2d(width + 1, 4, 3, padding=1),
    )
    for parameter in layers.parameters():
        nn.init.normal_(parameter)
    maps = torch.randn(2, 3 + classes, 8, 8)
    before = layers(maps)
    going_out = mirror_layers(layers, still(layers[0], 3 + classes))
    made = layers(maps)
    torch.testing.assert_close(layers(maps.flip(-1)), in_the_mirror(made, going_out), atol=1e-3, rtol=1e-3)
    assert (made - before).abs().max() > 0


def test_it_is_the_nearest_and_being_there_it_stays():
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 4, 3)
    weights = layer.weight.detach().clone()
    mirror(layer, twins(layer, 4).and_then(still(layer, 2)), twins(layer, 4))
    there = layer.weight.detach().clone()
    mirror(layer, twins(layer, 4).and_then(still(layer, 2)), twins(layer, 4))
    torch.testing.assert_close(layer.weight.detach(), there)
    # An orthogonal projection: what was taken off is at right angles to all that stayed.
    assert abs(float(((weights - there) * there).sum())) < 1e-4
    assert (weights - there).abs().max() > 0.01


@torch.no_grad()
def test_motion_to_the_right_becomes_motion_to_the_left():
    torch.manual_seed(0)
    retouch = Retouch(6, 5)
    for parameter in retouch.parameters():
        nn.init.normal_(parameter)
    mirror_retouch(retouch)
    source = torch.rand(2, 3, 32, 32) * 2 - 1
    features, coarse = torch.randn(2, 6, 32, 32), torch.randn(2, 5, 8, 8)
    made = retouch(source, features, coarse)
    twin = retouch(
        source.flip(-1), in_the_mirror(features, twins(retouch.paint, 6)), in_the_mirror(coarse, twins(retouch.flow, 5))
    )
    torch.testing.assert_close(twin.faces, made.faces.flip(-1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        twin.flow, made.flow.flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(twin.mask, made.mask.flip(-1), atol=1e-4, rtol=1e-4)


def test_weights_of_another_kind_are_not_passed_over():
    with pytest.raises(TypeError, match="Linear has weights"):
        mirror_layers([nn.Linear(2, 2)], twins(nn.Conv2d(2, 2, 1), 2))
