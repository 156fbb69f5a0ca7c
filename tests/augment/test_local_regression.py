"""The closed form against a plain solve of every pixel."""

import time

import pytest
import torch
from torch.nn import functional as F

from augment.local_regression import LocalRegression, LocalRidge


def solve(sources: torch.Tensor, targets: torch.Tensor, side: int, penalty: float = 0.4) -> torch.Tensor:
    ridge = LocalRidge(tuple(sources.shape[1:]), side)
    ridge.add(sources, targets)
    return ridge.solve(penalty)


def pictures(n: int, channels: int, height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("side", [1, 3, 5, 7])
def test_regression_equals_a_plain_solve_of_every_pixel(side):
    sources, targets = pictures(12, 2, 9, 11, 0), pictures(12, 2, 9, 11, 1)
    weights = solve(sources, targets, side)
    half = side // 2
    for channel in range(2):
        for y in range(9):
            for x in range(11):
                # Only the taps inside the picture, in reading order, then the bias.
                inside = [
                    (dy, dx)
                    for dy in range(-half, half + 1)
                    for dx in range(-half, half + 1)
                    if 0 <= y + dy < 9 and 0 <= x + dx < 11
                ]
                design = torch.stack([sources[:, channel, y + dy, x + dx] for dy, dx in inside], 1)
                design = torch.cat([design, torch.ones(12, 1)], 1)
                gram = design.T @ design + 0.4 * torch.eye(len(inside) + 1, dtype=torch.float64)
                plain = torch.linalg.solve(gram, design.T @ targets[:, channel, y, x])
                found = weights[:, channel, y, x]
                places = [(dy + half) * side + dx + half for dy, dx in inside]
                torch.testing.assert_close(found[[*places, -1]], plain, atol=1e-6, rtol=0)
                assert found.abs().sum() == pytest.approx(found[[*places, -1]].abs().sum())


def test_pairs_added_in_parts_are_the_same_regression():
    sources, targets = pictures(9, 1, 8, 8, 0), pictures(9, 1, 8, 8, 1)
    ridge = LocalRidge((1, 8, 8), 3)
    ridge.add(sources[:4], targets[:4])
    ridge.add(sources[4:], targets[4:])
    torch.testing.assert_close(ridge.solve(0.4), solve(sources, targets, 3))


def test_a_linear_change_within_the_window_is_found_and_applied():
    # Each target pixel is half its left neighbour, a quarter of itself and a bias.
    sources = pictures(400, 3, 8, 8, 0)
    left = F.pad(sources, (1, 0))[..., :-1]
    regression = LocalRegression(2, 8, 3)
    regression.set_weights(1, solve(sources, 0.5 * left + 0.25 * sources + 0.1, 3, penalty=1e-6))
    new = pictures(5, 3, 8, 8, 2)
    wanted = 0.5 * F.pad(new, (1, 0))[..., :-1] + 0.25 * new + 0.1
    condition = torch.tensor([[0.0, 1.0]]).expand(5, 2)
    found = regression((new * 2 - 1).float(), condition)
    torch.testing.assert_close(found, (wanted * 2 - 1).float(), atol=1e-4, rtol=0)
    # A blend of both expressions is the blend of what they give; the other is not fitted, and so the source.
    half = regression((new * 2 - 1).float(), torch.full((5, 2), 0.5))
    torch.testing.assert_close(half, (wanted + new - 1).float(), atol=1e-4, rtol=0)


def test_toned_regressions_change_faces_of_every_light_and_contrast_alike():
    regression = LocalRegression(2, 16, 3, toned=True)
    torch.manual_seed(0)
    weights = 0.05 * torch.randn(10, 3, 16, 16, dtype=torch.float64)
    weights[4] += 1
    regression.set_weights(1, weights)
    condition = torch.tensor([[0.0, 1.0]]).expand(5, 2)
    faces = (pictures(5, 3, 16, 16, 0).float() - 0.5) * 1.2
    found = regression(faces, condition) - faces
    # Half as much contrast in another light: the same change, half as strong.
    darker = regression(0.5 * faces - 0.2, condition) - (0.5 * faces - 0.2)
    assert found.abs().mean() > 0.01
    torch.testing.assert_close(darker, 0.5 * found, atol=1e-5, rtol=0)
    # Without, the change would be another; and an expression that is not fitted leaves faces alone.
    plain = LocalRegression(2, 16, 3)
    plain.load_state_dict(regression.state_dict())
    assert not torch.allclose(plain(0.5 * faces - 0.2, condition) - (0.5 * faces - 0.2), 0.5 * found, atol=1e-2)
    torch.testing.assert_close(regression(faces, condition.flip(1)), faces)


def test_two_hundred_pairs_of_128_pixels_take_at_most_a_second_a_channel():
    sources, targets = torch.rand(200, 3, 128, 128), torch.rand(200, 3, 128, 128)
    began = time.process_time()
    solve(sources, targets, 3)
    # Time of the processor, whatever else runs here: less than two cores spend in a second, for each of 3 channels.
    assert time.process_time() - began < 3 * 2
