"""What was measured beside a dataset, read as conditions."""

import json

import numpy as np
import pytest

from augment.action_units import BLENDSHAPE_NAMES
from augment.faces import read_measures, write_measures
from augment.folders import FaceTable, read_faces
from augment.measured_conditions import are_measured, expression_means, fit_scale, measured_conditions
from augment.simulation.scenes import SceneSettings
from augment.simulation.simulate import SimulateSettings, simulate
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset


@pytest.fixture
def faces(tmp_path) -> FaceTable:
    return draw_dataset(tmp_path / "faces")


def test_conditions_follow_the_order_of_the_faces_and_scale_by_the_dataset(faces):
    scale = fit_scale(faces, "blendshapes")
    conditions = measured_conditions(faces, scale)
    happy = (faces.table.label == "happy").to_numpy()
    smile = conditions[:, scale.names.index("mouthSmile")]
    assert smile[happy].min() > smile[~happy].max()
    order = np.array([5, 0, 3])
    np.testing.assert_array_equal(measured_conditions(faces.select(order), scale), conditions[order])
    means = expression_means(faces, scale)
    np.testing.assert_allclose(means["happy"], conditions[happy].mean(0), atol=1e-4)


def test_a_face_that_is_turned_away_is_not_measured(faces):
    names = faces.table.file_name.tolist()
    measures = read_measures(faces.root, names)
    measures.pose[1, 0], measures.pose[2, 1], measures.pose[3, 2] = -50, 45, 80  # yaw, pitch, roll
    measures.blendshapes[4] = np.nan
    write_measures(faces.root, names, measures)
    assert np.flatnonzero(~are_measured(faces)).tolist() == [1, 2, 4]


def test_without_measures_the_error_names_the_command(faces):
    (faces.root / "faces.npz").unlink()
    with pytest.raises(EmoaugError, match="run: emoaug align"):
        are_measured(faces)


def test_simulated_faces_have_the_vectors_that_they_were_rendered_with(tmp_path):
    scenes = SceneSettings(expressions=("happy", "surprise"), per_subject=2, yaw=10, pitch=5)
    simulate(tmp_path / "out", scenes, SimulateSettings(count=8, size=16, workers=1, device="cpu"))
    faces = read_faces(tmp_path / "out")
    scale = fit_scale(faces, "blendshapes")
    conditions = measured_conditions(faces, scale)
    for row, text in enumerate(faces.table.condition):
        shapes = json.loads(text)
        for name, full, value in zip(scale.names, scale.full, conditions[row], strict=True):
            sides = [
                shapes.get(name + side, 0.0)
                for side in (("Left", "Right") if name + "Left" in BLENDSHAPE_NAMES else ("",))
            ]
            assert value == pytest.approx(min(1, np.mean(sides) / full), abs=2e-3)
