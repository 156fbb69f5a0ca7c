"""Signs of angles, perspective, and that eyes and mouth land where alignment puts them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.faces import EYES, PHILTRUM, similarity
from augment.landmarker import pose_of
from augment.simulation.camera import Camera, aim, alignment_anchors, project, rotation

ANCHORS = torch.tensor([[[-3.1, 0.0, 0.0], [3.1, 0.1, 0.0], [0.1, -4.6, 2.2]]])


def turned(yaw: float, pitch: float, roll: float, vector: tuple[float, float, float]) -> np.ndarray:
    return (rotation(torch.tensor([[yaw, pitch, roll]]))[0] @ torch.tensor(vector)).numpy()


def test_signs_of_the_angles():
    nose, crown = (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)
    assert turned(30, 0, 0, nose)[0] == pytest.approx(0.5)  # to the right of the picture
    assert turned(0, 30, 0, nose)[1] == pytest.approx(0.5)  # up
    assert turned(0, 0, 30, crown)[0] == pytest.approx(-0.5)  # counter-clockwise
    assert turned(30, 0, 0, crown)[1] == pytest.approx(1)


@settings(max_examples=50)
@given(st.floats(-80, 80), st.floats(-80, 80), st.floats(-80, 80))
def test_the_pose_is_the_one_that_the_landmarker_would_read(yaw, pitch, roll):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(torch.tensor([[yaw, pitch, roll]]))[0].numpy()
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(pose_of(matrix), [yaw, pitch, roll], atol=1e-3)


def test_a_point_is_seen_where_a_pinhole_sees_it():
    frame = torch.tensor([[[2.0, 0.0, 0.5], [0.0, 2.0, 0.4]]])
    points, rotated = project(
        torch.tensor([[[5.0, 3.0, 10.0]]]), Camera(torch.zeros(1, 3), torch.tensor([60.0]), frame), 100
    )
    torch.testing.assert_close(rotated, torch.tensor([[[5.0, 3.0, 10.0]]]))
    # 5 cm to the right and 3 cm up at 50 cm: 0.1 and -0.06, doubled and shifted, of 100 px.
    torch.testing.assert_close(points, torch.tensor([[[70.0, 28.0, 50.0]]]))


@settings(max_examples=50)
@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(-40, 40), st.floats(30, 300))
def test_eyes_land_on_a_level_line_and_anchors_in_their_places_on_average(yaw, pitch, roll, distance):
    pose, away = torch.tensor([[yaw, pitch, roll]]), torch.tensor([distance])
    camera = aim(ANCHORS, pose, away)
    points, _ = project(ANCHORS, camera, 64)
    targets = np.array([*EYES, PHILTRUM]) * 64
    np.testing.assert_allclose(points[0, :, :2].numpy().mean(0), targets.mean(0), atol=1e-2)
    # As alignment does it with photographs.
    raw, _ = project(ANCHORS, Camera(pose, away, torch.tensor([[[100.0, 0, 0], [0, 100.0, 0]]])), 1)
    matrix = similarity(raw[0, :, :2].numpy(), targets)
    expected = raw[0, :, :2].numpy() @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(points[0, :, :2].numpy(), expected, atol=2e-2)


def test_targets_may_differ_from_picture_to_picture():
    targets = torch.rand(4, 2, 2, generator=torch.Generator().manual_seed(0))
    anchors = ANCHORS[:, :2].expand(4, -1, -1)
    camera = aim(anchors, torch.zeros(4, 3), torch.full((4,), 50.0), targets)
    points, _ = project(anchors, camera, 1)
    # A similarity maps two points on two points exactly.
    torch.testing.assert_close(points[..., :2], targets, rtol=0, atol=1e-5)


def test_anchors_are_the_middles_of_the_eyes_and_the_philtrum():
    landmarks = torch.zeros(1, 68, 3)
    landmarks[0, [36, 39]] = torch.tensor([[-4.0, 0, 0], [-2, 1, 0]])
    landmarks[0, [42, 45]] = torch.tensor([[2.0, 0, 0], [4, 0, 0]])
    landmarks[0, [33, 51]] = torch.tensor([[0.0, -4, 2], [0, -5, 2]])
    expected = torch.tensor([[[-3, 0.5, 0], [3, 0, 0], [0, -4.5, 2]]])
    torch.testing.assert_close(alignment_anchors(landmarks), expected)
