"""One classifier of a gain run."""

from dataclasses import replace

import numpy as np

from classifiers.training import ClassifierSettings
from pipelines.arms import get_arm
from pipelines.fitting import candidates, fit
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
