"""The rasteriser against closed forms, a plain loop in exact arithmetic, and itself in other orders."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, Delaunay

from augment.simulation.rasterizer import SUBPIXELS, interpolate, rasterize, vertex_normals

SIDE = 12


def plain(points: np.ndarray, triangles: np.ndarray, height: int, width: int, cull: bool) -> np.ndarray:
    """Number of the nearest triangle at every centre, with one loop a triangle and a sample, in fractions."""
    best = np.full((height, width), -1)
    nearest: dict[tuple[int, int], Fraction] = {}
    for number, corners in enumerate(triangles):
        x = [Fraction(int(np.rint(points[c, 0] * SUBPIXELS)), SUBPIXELS) for c in corners]
        y = [Fraction(int(np.rint(points[c, 1] * SUBPIXELS)), SUBPIXELS) for c in corners]
        z = [Fraction(float(points[c, 2])) for c in corners]
        # Twice the area with y upwards: positive when counter-clockwise.
        area = -((x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0]))
        if area == 0 or (cull and area < 0):
            continue
        sign = 1 if area > 0 else -1
        for row in range(height):
            for column in range(width):
                px, py = Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2)
                shares, inside = [], True
                for i in range(3):
                    a, b = (i + 1) % 3, (i + 2) % 3
                    dx, dy = sign * (x[b] - x[a]), sign * (y[b] - y[a])
                    edge = dy * (px - x[a]) - dx * (py - y[a])
                    # Left edges go down, top edges go left, when the triangle is walked around counter-clockwise.
                    owned = dy > 0 or (dy == 0 and dx < 0)
                    inside &= edge > 0 or (edge == 0 and owned)
                    shares.append(edge / abs(area))
                if inside:
                    depth = 1 / sum(share / far for share, far in zip(shares, z, strict=True))
                    if (row, column) not in nearest or depth < nearest[row, column]:
                        nearest[row, column] = depth
                        best[row, column] = number
    return best


def square(size: float, depth: float = 5.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two triangles that show their fronts."""
    points = torch.tensor([[0, 0, depth], [size, 0, depth], [size, size, depth], [0, size, depth]])
    return points[None], torch.tensor([[0, 3, 1], [1, 3, 2]])


# Quarters and halves of pixels, so that corners and edges often lie exactly on centres.
coordinate = st.integers(-8, 4 * SIDE + 8).map(lambda value: value / 4)


@settings(max_examples=40)
@given(st.lists(st.tuples(coordinate, coordinate, st.integers(1, 9)), min_size=3, max_size=9), st.booleans())
def test_the_nearest_triangle_is_the_one_that_exact_arithmetic_finds(corners, cull):
    points = np.array(corners, np.float32)
    # No two triangles cross at equal depth: every corner has its own.
    points[:, 2] += np.arange(len(points)) * 0.37
    triangles = np.array([(i, i + 1, i + 2) for i in range(len(points) - 2)])
    raster = rasterize(torch.from_numpy(points)[None], torch.from_numpy(triangles), SIDE, SIDE, cull)
    expected = plain(points, triangles, SIDE, SIDE, cull)
    found = raster.triangle[0].numpy()
    np.testing.assert_array_equal(found >= 0, expected >= 0)
    # Where surfaces meet, rounding may choose either; everywhere else the choice is the same.
    differ = found != expected
    if differ.any():
        every = torch.from_numpy(points)[None]
        only = [rasterize(every, torch.from_numpy(triangles[[n]]), SIDE, SIDE, cull) for n in range(len(triangles))]
        for row, column in np.argwhere(differ):
            a, b = (only[n[row, column]].depth[0, row, column] for n in (found, expected))
            assert a == pytest.approx(float(b), rel=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(4, 40))
def test_a_triangulated_plane_covers_every_sample_exactly_once(seed, count):
    rng = np.random.default_rng(seed)
    corners = np.array([[-3, -3], [SIDE + 3, -3], [SIDE + 3, SIDE + 3], [-3, SIDE + 3]])
    # On the grid of eighths, many points and edges hit centres.
    points = np.unique(np.concatenate([corners, rng.integers(0, 8 * SIDE, (count, 2)) / 8]), axis=0)
    triangles = Delaunay(points).simplices
    flat = torch.from_numpy(np.c_[points, np.full(len(points), 3.0)]).float()[None]
    times = sum(
        (rasterize(flat, torch.from_numpy(t[None]).long(), SIDE, SIDE, cull=False).triangle >= 0).int()
        for t in triangles
    )
    assert (times == 1).all()


def test_a_triangle_covers_as_many_samples_as_its_area():
    for legs in (0.4, 3.7, 40.0, 250.0):
        points = torch.tensor([[[1.3, 1.2, 4], [1.3, 1.2 + legs, 4], [1.3 + legs, 1.2, 4]]])
        covered = (rasterize(points, torch.tensor([[0, 1, 2]]), 256, 256).triangle >= 0).sum()
        assert abs(float(covered) - legs**2 / 2) <= 1.5 * legs + 1


