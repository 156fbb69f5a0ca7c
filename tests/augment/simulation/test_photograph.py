"""Each effect of the camera alone, against what it should do to numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from augment.simulation.photograph import CameraEffects, blur, face_mask, from_srgb, photograph, to_srgb


def none(count: int) -> CameraEffects:
    """No effect at all."""
    zero = torch.zeros(count)
    return CameraEffects(
        exposure=torch.ones(count),
        white_balance=torch.ones(count, 3),
        blur=zero,
        vignette=zero,
        shot_noise=zero,
        read_noise=zero,
        contrast=torch.ones(count),
        quality=zero,
        grey=torch.zeros(count, dtype=torch.bool),
    )


def generators(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + number) for number in range(count)]


def ramp(side: int = 16, most: float = 0.7) -> torch.Tensor:
    return torch.linspace(0, most, side).expand(1, 3, side, side).clone()


def test_srgb_has_the_standards_values_and_is_undone():
    # IEC 61966-2-1: linear 0.5 is 188 of 255, 0.18 is 118, 0.001 is 3.29.
    light = torch.tensor([0.0, 0.001, 0.18, 0.5, 1.0])
    torch.testing.assert_close(to_srgb(light) * 255, torch.tensor([0, 3.2946, 117.65, 187.52, 255]), rtol=0, atol=0.1)
    torch.testing.assert_close(from_srgb(to_srgb(light)), light, rtol=1e-4, atol=1e-6)


def test_without_effects_light_below_the_shoulder_is_encoded_and_nothing_else():
    torch.testing.assert_close(photograph(ramp(), none(1), generators(1)), 2 * to_srgb(ramp()) - 1)


def test_highlights_keep_their_order_and_do_not_clip():
    light = torch.tensor([0.7, 0.8, 1.0, 1.5, 2.0])[None, None, None].expand(1, 3, 5, 5)
    seen = photograph(light, none(1), generators(1))[0, 0, 0]
    assert (seen.diff() > 0).all()
    assert seen[-1] < 1


def test_contrast_is_a_factor_on_differences_from_the_mean_of_the_face():
    light = from_srgb(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4)
    even = (photograph(light, none(1), generators(1)) + 1) / 2
    seen = (photograph(light, replace(none(1), contrast=torch.tensor([2.0])), generators(1)) + 1) / 2
    mean = even.mean(1)[0][face_mask(64)].mean()
    torch.testing.assert_close(seen, mean + 2 * (even - mean), rtol=0, atol=1e-5)


def test_the_face_lies_where_alignment_puts_it():
    inside = face_mask(100)
    assert inside.float().mean() == pytest.approx(np.pi * 0.28 * 0.36, abs=0.005)
    assert inside[53, 50]
    assert inside[53, 25]
    assert not inside[53, 20]
    assert not inside[10, 50]


def test_exposure_and_white_balance_are_factors():
    effects = replace(none(1), exposure=torch.tensor([0.5]), white_balance=torch.tensor([[1.2, 1.0, 0.8]]))
    seen = from_srgb((photograph(ramp(), effects, generators(1)) + 1) / 2)
    expected = ramp() * torch.tensor([0.6, 0.5, 0.4])[:, None, None]
    torch.testing.assert_close(seen, expected, rtol=1e-3, atol=1e-5)


def test_blur_is_gaussian_each_picture_its_own():
    pictures = torch.rand(3, 2, 40, 40, generator=torch.Generator().manual_seed(0))
    sigma = [0.0, 1.0, 3.0]
    blurred = blur(pictures, torch.tensor(sigma))
    assert torch.equal(blurred[0], pictures[0])
    for number in (1, 2):
        expected = gaussian_filter(
            pictures[number].double().numpy(), (0, sigma[number], sigma[number]), mode="nearest", truncate=6
        )
        # Ours integrates over pixels, SciPy's samples: as if the sigma were a root of a twelfth wider.
        np.testing.assert_allclose(blurred[number].numpy(), expected, atol=0.06 / sigma[number])
    torch.testing.assert_close(blur(torch.ones(3, 1, 9, 9), torch.tensor(sigma)), torch.ones(3, 1, 9, 9))


def test_the_vignette_takes_its_share_in_the_corners_and_nothing_in_the_middle():
    light = torch.full((1, 3, 101, 101), 0.5)
    seen = from_srgb((photograph(light, replace(none(1), vignette=torch.tensor([0.4])), generators(1)) + 1) / 2)
    assert seen[0, 0, 50, 50] == pytest.approx(0.5, abs=1e-3)
    assert seen[0, 0, 0, 0] == pytest.approx(0.3, abs=0.01)


def test_noise_has_the_strength_that_is_asked_for_and_belongs_to_the_picture():
    light = torch.full((2, 3, 128, 128), 0.25)
    effects = replace(none(2), shot_noise=torch.full((2,), 0.04), read_noise=torch.full((2,), 0.01))
    seen = photograph(light, effects, generators(2))
    # sqrt(0.04^2 * 0.25 + 0.01^2)
    assert from_srgb((seen + 1) / 2).std() == pytest.approx(0.02236, rel=0.03)
    assert not torch.equal(seen[0], seen[1])
    one = replace(none(1), shot_noise=effects.shot_noise[:1], read_noise=effects.read_noise[:1])
    alone = photograph(light[:1], one, generators(1, 1))
    torch.testing.assert_close(alone[0], seen[1])


def test_a_grey_picture_has_three_equal_channels_and_keeps_its_luma():
    light = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 0.7
    effects = replace(none(2), grey=torch.tensor([True, False]), quality=torch.tensor([80.0, 80.0]))
    grey, colour = photograph(light, effects, generators(2))
    assert (grey == grey[:1]).all()
    assert (colour - colour[:1]).abs().max() > 0.3
    luma = (to_srgb(light[0]) * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    assert ((grey[0] + 1) / 2 - luma).abs().mean() < 0.03


def test_pictures_stay_in_range_however_bright():
    light = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 50
    effects = replace(none(1), read_noise=torch.tensor([0.5]), quality=torch.tensor([20.0]))
    seen = photograph(light, effects, generators(1))
    assert float(seen.min()) >= -1
    assert float(seen.max()) <= 1
    assert torch.isfinite(seen).all()
