"""Ambient light against integrals over the sphere, and shadows where something stands in the light."""

import math

import numpy as np
import torch
from scipy.special import sph_harm_y

from augment.simulation.behaviour import expression_array
from augment.simulation.head import built_in_head
from augment.simulation.lighting import _BARED, _WIDE, _free, ambient_light, harmonics, lips_apart, self_shadow, sphere
from augment.simulation.morphable import PARTS, FaceModel


def ball_and_plate() -> FaceModel:
    """A plate that faces +z, one square of 10 cm, finely divided, and a smaller one 3 cm before its middle."""
    side = torch.linspace(-5, 5, 21)
    y, x = torch.meshgrid(side, side, indexing="ij")
    plate = torch.stack([x, y, torch.zeros_like(x)], -1).view(-1, 3)
    row, column = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    first = (row * 21 + column).view(-1)
    triangles = torch.cat(
        [torch.stack([first, first + 1, first + 21], 1), torch.stack([first + 1, first + 22, first + 21], 1)]
    )
    roof = torch.tensor([[-1.5, -1.5, 3], [1.5, -1.5, 3], [1.5, 1.5, 3], [-1.5, 1.5, 3]])
    vertices = torch.cat([plate, roof])
    triangles = torch.cat([triangles, torch.tensor([[0, 1, 2], [0, 2, 3]]) + len(plate)])
    count = len(vertices)
    return FaceModel(
        name="plate",
        vertices=vertices,
        triangles=triangles,
        identity=torch.zeros(0, count, 3),
        expression=torch.zeros(0, count, 3),
        expression_names=(),
        parts=torch.zeros(count, dtype=torch.long),
        landmarks=torch.zeros(68, dtype=torch.long),
        texture_coordinates=torch.zeros(count, 2),
    )


def test_harmonics_are_those_of_scipy():
    x, y, z = sphere(50).T.numpy().astype(np.float64)
    polar, around = np.arccos(z), np.arctan2(y, x)
    expected = []
    for order in range(3):
        for m in range(-order, order + 1):
            value = sph_harm_y(order, abs(m), polar, around)
            real = value.real if m >= 0 else value.imag
            expected.append(real * (1 if m == 0 else (-1) ** m * math.sqrt(2)))
    np.testing.assert_allclose(harmonics(sphere(50)).T.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(harmonics(sphere(50).T, 0).numpy(), expected, atol=1e-5)


def test_even_light_is_the_same_for_every_normal():
    even = torch.tensor([[0.2, 0.5, 0.9]])
    ambient = ambient_light(torch.zeros(1, 0, 3), torch.zeros(1, 0, 3), even)
    torch.testing.assert_close(harmonics(sphere(40)) @ ambient[0], even.expand(40, 3), rtol=1e-4, atol=1e-4)


def test_a_soft_source_lights_like_the_cosine():
    toward = torch.tensor([[[0.6, 0.0, 0.8]]])
    ambient = ambient_light(toward, torch.tensor([[[1.0, 0.5, 0.0]]]), torch.zeros(1, 3))
    light = harmonics(sphere(400)) @ ambient[0]
    cosine = (sphere(400) @ toward[0, 0]).clamp(min=0)
    # Orders 0 to 2 are 1/4 + cos / 2 + 5 (3 cos^2 - 1) / 32: 3/32 above the cosine at the terminator, nowhere more.
    assert (light[:, 0] - cosine).abs().max() < 0.094
    torch.testing.assert_close(light[:, 1], light[:, 0] / 2)
    assert light[:, 2].abs().max() == 0


def test_directions_cover_the_sphere_evenly():
    directions = sphere(80)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(80))
    assert directions.mean(0).abs().max() < 0.01
    torch.testing.assert_close(directions.T @ directions / 80, torch.eye(3) / 3, rtol=0, atol=0.01)