def test_depth_is_that_of_the_plane_seen_in_perspective():
    # The plane z = 10 + 0.5 X seen by a pinhole of focal length 100 px: x = 100 X / z + 32.
    world = torch.tensor([[-6.0, -5.0], [-6.0, 9.0], [9.0, -5.0], [9.0, 9.0]])
    depth = 10 + 0.5 * world[:, 0]
    points = torch.cat([(100 * world / depth[:, None] + 32), depth[:, None]], 1)[None]
    raster = rasterize(points, torch.tensor([[0, 1, 2], [2, 1, 3]]), 64, 64)
    # X = (x - 32) z / 100 put into the plane: z = 10 / (1 - 0.5 (x - 32) / 100).
    centres = torch.arange(64) + 0.5
    expected = (10 / (1 - 0.5 * (centres - 32) / 100)).expand(64, 64)
    assert (raster.triangle >= 0).all()
    torch.testing.assert_close(raster.depth[0], expected, rtol=2e-4, atol=0)
    # And what lies on the plane is interpolated as the plane is, not as the picture is.
    seen = interpolate(world, torch.tensor([[0, 1, 2], [2, 1, 3]]), raster)[0]
    torch.testing.assert_close(seen[..., 0], (centres - 32).expand(64, 64) * expected / 100, rtol=0, atol=5e-3)
    torch.testing.assert_close(raster.weights.sum(-1), torch.ones(1, 64, 64))


def test_of_coincident_triangles_the_lower_number_is_seen_wherever_it_stands():
    points, _ = square(8)
    same = torch.tensor([[0, 3, 1]] * 5)
    assert rasterize(points, same, 8, 8).triangle.unique().tolist() == [-1, 0]


def test_order_of_triangles_changes_their_numbers_only():
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(2, 90, 3, generator=generator) * torch.tensor([40.0, 40.0, 9.0]) + torch.tensor([-4.0, -4.0, 1])
    triangles = torch.randperm(90, generator=generator).view(30, 3)
    order = torch.randperm(30, generator=generator)
    first = rasterize(points, triangles, 32, 32, cull=False)
    second = rasterize(points, triangles[order], 32, 32, cull=False)
    torch.testing.assert_close(first.depth, second.depth, rtol=0, atol=0)
    named = torch.where(second.triangle >= 0, order[second.triangle.clamp(min=0)], -1)
    assert torch.equal(first.triangle, named)


def test_each_picture_of_a_batch_is_as_if_alone():
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(3, 60, 3, generator=generator) * torch.tensor([20.0, 24.0, 5.0]) + torch.tensor([0.0, 0, 2])
    triangles = torch.arange(60).view(20, 3)
    together = rasterize(points, triangles, 24, 20)
    for number in range(3):
        for whole, alone in zip(together, rasterize(points[number : number + 1], triangles, 24, 20), strict=True):
            torch.testing.assert_close(whole[number], alone[0])


def test_backs_are_left_out_only_when_culled():
    points, triangles = square(6)
    assert (rasterize(points, triangles.flip(1), 6, 6).triangle == -1).all()
    assert (rasterize(points, triangles.flip(1), 6, 6, cull=False).triangle >= 0).all()


def test_what_is_behind_the_camera_or_outside_of_the_picture_is_not_seen():
    points, triangles = square(6)
    for shift in ([0, 0, -5], [0, 0, -9], [6, 0, 0], [0, -6, 0], [1e6, 0, 0], [float("nan"), 0, 0]):
        raster = rasterize(points + torch.tensor(shift), triangles, 6, 6)
        assert (raster.triangle == -1).all()
        assert torch.isinf(raster.depth).all()
        assert (raster.weights == 0).all()


def test_no_triangles_give_an_empty_picture():
    raster = rasterize(torch.zeros(2, 0, 3), torch.zeros(0, 3, dtype=torch.long), 4, 5)
    assert raster.triangle.shape == (2, 4, 5)
    assert (raster.triangle == -1).all()


def test_values_are_spread_per_picture_or_for_all_and_are_zero_where_nothing_is():
    points, triangles = square(4)
    points = points.expand(2, -1, -1)
    raster = rasterize(points, triangles, 6, 6)
    values = torch.rand(2, 4, 7, generator=torch.Generator().manual_seed(3))
    own, shared = interpolate(values, triangles, raster), interpolate(values[0], triangles, raster)
    torch.testing.assert_close(own[0], shared[0])
    assert (own[:, 4:] == 0).all()
    # Flat and at one depth, so linear: corners 0, 1 and 3 are the square's origin and axes.
    x, y = 1.5 / 4, 2.5 / 4
    corner = values[1]
    expected = corner[0] + x * (corner[1] - corner[0]) + y * (corner[3] - corner[0])
    torch.testing.assert_close(own[1, 2, 1], expected)


def test_normals_of_a_sphere_point_away_from_its_middle():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    triangles = ConvexHull(points).simplices
    a, b, c = (points[triangles[:, i]] for i in range(3))
    inwards = (np.cross(b - a, c - a) * a).sum(1) < 0
    triangles[inwards] = triangles[inwards][:, ::-1]
    normals = vertex_normals(torch.from_numpy(points).float()[None], torch.from_numpy(triangles).long())[0].numpy()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert (normals * points).sum(1).min() > 0.98


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graphics_card_gives_the_same_picture():
    generator = torch.Generator().manual_seed(4)
    points = torch.rand(4, 3000, 3, generator=generator) * torch.tensor([64.0, 64.0, 9.0]) + torch.tensor([0.0, 0, 1])
    triangles = torch.arange(3000).view(1000, 3)
    here = rasterize(points, triangles, 64, 64)
    there = rasterize(points.cuda(), triangles.cuda(), 64, 64)
    assert (here.triangle != there.triangle.cpu()).float().mean() < 1e-4
    torch.testing.assert_close(here.depth, there.depth.cpu(), rtol=1e-4, atol=0)
