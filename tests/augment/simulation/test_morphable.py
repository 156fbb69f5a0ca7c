"""A linear face model does what its formula says, and its textures are laid out as promised."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from augment.simulation.eyeballs import EYE_TEXTURE_EXTENT, GAZE_DEGREES, eye_centre, eye_coordinates, gaze_displacement
from augment.simulation.morphable import (
    AXIS_DEPTH,
    EXPRESSION_NAMES,
    TEXTURE_BOTTOM,
    TEXTURE_TOP,
    FaceModel,
    load_face_model,
    wrapped_coordinates,
)
from emoaug import EmoaugError


def tiny_model(seed: int = 0) -> FaceModel:
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.randn(5, 3, generator=generator)
    return FaceModel(
        name="tiny",
        vertices=vertices,
        triangles=torch.tensor([[0, 1, 2], [2, 3, 4]]),
        identity=torch.randn(3, 5, 3, generator=generator),
        expression=torch.randn(2, 5, 3, generator=generator),
        expression_names=("jawOpen", "mouthPucker"),
        parts=torch.zeros(5, dtype=torch.int64),
        landmarks=torch.zeros(68, dtype=torch.int64),
        texture_coordinates=wrapped_coordinates(vertices),
    )


def sphere(centre: tuple[float, float, float], radius: float, count: int = 400) -> torch.Tensor:
    """The front half of a sphere, its pupil first."""
    angle = torch.linspace(0, math.pi / 2, count).double()
    turn = torch.arange(count) * 2.399963
    points = torch.stack([angle.sin() * turn.cos(), angle.sin() * turn.sin(), angle.cos()], 1) * radius
    rim = torch.tensor([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]) * radius
    return torch.cat([points, rim]) + torch.tensor(centre)


@given(st.integers(0, 3), st.integers(1, 4), st.integers(0, 99))
def test_a_shape_is_the_mean_and_every_mode_and_movement_times_its_number(modes, people, seed):
    model = tiny_model(seed)
    generator = torch.Generator().manual_seed(seed)
    identity, expression = torch.randn(people, modes, generator=generator), torch.rand(people, 2, generator=generator)
    shapes = model.shape(identity, expression)
    for n in range(people):
        expected = model.vertices.double().clone()
        for i in range(modes):
            expected += identity[n, i].double() * model.identity[i].double()
        for e in range(2):
            expected += expression[n, e].double() * model.expression[e].double()
        np.testing.assert_allclose(shapes[n], expected, atol=1e-5)


def test_zeros_give_the_mean_face_exactly():
    model = tiny_model()
    assert torch.equal(model.shape(torch.zeros(2, 3), torch.zeros(2, 2)), model.vertices.expand(2, -1, -1))


def test_points_of_the_mesh_move_with_their_triangles():
    model = tiny_model()
    tied = FaceModel(
        **{
            **vars(model),
            "mesh_triangles": torch.tensor([1, 0]),
            "mesh_weights": torch.tensor([[0.5, 0.5, 0], [0, 0, 1]]),
        }
    )
    vertices = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(1))
    points = tied.landmarks478(vertices)
    torch.testing.assert_close(points[:, 0], (vertices[:, 2] + vertices[:, 3]) / 2)
    torch.testing.assert_close(points[:, 1], vertices[:, 2])
    assert tied.to("meta").mesh_weights.device.type == "meta"


def test_a_model_that_does_not_know_the_mesh_says_so():
    with pytest.raises(ValueError, match="tiny does not know"):
        tiny_model().landmarks478(torch.zeros(1, 5, 3))


def test_textures_are_wrapped_around_the_head_with_the_nose_in_the_middle_and_the_persons_left_at_the_right():
    radius, height = 3.0, (TEXTURE_TOP + TEXTURE_BOTTOM) / 2
    places = torch.tensor(
        [[0, height, AXIS_DEPTH + radius], [radius, TEXTURE_TOP, AXIS_DEPTH], [-radius, TEXTURE_BOTTOM, AXIS_DEPTH]]
    )
    expected = torch.tensor([[0.5, 0.5], [0.75, 0.0], [0.25, 1.0]])
    torch.testing.assert_close(wrapped_coordinates(places), expected)


@given(st.floats(0.8, 2.0), st.floats(-4, 4))
def test_eyes_are_laid_out_flat_with_lengths_from_the_pupil_kept(radius, x):
    ball = sphere((x, 0.3, -1.0), radius)
    centre, found = eye_centre(ball)
    assert found == pytest.approx(radius, rel=1e-3)
    np.testing.assert_allclose(centre, [x, 0.3, -1.0], atol=2e-3)
    flat = eye_coordinates(ball).double()
    angle = torch.atan2((ball - centre)[:, :2].norm(dim=1), (ball - centre)[:, 2])
    distance = (flat - 0.5).norm(dim=1)
    np.testing.assert_allclose(distance, (angle * radius / EYE_TEXTURE_EXTENT).clamp(max=0.5), atol=1e-3)
    right_rim, top_rim = flat[-4], flat[-2]
    assert right_rim[0] > 0.6
    assert top_rim[1] < 0.4


@pytest.mark.parametrize(("side", "x"), [("Left", 3.0), ("Right", -3.0)])
@pytest.mark.parametrize("way", list(GAZE_DEGREES))
def test_a_glance_turns_the_eye_by_its_angle_about_its_centre_and_the_right_way(side, x, way):
    ball = sphere((x, 0.0, -1.0), 1.5)
    moved = ball + gaze_displacement(ball, f"eyeLook{way}{side}")
    centre = torch.tensor([x, 0.0, -1.0])
    np.testing.assert_allclose((moved - centre).norm(dim=1), (ball - centre).norm(dim=1), rtol=1e-3)
    before, after = ball[0] - centre, moved[0] - centre
    cosine = float(before @ after / (before.norm() * after.norm()))
    assert math.degrees(math.acos(cosine)) == pytest.approx(GAZE_DEGREES[way], abs=0.5)
    to_nose = -math.copysign(1, x)
    expected = {"In": (0, to_nose), "Out": (0, -to_nose), "Up": (1, 1), "Down": (1, -1)}[way]
    assert after[expected[0]] * expected[1] > 0.5
    other = "Right" if side == "Left" else "Left"
    assert not gaze_displacement(ball, f"eyeLook{way}{other}").any()


def test_the_movements_are_those_that_mediapipe_scores_but_for_the_neutral_face():
    from mediapipe.tasks.python.vision.face_landmarker import Blendshapes

    theirs = [shape.name.lower().split("_") for shape in Blendshapes if shape.value]
    assert list(EXPRESSION_NAMES) == [first + "".join(word.title() for word in rest) for first, *rest in theirs]


def test_a_folder_without_a_face_model_is_a_one_line_error(tmp_path):
    with pytest.raises(EmoaugError, match=r"no face model in this folder.*FaceXModel") as error:
        load_face_model(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(EmoaugError, match="no such face model"):
        load_face_model(tmp_path / "missing.npz")