def test_a_roof_shades_what_is_behind_it_as_seen_from_the_lamp():
    model = ball_and_plate()
    shadow = self_shadow(model)
    assert self_shadow(model) is shadow
    front, aside = torch.tensor([0.0, 0, 1]), torch.tensor([0.8, 0.0, 0.6])
    lit = shadow.toward(torch.stack([front, aside])[None], torch.zeros(1))[0]
    assert lit.shape == (len(model.vertices), 2)
    assert float(lit.min()) >= 0
    assert float(lit.max()) <= 1 + 1e-5
    x, y = model.vertices[:-4, 0], model.vertices[:-4, 1]
    # Straight on, the shadow is in the middle; with the lamp to the right it falls 3 * 0.8 / 0.6 = 4 cm to the left.
    middle, left = (x.abs() < 0.8) & (y.abs() < 0.8), ((x + 4).abs() < 0.8) & (y.abs() < 0.8)
    corner = (x.abs() > 4) & (y.abs() > 4)
    assert lit[:-4][middle, 0].mean() < 0.35
    assert lit[:-4][corner, 0].mean() > 0.95
    # A lamp is about as wide as the roof seen from there, so the shadow that falls aslant is half a shadow.
    assert lit[:-4][left, 1].mean() < 0.7
    assert lit[:-4][(x > 1) & (x < 4), 1].mean() > 0.9


def test_openness_is_the_share_of_the_sky_that_is_free():
    model = ball_and_plate()
    openness = self_shadow(model).openness[:-4]
    x, y = model.vertices[:-4, 0], model.vertices[:-4, 1]
    centre = (x.abs() < 0.6) & (y.abs() < 0.6)
    # A square of half-side a at distance d hides of the cosine-weighted half-space 4 / pi * h / sqrt(1 + h^2) *
    # atan(h / sqrt(1 + h^2)) with h = a / d, from a point below its middle: 0.24 for 1.5 at 3 cm.
    h = 0.5
    slant = math.sqrt(1 + h * h)
    hidden = 4 / math.pi * h / slant * math.atan(h / slant)
    assert abs(float(openness[centre].mean()) - (1 - hidden)) < 0.08
    assert float(openness[(x.abs() > 4.4) & (y.abs() > 4.4)].mean()) > 0.95


def part_of(model, *names):
    return torch.isin(model.parts, torch.tensor([PARTS.index(name) for name in names]))


def test_lips_that_part_let_light_onto_the_teeth_and_those_far_apart_onto_what_is_behind_and_onto_nothing_else():
    model = built_in_head()
    shadow, front = self_shadow(model), torch.tensor([[[0.0, 0.0, 1.0]]])
    closed, bared, wide = (shadow.toward(front, torch.tensor([apart]))[0, :, 0] for apart in (0.0, 0.4, 2.0))
    incisors = part_of(model, "teeth") & (model.vertices[:, 0].abs() < 1) & (model.vertices[:, 2] > 1.2)
    assert bared[incisors].mean() > closed[incisors].mean() + 0.2
    torch.testing.assert_close(wide[incisors], bared[incisors])
    tongue = part_of(model, "tongue")
    assert wide[tongue].max() > closed[tongue].max() + 0.2
    torch.testing.assert_close(bared[tongue] - closed[tongue], (wide[tongue] - closed[tongue]) / 5)
    outside = ~part_of(model, "teeth", "gums", "tongue", "mouth")
    torch.testing.assert_close(wide[outside], closed[outside])
    half = shadow.open_to(torch.tensor([0.0, 0.2, 0.4]))
    torch.testing.assert_close(half[1], (half[0] + half[2]) / 2)


def test_even_light_arrives_inside_the_mouth_again_and_again():
    model = built_in_head()
    shadow = self_shadow(model)
    for names, shapes, albedo in ((("teeth", "gums"), _BARED, 0.7), (("tongue", "mouth"), _WIDE, 0.4)):
        chosen = part_of(model, *names)
        once = _free(model, shapes, shadow.directions)[1][chosen]
        # What is hidden from the light sends a part of what arrived there back, of which again a part arrives.
        summed = sum(once * (albedo * (1 - once)) ** bounce for bounce in range(200))
        opened = shadow.open_to(torch.tensor([3.0]))[0, chosen]
        torch.testing.assert_close(opened, summed)
        assert (opened >= once).all()
        assert opened.max() <= 1 + 1e-6


def test_lips_come_apart_as_the_mouth_is_bared_or_opened_and_not_as_it_smiles_closed():
    model = built_in_head()

    def apart(**shapes: float) -> float:
        expression = expression_array([shapes], model.expression_names)
        return float(lips_apart(model, model.shape(torch.zeros(1, 0), expression)))

    assert apart() < 0.04
    assert apart(mouthSmileLeft=1.0, mouthSmileRight=1.0) < 0.12
    bared = {f"{name}{side}": 0.8 for name in ("mouthUpperUp", "mouthLowerDown") for side in ("Left", "Right")}
    assert apart(**bared) > 0.4
    assert apart(jawOpen=0.8) > 2
