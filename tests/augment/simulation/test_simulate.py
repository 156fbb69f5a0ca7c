"""A simulated folder is a dataset whose labels are exact, and stopping or parallel work changes no byte of it."""

import hashlib
import json

import numpy as np
import pytest

from augment.action_units import BLENDSHAPE_NAMES
from augment.faces import read_measures
from augment.folders import load_faces, read_faces
from augment.simulation import simulation_work as module
from augment.simulation.measured import MeasuredExpressions
from augment.simulation.morphable import load_face_model
from augment.simulation.scenes import SceneSettings, draw_scene
from augment.simulation.simulate import simulate
from augment.simulation.simulation_work import SimulateSettings
from augment.verification import verify
from emoaug import EmoaugError

SCENES = SceneSettings(expressions=("neutral", "happy", "angry"), per_subject=3)
SMALL = SimulateSettings(count=40, size=16, workers=1, device="cpu")


def contents(folder) -> dict[str, str]:
    """Hashes of every file but run.json, which says how many workers there were."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "faces"
    simulate(out, SCENES, SMALL)
    return out


def test_a_simulated_folder_is_a_dataset_that_verifies(folder):
    faces = read_faces(folder)
    assert len(faces) == 40
    assert faces.vocabulary == ("neutral", "happy", "angry")
    assert faces.table.is_synthetic.all()
    assert faces.table.subject.nunique() == 14
    assert sorted(faces.table.groupby("subject").label.nunique()) == [1] + [3] * 13
    assert max(faces.table.label.value_counts()) - min(faces.table.label.value_counts()) <= 1
    assert load_faces(faces, None).shape == (40, 3, 16, 16)
    assert verify(folder).problems == ()
    assert not (folder / ".parts").exists()
    assert (folder / "contact_sheet.png").is_file()


def test_people_show_the_typical_way_where_asked(tmp_path):
    settings = SimulateSettings(count=12, size=16, workers=1, device="cpu")
    apart = {}
    for typical in (0.0, 1.0):
        scenes = SceneSettings(expressions=("angry",), per_subject=1, intensity=(1.0, 1.3), typical=typical)
        simulate(tmp_path / str(typical), scenes, settings)
        measures = read_measures(tmp_path / str(typical), list(read_faces(tmp_path / str(typical)).table.file_name))
        lips = measures.blendshapes[:, list(measures.blendshape_names).index("mouthLowerDownLeft")]
        apart[typical] = (lips > 0.2).mean()
    assert apart[1.0] == 1
    assert apart[0.0] < 0.8


def test_verify_sees_a_simulated_face_that_was_changed(folder, tmp_path):
    simulate(tmp_path / "faces", SCENES, SimulateSettings(count=3, size=16, workers=1, device="cpu"))
    victim = read_faces(tmp_path / "faces").path(0)
    victim.write_bytes(read_faces(tmp_path / "faces").path(1).read_bytes())
    assert any(victim.name in problem for problem in verify(tmp_path / "faces").problems)


def test_metadata_and_measures_have_exactly_what_was_drawn(folder):
    faces = read_faces(folder)
    measures = read_measures(folder, faces.table.file_name.tolist())
    assert measures.blendshape_names.tolist() == list(BLENDSHAPE_NAMES)
    for i, row in enumerate(faces.table.itertuples()):
        scene = draw_scene(SCENES, int(row.file_name[-10:-4]))
        assert row.label == scene.label
        assert json.loads(row.condition) == scene.expression
        assert row.seed == scene.seed
        assert json.loads(row.pose) == list(scene.pose)
        assert 1 <= json.loads(row.description)["monk_tone"] <= 10
        exact = [scene.expression.get(name, 0) for name in BLENDSHAPE_NAMES]
        np.testing.assert_allclose(measures.blendshapes[i], exact, atol=1e-6)
        np.testing.assert_allclose(measures.pose[i], scene.pose, atol=1e-4)


def test_landmarks_are_there_if_the_face_model_knows_them(folder):
    measures = read_measures(folder, read_faces(folder).table.file_name.tolist())
    known = load_face_model(None).mesh_triangles is not None
    assert np.isfinite(measures.landmarks).all() == known


def test_pictures_depend_on_their_row_and_not_on_the_count(folder, tmp_path):
    simulate(tmp_path / "few", SCENES, SimulateSettings(count=7, size=16, workers=1, device="cpu"))
    few, many = contents(tmp_path / "few"), contents(folder)
    pictures = [name for name in few if "/" in name]
    assert len(pictures) == 7
    assert all(few[name] == many[name] for name in pictures)


def test_two_processes_write_the_same_files_as_one(folder, tmp_path):
    simulate(tmp_path / "two", SCENES, SimulateSettings(count=40, size=16, workers=2, device="cpu"))
    assert contents(tmp_path / "two") == contents(folder)


def test_a_stopped_run_goes_on_and_ends_with_the_same_files(folder, tmp_path, monkeypatch):
    out, make = tmp_path / "stopped", module.SimulationJob.make

    def stop_at_second(job, number):
        if number == 1:
            raise KeyboardInterrupt
        make(job, number)

    monkeypatch.setattr(module.SimulationJob, "make", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        simulate(out, SCENES, SMALL)
    monkeypatch.undo()
    assert len(list(out.glob("*/*.png"))) == 33
    lost = next(out.glob("happy/*.png"))
    lost.unlink()  # a picture that a power cut has eaten is made again
    made = []
    monkeypatch.setattr(module.SimulationJob, "make", lambda job, number: (made.append(number), make(job, number))[1])
    simulate(out, SCENES, SMALL)
    assert made == [0, 1]
    assert contents(out) == contents(folder)


def test_a_finished_run_is_not_done_again_and_another_one_is_refused(folder, monkeypatch):
    before = contents(folder)
    monkeypatch.setattr(module.SimulationJob, "make", None)
    again = simulate(folder, SCENES, SimulateSettings(count=40, size=16, workers=2, device="cpu"))
    assert again.already_done
    assert "nothing to do" in str(again)
    for other in (SceneSettings(expressions=SCENES.expressions, per_subject=3, seed=1), SceneSettings()):
        with pytest.raises(EmoaugError, match="another run"):
            simulate(folder, other, SMALL)
    assert contents(folder) == before


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(EmoaugError, match="not empty"):
        simulate(tmp_path, SCENES, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_expressions_are_known_in_any_spelling_and_others_are_named(tmp_path):
    scenes = SceneSettings(expressions=("Joy", "happily surprised"), per_subject=2)
    done = simulate(tmp_path / "a", scenes, SimulateSettings(count=2, size=16, workers=1, device="cpu"))
    assert done.per_class == {"happy": 1, "happily_surprised": 1}
    with pytest.raises(EmoaugError, match="bored"):
        simulate(tmp_path / "b", SceneSettings(expressions=("bored",)), SMALL)
    with pytest.raises(EmoaugError, match="twice"):
        simulate(tmp_path / "b", SceneSettings(expressions=("happy", "joy")), SMALL)
    assert not (tmp_path / "b").exists()


def test_measured_expressions_are_shown_as_they_were_measured(tmp_path):
    vectors = np.zeros((1, 52), np.float32)
    vectors[0, BLENDSHAPE_NAMES.index("jawOpen")] = 0.6
    source = MeasuredExpressions({"joy": vectors})
    scenes = SceneSettings(expressions=("joy",), per_subject=2, spread=0.0)
    small = SimulateSettings(count=2, size=16, workers=1, device="cpu")
    simulate(tmp_path / "a", scenes, small, source)
    table = read_faces(tmp_path / "a").table
    assert table.label.tolist() == ["joy", "joy"]
    assert json.loads(table.condition[0]) == {"jawOpen": 0.6}
    with pytest.raises(EmoaugError, match="differs in expression source"):
        simulate(tmp_path / "a", scenes, small, MeasuredExpressions({"joy": vectors / 2}))


def test_a_world_that_stands_in_for_a_real_one_is_marked_as_real(tmp_path):
    settings = SimulateSettings(count=3, size=16, workers=1, device="cpu", as_real=True)
    simulate(tmp_path / "a", SCENES, settings)
    assert not read_faces(tmp_path / "a").table.is_synthetic.any()
    assert read_faces(tmp_path / "a").for_training().all()
    assert verify(tmp_path / "a").problems == ()


@pytest.mark.parametrize(
    ("wrong", "said"), [({"count": 0}, "count is 0"), ({"size": 8}, "size is 8"), ({"workers": -1}, "workers is -1")]
)
def test_settings_out_of_range_are_named(wrong, said):
    with pytest.raises(EmoaugError, match=said):
        SimulateSettings(**wrong)
