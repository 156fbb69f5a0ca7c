"""What people look like: their skin, hair and glasses, and how a face is dressed in them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from augment.simulation.appearance import (
    MONK_SCALE,
    WRINKLES,
    AppearanceSettings,
    _part_colours,
    draw_appearance,
    dress,
    paint,
)
from augment.simulation.hair import scalp_vertices
from augment.simulation.head import built_in_head
from augment.simulation.layout import layout
from augment.simulation.morphable import PARTS
from augment.simulation.people import HAIR_STYLES, draw_person
from augment.simulation.skin import cheek
from augment.simulation.surface import Surface

SMALL = AppearanceSettings(texture_size=96)


def generators(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + number) for number in range(count)]


@pytest.fixture(scope="module")
def model():
    return built_in_head()


@pytest.fixture(scope="module")
def crowd(model) -> Surface:
    return draw_appearance(model, generators(24), SMALL)


def tensors(surface: Surface) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(surface).items() if isinstance(value, torch.Tensor)}


def lab(linear_rgb: np.ndarray) -> np.ndarray:
    """CIELAB by OpenCV, from linear RGB (N, 3)."""
    srgb = np.where(linear_rgb <= 0.0031308, 12.92 * linear_rgb, 1.055 * linear_rgb ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(srgb[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]


def cheek_colour(model, surface: Surface) -> np.ndarray:
    """Mean albedo of both cheeks, (N, 3)."""
    grid = layout(model, surface.texture.shape[-1])
    x, y = cheek(grid)
    spots = np.rint(grid.pixels(np.array([[x, y], [-x, y]]))).astype(int)
    patches = [surface.texture[:, :, row - 2 : row + 3, column - 2 : column + 3] for column, row in spots.tolist()]
    return torch.stack(patches).mean((0, 3, 4)).numpy()


def test_teeth_and_whites_of_eyes_are_lighter_than_skin_and_go_with_it(model):
    teeth, skins, whites = [], [], []
    for tone in (1.0, 3.0, 7.0, 10.0):
        settings = replace(SMALL, spread=0)
        person = replace(draw_person(torch.Generator().manual_seed(0), settings), tone=tone)
        colours = _part_colours(person)
        teeth.append(colours[PARTS.index("teeth")])
        skins.append(colours[PARTS.index("skin")])
        whites.append(colours[PARTS.index("eyeball")])
    assert all(t.mean() > 1.3 * s.mean() for t, s in zip(teeth, skins, strict=True))
    assert all(w.mean() > s.mean() for w, s in zip(whites, skins, strict=True))
    # Beside pale skin teeth are lightened as much as it is; the rest goes with skin's 0.3th power.
    paleness = [float(s.mean()) / 0.4 for s in skins]
    np.testing.assert_allclose(teeth[0] / teeth[1], paleness[0] / paleness[1], rtol=1e-5)
    np.testing.assert_allclose(teeth[2] / teeth[3], (paleness[2] / paleness[3]) ** 0.3, rtol=1e-5)
    for w in whites[1:]:
        np.testing.assert_allclose(w / whites[0], (w.mean() / whites[0].mean()), rtol=1e-4)
    np.testing.assert_allclose(whites[0] / whites[3], (paleness[0] / paleness[3]) ** 0.3, rtol=1e-5)
    assert max(t.max() for t in teeth) <= 1


@pytest.mark.parametrize("number", range(1, 11))
def test_cheek_has_the_monk_tone_that_the_description_names(model, number):
    average = draw_person(torch.Generator().manual_seed(0), AppearanceSettings(spread=0))
    people = paint(model, [replace(average, tone=float(number))], 96)
    assert people.describe()[0]["monk_tone"] == number
    swatches = np.array([[int(tone[i : i + 2], 16) for i in (1, 3, 5)] for tone in MONK_SCALE]) / 255
    linear = np.where(swatches <= 0.04045, swatches / 12.92, ((swatches + 0.055) / 1.055) ** 2.4)
    # A swatch is lit by a lamp of strength 1 / 0.75, see SWATCH_EXPOSURE.
    seen = lab(np.clip(cheek_colour(model, people) / 0.75, 0, 1))[0]
    distance = np.linalg.norm(lab(linear) - seen, axis=1)
    assert abs(int(distance.argmin()) + 1 - number) <= 1
    assert distance[number - 1] < 12


def test_every_monk_tone_is_equally_frequent():
    people = [draw_person(generator, AppearanceSettings()) for generator in generators(2000)]
    counts = np.bincount([min(max(round(person.tone), 1), 10) for person in people], minlength=11)[1:]
    low, high = binom.interval(1 - 1e-6, 2000, 0.1)
    assert counts.min() >= low
    assert counts.max() <= high


def test_wide_spread_keeps_covering_the_scale_without_piling_up_at_its_ends():
    people = [draw_person(generator, AppearanceSettings(spread=2.0)) for generator in generators(2000)]
    counts = np.bincount([min(max(round(person.tone), 1), 10) for person in people], minlength=11)[1:]
    assert counts.min() > 120
    assert counts.max() < 290


def test_average_person_is_the_same_on_both_sides_and_for_every_generator(model):
    people = draw_appearance(model, generators(2, first=5), replace(SMALL, spread=0.0))
    # The mean face's landmarks are measured on a mesh, so the halves agree up to interpolation.
    apart = (people.texture - people.texture.flip(3)).abs()
    assert apart.mean() < 2e-3
    assert apart.flatten().quantile(0.999) < 0.08
    assert (people.wrinkles - people.wrinkles.flip(3)).abs().mean() < 2e-3
    assert torch.equal(people.texture[0], people.texture[1])
    assert people.describe()[0]["glasses"] == "none"


def test_a_person_depends_on_the_generator_alone_and_not_on_the_batch(model, crowd):
    alone = draw_appearance(model, generators(1, first=7), SMALL)
    for name, value in tensors(alone).items():
        assert torch.equal(value[0], tensors(crowd)[name][7]), name
    assert alone.describe()[0] == crowd.describe()[7]


def test_people_differ(crowd):
    flat = crowd.texture.flatten(1)
    assert torch.pdist(flat).min() > 1.0


def test_more_people_with_glasses_change_nothing_else_about_anyone():
    few = [draw_person(generator, AppearanceSettings(glasses=0.0)) for generator in generators(50)]
    all_wear = [draw_person(generator, AppearanceSettings(glasses=1.0)) for generator in generators(50)]
    assert {person.glasses for person in few} == {"none"}
    assert all(person.glasses != "none" for person in all_wear)
    assert [replace(person, glasses="none") for person in all_wear] == few


def test_every_value_is_finite_and_in_its_range(model):
    for spread in (0.0, 1.0, 3.0):
        people = draw_appearance(model, generators(8, first=40), replace(SMALL, spread=spread))
        for name, value in tensors(people).items():
            assert value.dtype == torch.float32, name
            assert len(value) == 8, name
            assert torch.isfinite(value).all(), name
        for name in ("texture", "shine", "wrinkles", "age_lines", "part_colours", "iris", "specular"):
            assert tensors(people)[name].min() >= 0, name
            assert tensors(people)[name].max() <= 1, name
        assert people.pupil.min() >= 0.2
        assert people.pupil.max() <= 0.6
        assert people.roughness.min() >= 0.2
        assert people.roughness.max() <= 0.8
    assert people.texture.shape == (8, 3, 96, 96)
    assert people.wrinkles.shape == (8, len(WRINKLES), 96, 96)
    assert people.part_colours.shape == (8, len(PARTS), 3)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**62), spread=st.floats(0, 4))
def test_drawn_traits_are_finite_and_possible_for_every_seed_and_spread(seed, spread):
    person = draw_person(torch.Generator().manual_seed(seed), AppearanceSettings(spread=spread))
    numbers = [value for value in vars(person).values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()
    assert 0.5 <= person.tone <= 10.5
    assert person.hair_style in HAIR_STYLES
    assert all(0 < part < 1 for part in (*person.hair, *person.iris))


@pytest.mark.parametrize("share", [0.12, 0.5])
def test_shares_are_kept(share):
    settings = AppearanceSettings(glasses=share, beards=share, makeup=share, bald=share)
    people = [draw_person(generator, settings) for generator in generators(1500)]
    men = [person for person in people if person.masculine > 0.5]
    women = [person for person in people if person.masculine <= 0.5]

    def check(hits: int, trials: int, expected: float) -> None:
        low, high = binom.interval(1 - 1e-6, trials, expected)
        assert low <= hits <= high

    check(len(men), 1500, 0.5)
    check(sum(person.glasses != "none" for person in people), 1500, share)
    check(sum(person.beard_style != "none" for person in men), len(men), share)
    check(sum(person.hair_style in ("bald", "horseshoe") for person in men), len(men), share)
    # Who wears make-up has at least one of three kinds; all three are left out with 0.4 * 0.4 * 0.65.
    made_up = sum(bool(person.lipstick or person.eyeliner or person.eyeshadow) for person in women)
    check(made_up, len(women), share * (1 - 0.4 * 0.4 * 0.65))


def test_dressing_keeps_the_model_s_own_vertices_triangles_and_parts(model, crowd):
    vertices = model.vertices.expand(len(crowd), -1, -1)
    dressed, clothed = dress(model, vertices, crowd)
    own, triangles = len(model.vertices), len(model.triangles)
    assert torch.equal(dressed.triangles[:triangles], model.triangles)
    assert torch.equal(dressed.parts[:own], model.parts)
    assert torch.equal(dressed.landmarks, model.landmarks)
    assert dressed.triangles.max() < clothed.shape[1]
    assert dressed.triangles.min() >= 0
    assert len(dressed.parts) == len(dressed.texture_coordinates) == len(dressed.vertices) == clothed.shape[1]
    assert torch.isfinite(clothed).all()
    assert dressed.texture_coordinates.min() >= 0
    assert dressed.texture_coordinates.max() <= 1


def test_landmarks_stay_where_they_are_under_hair_and_glasses(model, crowd):
    vertices = model.vertices.expand(len(crowd), -1, -1)
    _, clothed = dress(model, vertices, crowd)
    marks = model.landmarks[17:]
    assert torch.equal(clothed[:, marks], vertices[:, marks])


def test_hair_moves_only_scalp_vertices_and_outward_except_for_ears(model, crowd):
    moved = crowd.hair.norm(dim=2) > 0
    assert not moved[:, ~scalp_vertices(model)].any()
    assert crowd.hair.norm(dim=2).max() < 12
    styles = np.array([person["hair"] for person in crowd.describe()])
    assert not moved[torch.from_numpy(styles == "bald")].any()
    short = torch.from_numpy(np.isin(styles, ["short", "fringe", "buzz", "tied", "afro"]))
    middle = model.vertices.new_tensor([0.0, 2.0, -7.5])
    away = model.vertices - middle
    away[:, 1] = away[:, 1].clamp(min=0)
    assert ((crowd.hair[short] * away).sum(2) >= -1e-4).all()


def test_glasses_sit_before_the_eyes_and_reach_the_ears_and_are_hidden_where_none_are_worn(model):
    both = [draw_appearance(model, generators(1, first=3), replace(SMALL, glasses=share)) for share in (0.0, 1.0)]
    shown = []
    for surface in both:
        dressed, clothed = dress(model, model.vertices[None], surface)
        shown.append(clothed[0, dressed.parts == PARTS.index("glasses")])
    bare, worn = shown
    assert (bare - bare[0]).abs().max() == 0
    assert bare[0, 2] < model.vertices[model.landmarks[36:48], 2].min() - 3
    eyes = model.vertices[model.landmarks[36:48]]
    rims = worn[worn[:, 2] > eyes[:, 2].max()]
    assert rims[:, 1].max() > eyes[:, 1].max() + 0.5
    assert rims[:, 1].min() < eyes[:, 1].min() - 0.5
    assert worn[:, 2].min() < model.vertices[model.landmarks[[0, 16]], 2].max()
    assert abs(float(worn[:, 0].max() + worn[:, 0].min())) < 0.3


def test_triangles_of_glasses_face_outward(model):
    surface = draw_appearance(model, generators(1, first=3), replace(SMALL, glasses=1.0))
    dressed, clothed = dress(model, model.vertices[None], surface)
    frame = dressed.parts[dressed.triangles[:, 0]] == PARTS.index("glasses")
    a, b, c = (clothed[0, dressed.triangles[frame, corner]].double() for corner in range(3))
    # The volume inside closed tubes is positive if they are wound counter-clockwise; open ends hardly matter.
    volume = (a * torch.linalg.cross(b, c)).sum(1) / 6
    rim = len(volume) // 4
    assert volume[:rim].sum() > 0
    assert volume.sum() > 0


def test_expressions_deepen_the_folds_that_they_make(crowd):
    names = ["browInnerUp", "browOuterUpLeft", "browOuterUpRight", "noseSneerLeft", "noseSneerRight"]
    rest = crowd.wrinkle_strength(torch.zeros(24, 5), names)
    raised = crowd.wrinkle_strength(torch.tensor([[1.0, 1, 1, 0, 0]]).expand(24, -1), names)
    assert torch.equal(rest, crowd.age_lines)
    changed = [name for name, column in zip(WRINKLES, (raised > rest).all(0), strict=True) if column]
    assert changed == ["forehead"]
    assert ((raised >= 0) & (raised <= 1)).all()
    darker = crowd.albedo(raised)
    assert (darker <= crowd.albedo(rest) + 1e-6).all()
    assert darker.sum() < crowd.albedo(rest).sum()


def test_selected_people_are_copies_in_the_asked_order(crowd):
    chosen = crowd.select([5, 2, 5])
    assert len(chosen) == 3
    assert torch.equal(chosen.texture[0], crowd.texture[5])
    assert torch.equal(chosen.texture[1], crowd.texture[2])
    assert torch.equal(chosen.glasses[2], crowd.glasses[5])
    assert chosen.describe() == [crowd.describe()[5], crowd.describe()[2], crowd.describe()[5]]
