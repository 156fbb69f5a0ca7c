"""Light on samples against closed forms, and the parts of a painted eye."""

import math

import pytest
import torch

from augment.simulation.lighting import Lights, ambient_light, sphere
from augment.simulation.shading import Material, dot, eye_colours, shade, unit

COUNT = 300


def ball() -> torch.Tensor:
    """Normals all around, (1, 3, 1, COUNT)."""
    return sphere(COUNT).t()[None, :, None]


def material(translucency: float = 0.0, gloss: float = 0.0, exponent: float = 20.0) -> Material:
    plane = torch.ones(1, 1, 1, COUNT)
    albedo = torch.tensor([0.6, 0.4, 0.2])[None, :, None, None] * plane
    return Material(albedo, translucency * plane, gloss * plane, exponent * plane)


def lamp(direction: tuple[float, float, float], even: float = 0.0) -> Lights:
    toward = torch.tensor([[direction]]) / torch.tensor(direction).norm()
    none = torch.zeros(1, 0, 3)
    return Lights(toward, torch.tensor([[[2.0, 1.0, 0.5]]]), ambient_light(none, none, torch.full((1, 3), even)))


def lit_ball(of: Material, lights: Lights, free: float = 1.0, openness: float = 1.0) -> torch.Tensor:
    view = torch.tensor([0.0, 0, 1])[None, :, None, None].expand(1, 3, 1, COUNT)
    plane = torch.ones(1, 1, 1, COUNT)
    return shade(of, ball(), view, free * plane, openness * plane, lights)[0, :, 0]


def test_a_matt_surface_sends_back_the_cosine():
    lights = lamp((0.6, 0.3, 0.7))
    cosine = (sphere(COUNT) @ lights.direction[0, 0]).clamp(min=0)
    expected = torch.tensor([[1.2], [0.4], [0.1]]) * cosine
    torch.testing.assert_close(lit_ball(material(), lights), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(lit_ball(material(), lights, free=0.25), expected / 4, rtol=1e-5, atol=1e-6)


def test_ambient_light_is_weighed_by_openness():
    dark = Lights(torch.zeros(1, 0, 3), torch.zeros(1, 0, 3), lamp((0, 0, 1.0), even=0.5).ambient)
    view = torch.tensor([0.0, 0, 1])[None, :, None, None].expand(1, 3, 1, COUNT)
    plane = torch.ones(1, 1, 1, COUNT)
    seen = shade(material(), ball(), view, plane[:, :0], 0.4 * plane, dark)[0, :, 0]
    torch.testing.assert_close(seen, torch.tensor([[0.12], [0.08], [0.04]]).expand(3, COUNT), rtol=1e-4, atol=1e-5)


def test_light_wraps_around_skin_red_first():
    lights = Lights(torch.tensor([[[1.0, 0, 0]]]), torch.ones(1, 1, 3), torch.zeros(1, 9, 3))
    share = lit_ball(material(translucency=1), lights) / torch.tensor([[0.6], [0.4], [0.2]])
    x = sphere(COUNT)[:, 0]
    beyond = (x < -0.02) & (x > -0.08)
    assert (share[0, beyond] > share[1, beyond]).all()
    assert (share[1, beyond] > share[2, beyond]).all()
    assert share[:, x < -0.31].abs().max() == 0
    # In a shadow a little red light is left.
    hidden = lit_ball(material(translucency=1), lights, free=0.0)[:, x > 0.5]
    assert (hidden[0] > 3 * hidden[2]).all()


def test_a_highlight_stands_half_way_between_lamp_and_camera_and_smooth_ones_are_smaller_and_brighter():
    lights = lamp((0.8, 0.0, 0.6))
    half = torch.tensor([0.8, 0.0, 1.6])
    half = half / half.norm()
    rough, smooth = (
        lit_ball(material(gloss=1, exponent=e), lights)[1] - lit_ball(material(), lights)[1] for e in (10, 200)
    )
    distance = torch.rad2deg(torch.acos((sphere(COUNT) @ half).clamp(-1, 1)))
    for highlight in (rough, smooth):
        assert distance[highlight.argmax()] < 12
        assert float(highlight.min()) >= 0
    assert smooth.max() > 3 * rough.max()
    assert smooth[distance > 20].max() < 0.01 * rough[distance > 20].max()


def test_planes_of_vectors():
    a = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(dot(a, a), (a * a).sum(1, keepdim=True))
    torch.testing.assert_close(unit(a).norm(dim=1), torch.ones(2, 4, 5))
    assert (unit(torch.zeros(1, 3, 1, 1)) == 0).all()


def test_an_eye_has_a_black_pupil_a_coloured_iris_a_dark_ring_and_a_white():
    # Distances from the middle along a turn of the eye, in radii of the iris (0.59 cm of 7.54 cm).
    def at(radius: float) -> torch.Tensor:
        angle = torch.arange(64) / 64 * 2 * math.pi
        place = 0.5 + radius * 0.59 / 7.54 * torch.stack([angle.cos(), angle.sin()], 1)
        return eye_colours(
            place, torch.full((64, 3), 0.8), torch.tensor([[0.1, 0.2, 0.4]]).expand(64, 3), torch.full((64,), 0.4)
        )

    assert at(0.2).max() < 0.01
    iris = at(0.7)
    assert iris.mean(0).tolist() == pytest.approx([0.1, 0.2, 0.4], rel=0.35)
    assert iris[:, 1].std() > 0.005
    assert at(0.9).mean() < 0.7 * iris.mean()
    torch.testing.assert_close(at(1.15), torch.full((64, 3), 0.8))
    corner = at(2.2)
    assert (corner[:, 0] > corner[:, 1] + 0.1).all()
