"""Classifiers of faces that are not aligned move them further, whoever trains them."""

import json

import numpy as np
import pytest

from augment.faces import read_measures
from augment.folders import load_faces
from classifiers.training import ClassifierSettings
from pipelines.gain_data import GainData
from pipelines.judges import JudgeSettings, train_jury
from pipelines.recipes import are_aligned, suited_recipe, suited_settings
from tests.drawn_dataset import draw_dataset, put_features_in_place


@pytest.fixture(params=["aligned", "elsewhere", "unknown"])
def faces(request, tmp_path):
    """Drawn faces whose landmarks are where alignment puts them, elsewhere, or not there."""
    drawn = draw_dataset(tmp_path / "drawn", subjects=4, landmarks=request.param != "unknown")
    if request.param == "aligned":
        put_features_in_place(drawn)
    return drawn, {"aligned": "classical"}.get(request.param, "classical-wide")


def test_only_classical_depends_on_where_the_faces_lie():
    assert suited_recipe("classical", aligned=True) == "classical"
    assert suited_recipe("classical", aligned=False) == "classical-wide"
    for other in ("none", "flip", "classical-wide", "randaugment", "trivialaugment"):
        assert suited_recipe(other, aligned=True) == suited_recipe(other, aligned=False) == other


def test_the_recipe_follows_from_the_landmarks_beside_the_pictures_and_the_other_settings_stay(faces):
    drawn, expected = faces
    asked = ClassifierSettings(steps=3, mixing="mixup")
    assert suited_settings(asked, drawn) == ClassifierSettings(steps=3, mixing="mixup", recipe=expected)
    assert suited_settings(ClassifierSettings(recipe="flip"), drawn).recipe == "flip"


def test_gain_sees_the_same_faces_as_aligned(faces):
    drawn, expected = faces
    data = GainData.load(drawn, None, None)
    assert data.aligned == are_aligned(read_measures(drawn.root, list(drawn.table.file_name)))
    assert suited_recipe("classical", data.aligned) == expected


def test_judges_of_score_take_it_and_their_folder_says_so(faces, tmp_path):
    drawn, expected = faces
    settings = JudgeSettings(folds=2, classifier=ClassifierSettings(steps=1, batch_size=4), device="cpu")
    jury = train_jury(drawn, load_faces(drawn, None), tmp_path / "judges", settings)
    assert [judge.classifier.training["recipe"] for judge in jury.judges] == [expected] * 2
    # Judges of another recipe are other judges: what they scored is not theirs.
    assert json.loads(jury.fingerprint)["settings"]["classifier"]["recipe"] == expected
    assert np.isfinite(jury.accuracy)
