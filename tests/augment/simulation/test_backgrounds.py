"""What is behind faces."""

import torch

from augment.simulation.backgrounds import background


def generators(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + number) for number in range(count)]


def test_backgrounds_are_linear_rgb_in_range():
    pictures = background(generators(60), 48)
    assert pictures.shape == (60, 3, 48, 48)
    assert pictures.dtype == torch.float32
    assert torch.isfinite(pictures).all()
    assert pictures.min() >= 0
    assert pictures.max() <= 1


def test_a_background_depends_on_its_generator_alone():
    together, alone = background(generators(6), 48), background(generators(1, first=4), 48)
    assert torch.equal(together[4], alone[0])


def test_a_background_is_the_same_scene_at_every_size():
    small, large = background(generators(20), 32), background(generators(20), 64)
    averaged = torch.nn.functional.avg_pool2d(large, 2)
    assert (averaged - small).abs().mean() < 0.03


def test_backgrounds_vary_in_lightness_colour_and_texture():
    pictures = background(generators(200), 32)
    lightness = pictures.mean((1, 2, 3))
    assert lightness.quantile(0.1) < 0.1
    assert lightness.quantile(0.9) > 0.35
    rough = pictures.std((2, 3)).mean(1)
    assert rough.quantile(0.1) < 0.05
    assert rough.quantile(0.9) > 0.1
    saturation = pictures.mean((2, 3)).amax(1) - pictures.mean((2, 3)).amin(1)
    assert saturation.quantile(0.9) > 0.05
