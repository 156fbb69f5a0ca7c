import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from augment.landmarks import FACE_49, REGIONS, heat_maps, inside_polygon, region_maps


def test_there_are_49_different_points_and_every_region_point_is_on_the_mesh():
    assert len(set(FACE_49)) == 49
    assert all(0 <= p < 478 for outlines in REGIONS.values() for outline in outlines for p in outline)
    assert all(0 <= p < 478 for p in FACE_49)


def test_heat_map_equals_the_sum_of_gaussians_drawn_pixel_by_pixel():
    size, sigma = 16, 0.08
    points = torch.tensor([[[0.3, -0.4], [-0.5, 0.25]]])
    plain = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            for x, y in points[0].tolist():
                px, py = (x + 1) / 2 * size - 0.5, (y + 1) / 2 * size - 0.5
                plain[row, column] += np.exp(-((column - px) ** 2 + (row - py) ** 2) / (2 * (sigma * size) ** 2))
    clamped = np.minimum(plain, 1) * 2 - 1
    np.testing.assert_allclose(heat_maps(points, size, sigma, True)[0, 0].numpy(), clamped, atol=1e-5)
    plain = (plain - plain.min()) / (plain.max() - plain.min()) * 2 - 1
    np.testing.assert_allclose(heat_maps(points, size, sigma, False)[0, 0].numpy(), plain, atol=1e-5)


@given(st.lists(st.tuples(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9)), min_size=3, max_size=9), st.integers(5, 24))
def test_inside_polygon_agrees_with_a_plain_crossing_count(corners, size):
    # Off the pixel grid, so that rounding cannot put a centre on an edge in one implementation only.
    corners = [(round(x, 3) + 0.00037, round(y, 3) + 0.00053) for x, y in corners]
    mask = inside_polygon(torch.tensor([corners], dtype=torch.float64), size)[0]
    for row in range(size):
        for column in range(size):
            x, y = (column + 0.5) * 2 / size - 1, (row + 0.5) * 2 / size - 1
            inside = False
            for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
                if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                    inside = not inside
            assert bool(mask[row, column]) == inside


def test_region_map_of_a_convex_outline_equals_opencv():
    angle = torch.linspace(0, 2 * np.pi, 37)[:-1]
    landmarks = torch.zeros(1, 478, 2)
    oval = torch.stack([0.6 * angle.cos(), 0.8 * angle.sin()], 1)
    landmarks[0, list(REGIONS["skin"][0])] = oval
    size = 128
    ours = (region_maps(landmarks, size)[0] == 1).numpy()
    canvas = np.zeros((size, size), np.uint8)
    pixels = ((oval.numpy() + 1) / 2 * size - 0.5) * 16
    cv2.fillPoly(canvas, [np.round(pixels).astype(np.int32)], 1, shift=4)
    # OpenCV paints the pixels that an edge touches as well; the rest must agree.
    assert np.mean(ours != canvas.astype(bool)) < 0.02
    assert ours.mean() == pytest.approx(np.pi * 0.6 * 0.8 / 4, rel=0.02)
