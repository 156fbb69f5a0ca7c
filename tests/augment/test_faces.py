import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.faces import (
    EYES,
    PHILTRUM,
    FaceMeasures,
    align_matrix,
    align_picture,
    anchor_points,
    centre_matrix,
    lie_aligned,
    read_measures,
    similarity,
    transform_landmarks,
    write_measures,
)
from emoaug import EmoaugError

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def make_similarity(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


def mesh(rng: np.random.Generator) -> np.ndarray:
    """A mesh with eyes, nose base and lip where an upright face of 100 px has them, and noise elsewhere."""
    points = rng.uniform(0, 100, (478, 3))
    for left, right, y in ((33, 133, 40), (362, 263, 40)):
        middle = 34 if left == 33 else 66
        points[left, :2], points[right, :2] = (middle - 8, y), (middle + 8, y)
    points[2, :2], points[0, :2] = (50, 62), (50, 70)
    return points


finite = st.floats(-1000, 1000)


@given(angle=st.floats(-math.pi, math.pi), scale=st.floats(0.05, 20), x=finite, y=finite, seed=st.integers(0, 10**6))
def test_similarity_recovers_the_map_that_made_the_points(angle, scale, x, y, seed):
    true = make_similarity(angle, scale, x, y)
    points = np.random.default_rng(seed).normal(0, 50, (5, 2))
    np.testing.assert_allclose(
        similarity(points, points @ true[:, :2].T + true[:, 2]), true, atol=1e-7 * (1 + abs(x) + abs(y) + scale)
    )


def test_similarity_has_the_least_squared_error():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))

    # Linear least squares over (a, b, tx, ty), solved by numpy instead of the closed form.
    rows = [[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in source]
    (a, b, tx, ty), *_ = np.linalg.lstsq(np.array(rows).reshape(-1, 4), target.reshape(-1), rcond=None)
    np.testing.assert_allclose(similarity(source, target), [[a, -b, tx], [b, a, ty]], atol=1e-12)


def test_similarity_never_reflects():
    points = np.array([[0.0, 0], [4, 0], [1, 3]])
    matrix = similarity(points, points * [-1, 1])
    assert np.linalg.det(matrix[:, :2]) > 0
    np.testing.assert_allclose(matrix[0, 0], matrix[1, 1])
    np.testing.assert_allclose(matrix[0, 1], -matrix[1, 0])


def test_similarity_of_coinciding_points_is_refused():
    with pytest.raises(ValueError, match="coincide"):
        similarity(np.ones((3, 2)), np.eye(3)[:, :2])


@given(angle=st.floats(-3, 3), scale=st.floats(0.1, 10), x=finite, y=finite, size=st.sampled_from([48, 64, 256]))
def test_a_face_is_aligned_the_same_however_it_is_turned_scaled_and_moved(angle, scale, x, y, size):
    face = mesh(np.random.default_rng(1))
    moved = face.copy()
    moved[:, :2] = transform_points(face, make_similarity(angle, scale, x, y))
    moved[:, 2] *= scale
    expected = transform_landmarks(face, align_matrix(face, size), size)
    np.testing.assert_allclose(transform_landmarks(moved, align_matrix(moved, size), size), expected, atol=1e-4)


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points[:, :2] @ matrix[:, :2].T + matrix[:, 2]


def test_eyes_and_philtrum_land_on_their_places_when_the_proportions_fit():
    face = mesh(np.random.default_rng(2))
    places = np.array([*EYES, PHILTRUM])
    face[[33, 133], :2] = places[0] * 500 + [[-20, 0], [20, 0]]
    face[[362, 263], :2] = places[1] * 500 + [[-20, 0], [20, 0]]
    face[[2, 0], :2] = places[2] * 500 + [[0, -9], [0, 9]]
    aligned = transform_landmarks(face, align_matrix(face, 64), 64)
    np.testing.assert_allclose((anchor_points(aligned) + 1) / 2, places, atol=1e-6)


def test_alignment_ignores_blinks_gaze_and_an_open_jaw():
    face = mesh(np.random.default_rng(3))
    moved = face.copy()
    lids, irises, lower_lip_and_chin, corners = [159, 145, 386, 374], [468, 473], [17, 14, 152], [61, 291]
    moved[lids + irises + lower_lip_and_chin + corners, :2] += 7
    np.testing.assert_array_equal(align_matrix(face, 64), align_matrix(moved, 64))


def test_landmarks_and_pixels_move_together():
    # A dot drawn in the source must appear where transform_landmarks says, to a fraction of a pixel.
    picture = np.zeros((120, 160, 3), np.uint8)
    y, x = np.mgrid[:120, :160] + 0.5
    picture[:] = (255 * np.exp(-((x - 90.3) ** 2 + (y - 47.8) ** 2) / (2 * 3.0**2)))[..., None]
    for matrix in (
        make_similarity(0.3, 0.4, 10, -5),
        make_similarity(-0.2, 1.7, -135, -17),
        centre_matrix(120, 160, 64),
    ):
        aligned = align_picture(picture, matrix, 64)[..., 0].astype(float)
        rows, columns = np.mgrid[:64, :64] + 0.5
        seen = np.array([(columns * aligned).sum(), (rows * aligned).sum()]) / aligned.sum()
        said = transform_landmarks(np.array([[90.3, 47.8]]), matrix, 64)[0]
        np.testing.assert_allclose((said + 1) * 32, seen, atol=0.1)


def test_z_is_scaled_as_x_and_y_are():
    points = np.array([[0.0, 0, 5], [10, 0, -5]])
    moved = transform_landmarks(points, make_similarity(1.0, 0.5, 3, 4), 20)
    np.testing.assert_allclose(np.linalg.norm(moved[1, :2] - moved[0, :2]), 0.5)
    np.testing.assert_allclose(moved[1, 2] - moved[0, 2], -0.5)


def test_the_identity_changes_no_pixel():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(align_picture(picture, IDENTITY, 64), picture)
    np.testing.assert_array_equal(align_picture(picture, centre_matrix(64, 64, 64), 64), picture)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_shrinking_by_a_whole_factor_is_the_mean_of_blocks(factor):
    picture = np.random.default_rng(0).integers(0, 256, (32 * factor, 32 * factor, 3), dtype=np.uint8)
    means = picture.reshape(32, factor, 32, factor, 3).astype(float).mean((1, 3))
    aligned = align_picture(picture, centre_matrix(32 * factor, 32 * factor, 32), 32)
    assert np.abs(aligned - means).max() <= 0.51


def test_stripes_finer_than_a_pixel_become_grey_instead_of_moire():
    picture = np.zeros((500, 500, 3), np.uint8)
    picture[:, ::2] = 255
    aligned = align_picture(picture, make_similarity(0.1, 64 / 500, 0, 0), 64)[8:-8, 8:-8]
    assert aligned.std() < 6
    sampled = cv2.warpAffine(picture, make_similarity(0.1, 64 / 500, 0, 0), (64, 64))[8:-8, 8:-8]
    assert sampled.std() > 60  # what a plain warp makes of it


def test_outside_of_the_source_is_filled_smoothly_and_the_inside_is_kept():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)
    aligned = align_picture(picture, centre_matrix(32, 64, 64), 64)
    np.testing.assert_array_equal(aligned[16:48], picture)
    assert aligned[:8].std() < picture.std() / 4
    assert abs(aligned[:8].mean() - picture.mean()) < 20  # neither black nor white


