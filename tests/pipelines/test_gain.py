"""Gain trials from end to end on drawn faces, and the leaks that they must refuse."""

import json
from dataclasses import replace

import numpy as np
import pytest

from augment.checkpoints import read_config
from augment.folders import read_faces
from augment.training import TrainingSettings
from classifiers.training import ClassifierSettings
from emoaug import EmoaugError
from pipelines.arms import get_arm
from pipelines.gain import run_gain
from pipelines.report import write_report
from pipelines.splits import Fold
from pipelines.synthetic import check_lineage
from pipelines.trials import GainSettings
from tests.drawn_dataset import draw_dataset

SETTINGS = GainSettings(
    arms=("real,classical", "lssl"),
    folds=2,
    seeds=1,
    synthetic_factor=1.0,
    size=32,
    training=TrainingSettings(steps=2, batch_size=4, sample_every=2, precision="32-true", device="cpu"),
    classifier=ClassifierSettings(steps=6, batch_size=8),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gain")
    faces = draw_dataset(folder / "drawn", subjects=8)
    return faces, run_gain(faces, folder / "out", SETTINGS), folder / "out"


def test_every_arm_is_tried_on_every_fold_with_the_same_number_of_steps(run):
    _, trials, _ = run
    assert sorted(zip(trials.arm, trials.fold, strict=True)) == [
        (arm, fold) for arm in ("classical", "lssl", "real") for fold in (0, 1)
    ]
    assert (trials[trials.arm == "lssl"].synthetic_faces == 8).all()
    assert (trials[trials.arm != "lssl"].synthetic_faces == 0).all()
    assert trials.macro_f1.between(0, 1).all()


def test_rendered_and_refined_faces_are_made_for_the_trial_alone(run, tmp_path):
    faces, _, _ = run
    settings = replace(
        SETTINGS, arms=("simulated", "refined"), simulated_per_class=2, simulated_expressions="prototypes"
    )
    trials = run_gain(faces, tmp_path / "out", settings)
    assert (trials.synthetic_faces == 4).all()
    refined = read_faces(tmp_path / "out" / "synthetic" / "fold0-seed0-refined")
    rendered = read_faces(tmp_path / "out" / "rendered" / "fold0-seed0-refined")
    assert sorted(refined.table.source_file) == sorted(rendered.table.file_name)
    seen = read_config(tmp_path / "out" / "systems" / "fold0-seed0-refined")["extra"]["training_data"]["subjects"]
    tested = trials[(trials.arm == "refined") & (trials.fold == 0)].test_faces.item()
    assert len(seen) == 8 - tested // 2
    assert not set(seen) & set(rendered.table.subject)


def test_trials_that_are_done_are_not_done_again(run):
    faces, trials, out = run
    before = {p: p.stat().st_mtime_ns for p in (out / "trials").iterdir()}
    again = run_gain(faces, out, SETTINGS)
    assert {p: p.stat().st_mtime_ns for p in (out / "trials").iterdir()} == before
    assert again.equals(trials)


def test_a_lost_trial_is_done_again_with_the_same_result(run):
    faces, _, out = run
    path = out / "trials" / "fold1-seed0-lssl.json"
    scores = json.loads(path.read_text())["scores"]
    path.unlink()
    run_gain(faces, out, SETTINGS)
    assert json.loads(path.read_text())["scores"] == scores


def test_the_number_of_workers_changes_nothing(run, tmp_path):
    faces, trials, _ = run
    columns = ["arm", "fold", "seed", "accuracy", "macro_f1", "calibration_error"]
    alone = run_gain(faces, tmp_path / "out", replace(SETTINGS, workers=1))
    assert alone[columns].equals(trials[columns])


def test_other_settings_in_the_same_folder_are_refused(run):
    faces, _, out = run
    with pytest.raises(EmoaugError, match="settings differs"):
        run_gain(faces, out, replace(SETTINGS, seeds=2))


def test_the_report_has_a_verdict(run):
    faces, trials, out = run
    text = write_report(faces, trials, out, SETTINGS)
    assert "lssl" in text
    assert (out / "report" / "index.html").stat().st_size > 10_000


def lineage(run):
    faces, _, out = run
    made = read_faces(out / "synthetic" / "fold0-seed0-lssl")
    used = set(made.table.subject)
    subjects = faces.table.subject.to_numpy()
    train = np.flatnonzero([s in used for s in subjects])
    rest = np.setdiff1d(np.arange(len(faces)), train)
    return faces, made, read_config(out / "systems" / "fold0-seed0-lssl"), train, rest


def test_synthetic_faces_come_from_training_people_only(run):
    faces, made, config, train, rest = lineage(run)
    check_lineage(made, config, faces, Fold(0, train, rest))
    assert len(made) == 8


def test_a_test_face_among_the_sources_is_refused(run):
    faces, made, config, train, rest = lineage(run)
    unknown = faces.table.assign(subject=None)
    leak = int(np.flatnonzero([faces.sha256(i) in set(made.table.source_sha256) for i in range(len(faces))])[0])
    fold = Fold(0, train, np.append(rest, leak))
    nobody = replace(made, table=made.table.assign(subject=None))
    with pytest.raises(EmoaugError, match="were made from test faces of fold 0"):
        check_lineage(nobody, config, replace(faces, table=unknown), fold)


def test_a_system_that_saw_a_test_person_is_refused(run):
    faces, made, config, train, rest = lineage(run)
    seen = config["extra"]["training_data"]
    leaky = config | {
        "extra": {"training_data": seen | {"subjects": [*seen["subjects"], faces.table.subject[rest[0]]]}}
    }
    with pytest.raises(EmoaugError, match="its system was trained on"):
        check_lineage(made, leaky, faces, Fold(0, train, rest))


def test_one_expression_alone_is_an_error(run, tmp_path):
    faces, _, _ = run
    with pytest.raises(EmoaugError, match="needs two expressions"):
        run_gain(faces.select((faces.table.label == "happy").to_numpy()), tmp_path / "out", SETTINGS)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("folds", 0, "1 or more"), ("arms", ("stargan",), "unknown arm"), ("synthetic_share", 1.0, "between 0 and 1")],
)
def test_settings_out_of_range_say_what_is_allowed(field, value, message):
    with pytest.raises(EmoaugError, match=message):
        replace(SETTINGS, **{field: value})


