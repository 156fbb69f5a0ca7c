"""Pictures show the scene that was asked for, where it was asked for, and nothing else changes them."""

import numpy as np
import pytest
import torch

from augment.action_units import from_action_units
from augment.faces import EYES, LANDMARKS, PHILTRUM, anchor_points
from augment.simulation.camera import aim, alignment_anchors, project
from augment.simulation.morphable import load_face_model
from augment.simulation.scenes import SceneSettings, draw_scene
from augment.simulation.studio import render_expressions, take_pictures
from emoaug import EmoaugError


@pytest.fixture(scope="module")
def head():
    return load_face_model(None)


def test_the_same_scenes_give_the_same_bits_and_values_in_range(head):
    drawn = SceneSettings()
    scenes = [draw_scene(drawn, row) for row in range(7)]
    first, second = (take_pictures(head, scenes, drawn, 32) for _ in range(2))
    assert torch.equal(first.pictures, second.pictures)
    assert first.pictures.shape == (7, 3, 32, 32)
    assert first.pictures.abs().max() <= 1
    assert first.pictures.std() > 0.1
    assert len(first.people) == 7
    assert first.people[0] == first.people[6]


def test_a_scene_looks_the_same_with_other_scenes_around_it(head):
    drawn = SceneSettings(per_subject=2)
    scenes = [draw_scene(drawn, row) for row in range(6)]
    together = take_pictures(head, scenes, drawn, 32).pictures
    apart = torch.cat([take_pictures(head, scenes[i : i + 2], drawn, 32).pictures for i in (0, 2, 4)])
    # Up to the last bits of sums, which JPEG's rounding may make visible in a pixel or two.
    assert (together - apart).abs().mean() < 1e-3


def test_blendshapes_are_those_of_the_scene_in_mediapipes_order(head):
    drawn = SceneSettings(expressions=("happy",), per_subject=1)
    scene = draw_scene(drawn, 0)
    taken = take_pictures(head, [scene], drawn, 16)
    assert taken.blendshapes.shape == (1, 52)
    assert taken.blendshapes[0, 44] == pytest.approx(scene.expression["mouthSmileLeft"])
    assert taken.blendshapes[0, 0] == 0
    assert np.count_nonzero(taken.blendshapes) == len(scene.expression)


def test_landmarks_lie_where_alignment_puts_them(head):
    drawn = SceneSettings(jitter=0.0, yaw=0.0)
    scenes = [draw_scene(drawn, row) for row in range(7)]
    landmarks = take_pictures(head, scenes, drawn, 16).landmarks
    assert landmarks.shape == (7, LANDMARKS, 3)
    if head.mesh_triangles is None:
        assert np.isnan(landmarks).all()
        return
    anchors = np.array([anchor_points((mesh[:, :2] + 1) / 2) for mesh in landmarks])
    assert np.linalg.norm(anchors - [*EYES, PHILTRUM], axis=2).max() < 0.04


def test_anchors_of_a_scene_are_projected_onto_its_targets(head):
    scene = draw_scene(SceneSettings(), 3)
    anchors = alignment_anchors(head.vertices[head.landmarks][None])
    camera = aim(anchors, torch.tensor([scene.pose]), torch.tensor([scene.distance]), torch.tensor([scene.targets]))
    points, _ = project(anchors, camera, 1)
    off = points[0, :, :2].numpy() - np.array(scene.targets)
    assert np.linalg.norm(off, axis=1).max() < 0.06
    np.testing.assert_allclose(off.mean(0), 0, atol=1e-5)  # least squares leaves no shift


def test_expressions_given_outright_change_what_they_name_and_leave_the_rest(head):
    neutral, open_jaw, blink = render_expressions(
        [{}, from_action_units({27: 0.9}), {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}], size=64
    )
    jaw = (open_jaw - neutral).abs().mean(0)
    lids = (blink - neutral).abs().mean(0)
    assert jaw[42:].mean() > 3 * jaw[:20].mean()
    eyes = lids[18:30, 10:54].mean()
    assert eyes > 3 * lids[40:].mean()


def test_the_side_that_is_asked_to_wink_is_seen_on_the_other_side(head):
    neutral, left = render_expressions([{}, {"eyeBlinkLeft": 1.0}], size=64)
    change = (left - neutral).abs().mean(0)[18:30]
    assert change[:, 34:].mean() > 3 * change[:, :30].mean()


def test_people_and_poses_can_be_chosen(head):
    poses = [(0.0, 0.0, 0.0), (30.0, 0.0, 0.0), (0.0, 0.0, 0.0)]
    same, turned, other = render_expressions([{}] * 3, size=32, subjects=[0, 0, 5], poses=poses)
    assert (same - turned).abs().mean() > 0.03
    assert (same - other).abs().mean() > 0.03
    again = render_expressions([{}] * 3, size=32, subjects=[0, 0, 5], poses=poses)
    assert torch.equal(again[0], same)


def test_lists_of_different_lengths_and_unknown_shapes_are_named(head):
    with pytest.raises(EmoaugError, match="2 expressions, 1 subjects"):
        render_expressions([{}, {}], subjects=[0])
    with pytest.raises(EmoaugError, match="smirk"):
        render_expressions([{"smirk": 1.0}])
