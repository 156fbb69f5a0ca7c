"""Whole pictures of the built-in head."""

from dataclasses import replace

import pytest
import torch

from augment.simulation.appearance import draw_appearance, dress
from augment.simulation.camera import Camera, aim, alignment_anchors, project
from augment.simulation.lighting import Lights, ambient_light, self_shadow
from augment.simulation.morphable import PARTS, FaceModel, load_face_model
from augment.simulation.rendering import render
from augment.simulation.surface import WRINKLES, Surface

SIZE = 48
BACKGROUND = (0.1, 0.9, 0.3)


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load_face_model(None)


@pytest.fixture(scope="module")
def surface(model: FaceModel) -> Surface:
    return draw_appearance(model, [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)])


def lights(count: int, direction: tuple[float, float, float], even: float = 0.2) -> Lights:
    toward = torch.tensor(direction) / torch.tensor(direction).norm()
    none = torch.zeros(count, 0, 3)
    return Lights(
        toward.expand(count, 1, 3),
        torch.full((count, 1, 3), 0.8),
        ambient_light(none, none, torch.full((count, 3), even)),
    )


def camera(model: FaceModel, vertices: torch.Tensor, yaw: float = 0.0) -> Camera:
    pose = torch.tensor([[yaw, 0.0, 0.0]]).expand(len(vertices), 3)
    return aim(alignment_anchors(vertices[:, model.landmarks]), pose, torch.full((len(vertices),), 80.0))


def picture(model: FaceModel, surface: Surface, **options) -> torch.Tensor:
    """Faces at rest before a green wall."""
    count = len(surface)
    vertices = options.pop("vertices", model.vertices.expand(count, -1, -1))
    stand = camera(model, vertices, options.pop("yaw", 0.0))
    light = options.pop("light", lights(count, (0.3, 0.5, 0.8)))
    wall = torch.tensor(BACKGROUND)[None, :, None, None].expand(count, 3, SIZE, SIZE)
    dressed, clothed = dress(model, vertices, surface)
    return render(dressed, clothed, surface, stand, light, wall, SIZE, **options)


def test_a_picture_is_linear_light_with_the_background_where_no_head_is(model, surface):
    seen = picture(model, surface, yaw=25.0)
    assert seen.shape == (3, 3, SIZE, SIZE)
    assert torch.isfinite(seen).all()
    assert float(seen.min()) >= 0
    wall = torch.tensor(BACKGROUND)[:, None, None]
    same = (seen - wall).abs().amax(1) < 1e-6
    assert same.flatten(1).float().mean(1).min() > 0.03
    # The face is in the middle.
    assert not same[:, SIZE // 3 : 2 * SIZE // 3, SIZE // 3 : 2 * SIZE // 3].any()


def test_a_face_alone_is_the_face_of_the_batch(model, surface):
    together = picture(model, surface, shadow=self_shadow(model))
    for number in range(3):
        alone = picture(model, surface.select([number]), shadow=self_shadow(model))
        assert (alone[0] - together[number]).abs().max() < 1e-4


def test_the_side_toward_the_lamp_is_brighter(model, surface):
    left, right = (picture(model, surface, light=lights(3, (x, 0.2, 0.5))) for x in (-1.0, 1.0))
    cheeks = slice(SIZE // 2, 5 * SIZE // 8)
    west, east = slice(SIZE // 4, 3 * SIZE // 8), slice(5 * SIZE // 8, 3 * SIZE // 4)
    for seen, bright, dark in ((left, west, east), (right, east, west)):
        means = [seen[:, :, cheeks, part].flatten(1).mean(1) for part in (bright, dark)]
        assert (means[0] > 1.2 * means[1]).all()


def test_shadows_only_take_light_away_and_most_where_a_socket_is(model, surface):
    above = lights(3, (0.0, 1.0, 0.4))
    plain = picture(model, surface, light=above)
    shadowed = picture(model, surface, light=above, shadow=self_shadow(model))
    assert float((shadowed - plain).max()) < 1e-3
    share = shadowed.sum(1) / plain.sum(1)
    vertices = model.vertices[None]
    points, _ = project(vertices, camera(model, vertices), SIZE)
    column, row = points[0, model.landmarks[[33, 51]], :2].mean(0).long().tolist()
    forehead = share[:, SIZE // 8 : SIZE // 5, SIZE // 2 - 3 : SIZE // 2 + 3].mean()
    assert share[:, row - 1 : row + 2, column - 1 : column + 2].mean() < forehead - 0.05


def test_folds_change_the_skin_and_stronger_ones_more(model, surface):
    rest, half, full = (
        picture(model, surface, folds=torch.full((3, len(WRINKLES)), strength)) for strength in (0.0, 0.5, 1.0)
    )
    change = [(seen - rest).abs().mean() for seen in (half, full)]
    assert change[1] > 1.3 * change[0] > 0


def test_more_samples_agree_on_average_and_have_softer_edges(model, surface):
    coarse, fine = (picture(model, surface, supersampling=count) for count in (1, 4))
    assert (coarse - fine).mean().abs() < 0.005
    assert (coarse - fine).abs().mean() < 0.05
    wall = torch.tensor(BACKGROUND)[:, None, None]

    def steepest(seen: torch.Tensor) -> torch.Tensor:
        return (seen - wall).abs().sum(1).diff(dim=2).abs().flatten(1).topk(20).values.mean()

    assert steepest(fine) < steepest(coarse)


def test_a_head_without_eyes_shows_its_dark_inside_and_not_the_wall_behind_it(model, surface):
    eyeless = model.parts[model.triangles].ne(PARTS.index("eyeball")).all(1)
    holes = replace(model, triangles=model.triangles[eyeless])
    seen = picture(holes, surface)
    whole = picture(model, surface)
    changed = (seen - whole).abs().sum(1) > 0.02
    assert changed.any()
    wall = torch.tensor(BACKGROUND)[:, None, None]
    assert ((seen - wall).abs().sum(1)[changed] > 0.3).all()
    assert seen.sum(1)[changed].mean() < whole.sum(1)[changed].mean()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graphics_card_gives_the_same_picture(model, surface):
    vertices = model.vertices.expand(3, -1, -1)
    wall = torch.full((3, 3, SIZE, SIZE), 0.5)
    here = render(model, vertices, surface, camera(model, vertices), lights(3, (0.3, 0.5, 0.8)), wall, SIZE)
    there = render(
        model.to("cuda"),
        vertices.cuda(),
        surface.to("cuda"),
        camera(model, vertices).to("cuda"),
        lights(3, (0.3, 0.5, 0.8)).to("cuda"),
        wall.cuda(),
        SIZE,
    )
    assert (here - there.cpu()).abs().mean() < 1e-4