def test_a_grey_picture_stays_grey():
    picture = np.repeat(np.random.default_rng(0).integers(0, 256, (48, 48, 1), dtype=np.uint8), 3, 2)
    aligned = align_picture(picture, make_similarity(0.2, 1.1, -3, 2), 64)
    assert (aligned == aligned[..., :1]).all()


def test_a_picture_too_wide_to_warp_is_a_clear_error():
    with pytest.raises(EmoaugError, match="40,000"):
        align_picture(np.zeros((10, 40_000, 3), np.uint8), IDENTITY, 16)


def measures(count: int) -> FaceMeasures:
    rng = np.random.default_rng(count)
    names = np.array([f"shape{i}" for i in range(52)])
    arrays = [rng.normal(size=(count, *shape)).astype(np.float32) for shape in ((478, 3), (52,), (3,))]
    return FaceMeasures(arrays[0], arrays[1], names, arrays[2])


def test_measures_come_back_in_the_order_asked_and_nan_where_there_are_none(tmp_path):
    stored = measures(3)
    write_measures(tmp_path, ["a/1.png", "a/ü 2.png", "b/3.png"], stored)
    read = read_measures(tmp_path, ["b/3.png", "none.png", "a/ü 2.png"])
    assert read is not None
    np.testing.assert_array_equal(read.landmarks[[0, 2]], stored.landmarks[[2, 1]])
    np.testing.assert_array_equal(read.blendshapes[[0, 2]], stored.blendshapes[[2, 1]])
    np.testing.assert_array_equal(read.pose[[0, 2]], stored.pose[[2, 1]])
    assert read.blendshape_names.tolist() == stored.blendshape_names.tolist()
    for array in (read.landmarks, read.blendshapes, read.pose):
        assert np.isnan(array[1]).all()
        assert array.dtype == np.float32


def test_faces_lie_aligned_when_most_of_them_are_where_alignment_puts_them():
    faces = [mesh(np.random.default_rng(seed)) for seed in range(6)]
    aligned = np.stack([transform_landmarks(face, align_matrix(face, 64), 64) for face in faces])
    assert lie_aligned(aligned)
    moved = aligned + np.array([0.12, 0, 0])
    for wrong in (moved, 1.4 * aligned, np.full_like(aligned, np.nan), aligned[:0]):
        assert not lie_aligned(wrong)
    assert lie_aligned(np.concatenate([aligned[:3], np.full_like(aligned[:3], np.nan)]))
    assert not lie_aligned(np.concatenate([aligned[:2], moved[2:]]))


def test_measures_of_a_folder_without_any_are_none(tmp_path):
    assert read_measures(tmp_path, ["a.png"]) is None


def test_the_same_measures_are_the_same_bytes_and_hold_no_pickles(tmp_path):
    for name in ("one", "two"):
        write_measures(tmp_path / name, ["a.png"], measures(1))
    assert (tmp_path / "one/faces.npz").read_bytes() == (tmp_path / "two/faces.npz").read_bytes()
    with np.load(tmp_path / "one/faces.npz", allow_pickle=False) as stored:
        assert set(stored) == {"file_name", "landmarks", "blendshapes", "blendshape_names", "pose"}


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_damaged_measures_are_a_clear_error(tmp_path, content):
    (tmp_path / "faces.npz").write_bytes(content)
    with pytest.raises(EmoaugError, match=r"faces\.npz"):
        read_measures(tmp_path, ["a.png"])


def test_pickled_measures_are_refused(tmp_path):
    np.savez(tmp_path / "faces.npz", file_name=np.array([{"a": 1}], dtype=object))
    with pytest.raises(EmoaugError):
        read_measures(tmp_path, ["a.png"])