def test_arms_are_what_they_say():
    assert get_arm("real").recipe == "none"
    assert get_arm("lssl").source == "lssl"
    assert get_arm("lssl").recipe == get_arm("classical").recipe


def test_a_measured_arm_learns_from_all_training_faces_and_takes_expressions_from_labelled_ones(run, tmp_path):
    faces, _, _ = run
    settings = replace(SETTINGS, arms=("lssl-measured",), labels_per_class=2, synthetic_factor=2.0)
    trials = run_gain(faces, tmp_path / "out", settings)
    assert (trials.synthetic_faces == 8).all()
    for trial in trials.itertuples():
        name = f"fold{trial.fold}-seed0-lssl-measured"
        made = read_faces(tmp_path / "out" / "synthetic" / name)
        seen = read_config(tmp_path / "out" / "systems" / name)["extra"]["training_data"]
        assert trial.train_faces == 4
        assert seen["faces"] == len(faces) - trial.test_faces
        assert seen["classes"] == {"neutral": 2, "happy": 2}
        assert not set(made.table.subject) - set(seen["subjects"])
        assert made.table.exemplar_file.nunique() == 4
        assert (made.table.exemplar_file.str.split("/").str[0] == made.table.label).all()
        assert (made.table.exemplar_file != made.table.source_file).all()


def test_a_test_face_among_the_exemplars_is_refused(run):
    faces, made, config, train, rest = lineage(run)
    for column in ("exemplar_sha256", "second_exemplar_sha256"):
        table = made.table.assign(**{column: [faces.sha256(int(rest[0])), *[None] * (len(made) - 1)]})
        with pytest.raises(EmoaugError, match="made from test faces of fold 0"):
            check_lineage(replace(made, table=table), config, faces, Fold(0, train, rest))
