"""One classifier of a gain run."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from classifiers.training import ClassifierSettings
from pipelines.arms import get_arm
from pipelines.fitting import candidates, fit, seen_as_labelled
from pipelines.gain_data import GainData
from pipelines.trials import GainSettings
from tests.drawn_dataset import draw_dataset


def test_classical_depends_on_whether_faces_are_aligned_and_other_recipes_do_not(tmp_path):
    settings = GainSettings(folds=2, seeds=1, classifier=ClassifierSettings(steps=3))
    data = GainData.load(draw_dataset(tmp_path / "drawn", subjects=4), None, None)
    fold = data.folds(settings)[0][1]

    def found(arm: str, aligned: bool) -> np.ndarray:
        recipe, faces = get_arm(arm), replace(data, aligned=aligned)
        return fit(recipe, faces, fold.train, (), candidates(recipe, settings)[0], fold, 0, settings)

    assert not np.array_equal(found("classical", True), found("classical", False))
    np.testing.assert_array_equal(found("trivialaugment", True), found("trivialaugment", False))
    np.testing.assert_array_equal(found("real", True), found("real", False))


def drawn_apart(folder: Path) -> GainData:
    """Faces whose class is easy to see: a bright upper or a bright lower half."""
    data = GainData.load(draw_dataset(folder / "drawn", subjects=12), None, None)
    labels = data.faces.label_indices()
    pixels = data.pixels // 4
    pixels[labels == 0, :, :16] += 180
    pixels[labels == 1, :, 16:] += 180
    return replace(data, pixels=pixels, tested_pixels=pixels)


def test_faces_are_kept_that_a_classifier_of_real_faces_sees_as_labelled(tmp_path):
    """Half of the made faces are copies of real ones with the other class's label."""
    settings = GainSettings(folds=2, seeds=1, classifier=ClassifierSettings(steps=80, batch_size=16))
    data = drawn_apart(tmp_path)
    labels = data.faces.label_indices()
    every = np.arange(len(labels))
    right = every % 4 < 2
    said = np.where(right, labels, 1 - labels)
    kept = seen_as_labelled((data.pixels, said), data, every, 0, settings)
    assert len(set(kept) ^ set(every[right])) <= 1
    assert (np.diff(kept) > 0).all()


def test_synthetic_faces_come_first_alone_only_where_they_are_many_and_of_every_class(tmp_path):
    """The synthetic faces here have each other's labels, so whoever saw them alone is still led astray at the end."""
    settings = GainSettings(
        folds=2, seeds=1, synthetic_first=0.9, classifier=ClassifierSettings(steps=60, batch_size=16)
    )
    data, arm = drawn_apart(tmp_path), get_arm("lssl")
    fold = data.folds(settings)[0][1]
    labels = data.faces.label_indices()
    candidate = candidates(arm, settings)[0] | {"synthetic_share": 0.0}

    def accuracy(chosen: np.ndarray) -> float:
        extra = data.pixels[chosen], 1 - labels[chosen]
        found = fit(arm, data, fold.train, [extra], candidate, fold, 0, settings)
        return float((found.argmax(1) == labels[fold.test]).mean())

    assert accuracy(fold.train) < 0.6
    assert accuracy(fold.train[2:]) > 0.9
    first, second = (fold.train[labels[fold.train] == number] for number in (0, 1))
    assert accuracy(np.append(first.repeat(3), second[0])) > 0.9
    assert accuracy(fold.train[:0]) > 0.9


def test_no_synthetic_face_is_seen_more_often_than_a_real_one(tmp_path):
    """The only synthetic face has a wrong label: most of every batch if it had its share, one of twelve as it is."""
    settings = GainSettings(folds=2, seeds=1, classifier=ClassifierSettings(steps=60, batch_size=16))
    data, arm = drawn_apart(tmp_path), get_arm("lssl")
    fold = data.folds(settings)[0][1]
    labels, wrong = data.faces.label_indices(), fold.train[:1]
    candidate = candidates(arm, settings)[0] | {"synthetic_share": 0.9}
    found = fit(arm, data, fold.train, [(data.pixels[wrong], 1 - labels[wrong])], candidate, fold, 0, settings)
    assert (found.argmax(1) == labels[fold.test]).mean() > 0.9
