"""One classifier of a gain run."""

from dataclasses import replace

import numpy as np

from classifiers.training import ClassifierSettings
from pipelines.arms import get_arm
from pipelines.fitting import candidates, fit, most_probable
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


def test_of_each_class_those_faces_are_kept_that_show_it_to_a_classifier_of_real_faces(tmp_path):
    """Half of the made faces have the other class's label."""
    settings = GainSettings(folds=2, seeds=1, classifier=ClassifierSettings(steps=80, batch_size=16))
    data = GainData.load(draw_dataset(tmp_path / "drawn", subjects=12), None, None)
    labels = data.faces.label_indices()
    # What distinguishes the classes is easy to see: a bright upper or a bright lower half.
    pixels = data.pixels // 4
    pixels[labels == 0, :, :16] += 180
    pixels[labels == 1, :, 16:] += 180
    data = replace(data, pixels=pixels)
    known = made = np.arange(len(labels))
    right = np.arange(len(made)) % 4 < 2
    said = np.where(right, labels[made], 1 - labels[made])
    kept = most_probable((data.pixels[made], said), data, known, 0.5, 0, settings)
    assert np.bincount(said[kept]).tolist() == [6, 6]
    assert (np.diff(kept) > 0).all()
    assert right[kept].sum() >= 11
    every = most_probable((data.pixels[made], said), data, known, 1.0, 0, settings)
    assert every.tolist() == list(range(len(made)))
