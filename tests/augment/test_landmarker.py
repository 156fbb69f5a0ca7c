import math
import subprocess
import sys

import cv2
import numpy as np
import pytest

from augment.faces import anchor_points
from augment.landmarker import FaceLandmarker, pose_of
from tests.augment.drawn_face import draw_face, model_path

# Where draw_face puts the eyes; the philtrum is judged by eye.
EYES = np.array([[98.0, 114], [158, 114]])


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(model_path())


def rotation(axis: str, degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(4)
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (30, 0, 0), (0, 20, 0), (0, 0, -50), (-60, 35, 100)])
def test_pose_is_the_angles_that_the_head_was_turned_by(yaw, pitch, roll):
    # About x a positive angle turns +z (the nose) down, hence the sign. Scale and shift must not matter.
    turned = rotation("y", yaw) @ rotation("x", -pitch) @ rotation("z", roll)
    moved = turned @ np.diag([1.3, 1.3, 1.3, 1])
    moved[:3, 3] = 3, -4, -50
    np.testing.assert_allclose(pose_of(moved), [yaw, pitch, roll], atol=1e-4)


def test_positive_yaw_is_to_the_right_and_positive_pitch_is_up():
    nose = np.array([0, 0, 1, 1])
    right, up = rotation("y", 30) @ nose, rotation("x", -30) @ nose
    assert pose_of(rotation("y", 30))[0] > 0 < right[0]
    assert pose_of(rotation("x", -30))[1] > 0 < up[1]


@pytest.mark.parametrize("size", [48, 100, 256, 700, 1500])
def test_eyes_are_found_where_they_were_drawn_at_every_size(landmarker, size):
    found = landmarker.detect(draw_face(size) if size <= 256 else cv2.resize(draw_face(), (size, size)))
    assert found is not None
    eyes = anchor_points(found.landmarks)[:2] * 256 / size
    np.testing.assert_allclose(eyes, EYES, atol=6)
    assert found.faces == 1
    assert found.landmarks.shape == (478, 3)
    assert found.blendshapes.shape == (52,)


def test_a_picture_that_is_not_square_keeps_its_proportions(landmarker):
    wide = cv2.copyMakeBorder(draw_face(), 0, 0, 200, 10, cv2.BORDER_REPLICATE)
    found = landmarker.detect(wide)
    assert found is not None
    np.testing.assert_allclose(anchor_points(found.landmarks)[:2], EYES + np.array([200, 0]), atol=6)


def test_roll_is_counter_clockwise(landmarker):
    turn = cv2.getRotationMatrix2D((128, 128), 25, 1)  # OpenCV: positive is counter-clockwise
    found = landmarker.detect(cv2.warpAffine(draw_face(), turn, (256, 256), borderMode=cv2.BORDER_REPLICATE))
    assert found is not None
    assert found.pose[2] == pytest.approx(25, abs=4)


def test_a_smile_raises_the_smile_scores(landmarker):
    calm, smiling = landmarker.detect(draw_face(smile=0)), landmarker.detect(draw_face(smile=1))
    column = landmarker.blendshape_names.index("mouthSmileLeft")
    assert smiling.blendshapes[column] > calm.blendshapes[column] + 0.3


def test_blendshape_names_are_in_the_order_of_the_scores(landmarker):
    from augment.landmarker import _image

    result = landmarker._strict.detect(_image(draw_face()))
    assert landmarker.blendshape_names == tuple(score.category_name for score in result.face_blendshapes[0])


def test_of_several_faces_the_largest_is_taken_and_all_are_counted(landmarker):
    picture = cv2.copyMakeBorder(draw_face(), 0, 0, 200, 0, cv2.BORDER_REPLICATE)
    picture[60:200, 20:160] = draw_face(140)
    found = landmarker.detect(picture)
    assert found is not None
    assert found.faces == 2
    np.testing.assert_allclose(anchor_points(found.landmarks)[:2], EYES + np.array([200, 0]), atol=6)


def test_a_small_face_in_a_large_picture_is_found(landmarker):
    picture = np.full((800, 1000, 3), (150, 165, 175), np.uint8)
    picture[500:600, 700:800] = draw_face(100)
    found = landmarker.detect(picture)
    assert found is not None
    np.testing.assert_allclose(anchor_points(found.landmarks)[:2], EYES * 100 / 256 + [700, 500], atol=5)


@pytest.mark.parametrize("kind", ["flat", "noise", "stripes", "one pixel", "scrambled face"])
def test_no_face_is_found_where_there_is_none(landmarker, kind):
    rng = np.random.default_rng(0)
    if kind == "flat":
        picture = np.full((48, 48, 3), 100, np.uint8)
    elif kind == "noise":
        picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    elif kind == "stripes":
        picture = np.zeros((300, 300, 3), np.uint8)
        picture[::10] = 200
    elif kind == "one pixel":
        picture = np.full((1, 1, 3), 100, np.uint8)
    else:
        tiles = [draw_face(64)[y : y + 16, x : x + 16] for y in range(0, 64, 16) for x in range(0, 64, 16)]
        order = rng.permutation(16)
        picture = np.vstack([np.hstack([tiles[order[4 * row + column]] for column in range(4)]) for row in range(4)])
    assert landmarker.detect(picture) is None


def test_the_same_picture_gives_the_same_bits(landmarker):
    one, two = landmarker.detect(draw_face(64)), FaceLandmarker(model_path()).detect(draw_face(64))
    np.testing.assert_array_equal(one.landmarks, two.landmarks)
    np.testing.assert_array_equal(one.blendshapes, two.blendshapes)


def test_nothing_is_printed_not_even_by_native_code_or_at_the_end():
    program = f"""
from pathlib import Path
from augment.landmarker import FaceLandmarker
from tests.augment.drawn_face import draw_face
import numpy as np
landmarker = FaceLandmarker(Path({str(model_path())!r}))
print(landmarker.detect(draw_face(64)) is not None, landmarker.detect(np.zeros((48, 48, 3), np.uint8)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True None\n"
    assert done.stderr == ""
