"""The figures of changed faces, against cases in which they are known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from augment.faces import FaceMeasures, write_measures
from augment.identity import train_embedding
from augment.landmarker import FaceLandmarker
from classifiers.training import ClassifierSettings, train_classifier
from pipelines.measures import (
    HeldOutFaces,
    Witnesses,
    blendshapes_of,
    directions_of,
    means_over,
    measure_change,
    measure_real,
    movement,
)
from tests.augment.drawn_face import draw_face, model_path
from tests.drawn_dataset import draw_dataset

NAMES = ("neutral", "happy")
PEOPLE = 6


@pytest.fixture(scope="module")
def held():
    """Six drawn people, each neutral and smiling, and real witnesses who learned from them, which here is no matter."""
    generator, pictures = np.random.default_rng(0), []
    for person in range(PEOPLE):
        texture = cv2.resize(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8), (96, 96))
        for smile in (0.0, 1.0):
            pictures.append(cv2.addWeighted(draw_face(96, smile, 150 + 15 * person), 0.8, texture, 0.2, 0))
    pixels = np.stack(pictures).transpose(0, 3, 1, 2)
    people, labels = np.arange(2 * PEOPLE) // 2, np.arange(2 * PEOPLE) % 2
    judge = train_classifier(pixels, labels, 2, ClassifierSettings(steps=4, batch_size=8), progress=False)
    faces = torch.from_numpy(pixels).float() / 127.5 - 1
    landmarker = FaceLandmarker(model_path())
    scores = blendshapes_of(landmarker, faces)
    assert np.isfinite(scores).all()
    difference = scores[1::2].mean(0) - scores[::2].mean(0)
    directions = {NAMES: difference, NAMES[::-1]: -difference}
    witnesses = Witnesses(NAMES, NAMES, judge, train_embedding(pixels, people), directions, landmarker)
    return HeldOutFaces(faces, np.array(NAMES)[labels], people, people, witnesses)


def test_a_change_to_the_persons_own_real_picture_has_the_figures_of_real_faces(held):
    def perfect(faces, target):
        return held.faces[torch.from_numpy(held.labels == target)]

    made, real = measure_change(perfect, held, "perfect"), measure_real(held)
    for name in ("hit_rate", "identity", "movement", "correlation", "found", "kernel_distance"):
        assert made[name] == pytest.approx(real[name], abs=1e-5), name
    assert made["movement"] == pytest.approx(1)
    assert made["targets"]["happy"]["faces"] == PEOPLE
    assert real["identity_of_others"] < real["identity"] < 1


def test_no_change_moves_nothing_and_keeps_who_is_shown(held):
    made = measure_change(lambda faces, _: faces, held, "unchanged")
    assert (made["movement"], made["correlation"]) == (0, 0)
    assert made["identity"] == pytest.approx(1, abs=1e-5)
    # Of two classes, a face that the judge calls by its own is not called by the other.
    recall = measure_real(held)["targets"]
    for target, other in (NAMES, NAMES[::-1]):
        assert made["targets"][target]["hit_rate"] == pytest.approx(1 - recall[other]["hit_rate"])


def test_grey_pictures_are_no_faces(held):
    made = measure_change(lambda faces, _: torch.zeros_like(faces), replace(held, faces=held.faces), "grey")
    assert made["found"] == 0
    assert made["movement"] is None
    assert made["kernel_distance"] > measure_real(held)["kernel_distance"]


def test_movement_is_the_share_of_the_real_difference():
    def scores(*first):
        """Of all but "_neutral", which is no movement, the first three; the rest stay."""
        return np.array([5.0, *first, *np.zeros(48)])

    directions = {("a", "c"): scores(1, 2, 0), ("b", "c"): scores(0, 0, 4)}
    moved = [scores(0.5, 1, 0), scores(0.5, 1, 7), scores(0, 0, 8), np.full(52, np.nan), scores(9, 9, 9)]
    deltas = np.array(moved)
    found = movement(deltas, np.array(["a", "a", "b", "b", "unknown"]), "c", directions)
    assert found["movement"] == pytest.approx((0.5 + 0.5 + 2) / 3)
    a, b = (np.corrcoef(d, m)[0, 1] for d, m in ((scores(1, 2, 0), scores(0.5, 1, 3.5)), (scores(0, 0, 4), moved[2])))
    assert found["correlation"] == pytest.approx((2 * a + b) / 3)
    assert movement(deltas[3:4], np.array(["a"]), "c", directions) == {"movement": None, "correlation": None}


def test_directions_are_differences_of_the_means_of_measured_faces(tmp_path):
    faces = draw_dataset(tmp_path, subjects=3, landmarks=False)
    assert directions_of(faces) == {}
    scores = np.random.default_rng(0).random((6, 52)).astype(np.float32)
    scores[0] = np.nan
    names = np.array([f"shape{i}" for i in range(52)])
    measures = FaceMeasures(np.zeros((6, 478, 3), np.float32), scores, names, np.zeros((6, 3), np.float32))
    write_measures(tmp_path, faces.table.file_name.tolist(), measures)
    labels, found = faces.table.label.to_numpy(), directions_of(faces)
    expected = np.nanmean(scores[labels == "happy"], 0) - np.nanmean(scores[labels == "neutral"], 0)
    np.testing.assert_allclose(found["neutral", "happy"], expected, atol=1e-6)
    np.testing.assert_allclose(found["happy", "neutral"], -expected, atol=1e-6)


def test_every_target_counts_alike_in_the_mean():
    nothing = dict.fromkeys(("identity", "movement", "correlation", "found"))
    targets = {"easy": {"faces": 90, "hit_rate": 1.0, **nothing}, "hard": {"faces": 10, "hit_rate": 0.2, **nothing}}
    found = means_over(targets)
    assert found["hit_rate"] == pytest.approx(0.6)
    assert found["identity"] is None


def test_faces_are_compared_with_the_other_half_of_the_people_only(held):
    features = torch.eye(2 * PEOPLE)
    first = torch.from_numpy(held.first_half)
    assert int(first.sum()) == PEOPLE
    assert (held.first_half[::2] == held.first_half[1::2]).all()
    # Faces whose features are the other half's own: nearer to these than these are to one another by chance.
    swapped = held.features.clone()
    swapped[first], swapped[~first] = held.features[~first], held.features[first]
    rows = np.arange(2 * PEOPLE)
    assert held.halves_distance(swapped, rows) < held.halves_distance(held.features, rows)
    assert held.halves_distance(features[:1], rows[:1]) is None
