"""Sentences beside the numbers of a gain run."""

import numpy as np
import pytest

from pipelines.gain_data import GainData
from pipelines.gain_notes import missing_classes
from pipelines.trials import GainSettings
from tests.drawn_dataset import draw_dataset

SETTINGS = GainSettings(arms=("real",), folds=2, seeds=2)


@pytest.mark.parametrize("happy", [1, 4])
def test_classes_that_some_folds_lack_are_named(tmp_path, happy):
    faces = draw_dataset(tmp_path, subjects=4)
    neutral, smiling = (np.flatnonzero(faces.table.label == name) for name in ("neutral", "happy"))
    data = GainData.load(faces.select(np.sort(np.concatenate([neutral, smiling[:happy]]))), None, None)
    found = missing_classes(data, [fold for _, fold in data.folds(SETTINGS)])
    if happy == 1:
        # Its one face tests in one of the two folds of either seed, where nothing is learnt of it.
        assert len(found) == 1
        assert "happy is not learnt in 2 and not tested in 2 of 4 folds" in found[0]
        assert "neutral" not in found[0]
    else:
        assert found == []
