"""Gain trials from end to end on drawn faces, and the leaks that they must refuse."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from augment.checkpoints import DEFAULT, load_translator, read_config, save_checkpoint, weights_sha256
from augment.folders import read_faces
from augment.pictures import encode_png, write_bytes
from augment.runs import read_run
from augment.simulation.scenes import SceneSettings
from augment.simulation.simulate import simulate
from augment.simulation.simulation_work import SimulateSettings
from augment.simulation.surroundings import Surroundings
from augment.systems import get_system
from augment.training import TrainingSettings
from augment.training_run import train
from classifiers.training import ClassifierSettings
from emoaug import EmoaugError
from pipelines import gain_data
from pipelines.beside import faces_beside
from pipelines.gain import KIND, possible_arms, run_gain
from pipelines.gain_data import GainData
from pipelines.leaks import HeldOut, check_lineage, check_pixels
from pipelines.report import write_report
from pipelines.splits import Fold
from pipelines.trials import GainSettings
from tests.drawn_dataset import draw_dataset

SETTINGS = GainSettings(
    arms=("real,classical", "lssl", "mixup+lssl"),
    folds=2,
    seeds=1,
    synthetic_factor=1.0,
    synthetic_kept="all",
    size=32,
    workers=1,
    training=TrainingSettings(steps=2, batch_size=4, sample_every=2, precision="32-true", device="cpu"),
    classifier=ClassifierSettings(steps=6, batch_size=8),
)
PLAIN = replace(SETTINGS, arms=("real", "classical"), classifier=ClassifierSettings(steps=2, batch_size=8))
SCORES = ["arm", "labels", "fold", "seed", "accuracy", "macro_f1", "calibration_error"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gain")
    faces = draw_dataset(folder / "drawn", subjects=8)
    return faces, run_gain(faces, folder / "out", SETTINGS), folder / "out"


def test_every_arm_is_tried_on_every_fold_with_the_same_number_of_steps(run):
    _, trials, _ = run
    assert sorted(zip(trials.arm, trials.fold, strict=True)) == [
        (arm, fold) for arm in ("classical", "lssl", "mixup+lssl", "real") for fold in (0, 1)
    ]
    with_faces = trials.arm.str.contains("lssl")
    assert (trials[with_faces].synthetic_faces == 8).all()
    assert (trials[~with_faces].synthetic_faces == 0).all()
    assert trials.macro_f1.between(0, 1).all()


def test_arms_share_their_synthetic_faces_and_each_counts_what_they_took(run):
    _, trials, out = run
    assert sorted(p.name for p in (out / "systems").iterdir()) == ["fold0-seed0-all-lssl", "fold1-seed0-all-lssl"]
    for fold in (0, 1):
        seconds = trials[(trials.fold == fold) & trials.arm.str.contains("lssl")].system_seconds
        assert seconds.nunique() == 1
        assert seconds.iloc[0] > 0


def test_trainings_whose_faces_are_copies_are_told_of_in_the_report(run, tmp_path):
    faces, trials, out = run
    shutil.copytree(out, tmp_path / "out")
    first, second = sorted((tmp_path / "out" / "systems").glob("*/log.jsonl"))
    first.write_text(json.dumps({"step": 600, "change": 0.01, "attribute": 0.7}) + "\n")
    second.write_text(json.dumps({"step": 600, "change": 0.1, "attribute": 0.1}) + "\n")
    next((tmp_path / "out" / "trials").glob("*-lssl.json")).unlink()
    run_gain(faces, tmp_path / "out", SETTINGS)
    (told,) = [note for note in read_run(tmp_path / "out", KIND)["notes"] if note.startswith("Of lssl")]
    assert "1 of 2 trainings" in told
    assert "copies of their sources" in told
    write_report(faces, trials, tmp_path / "out", SETTINGS)
    assert "1 of 2 trainings" in (tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8")


def test_copies_are_left_out_of_trials_and_told_of(tmp_path):
    """Systems of two steps copy, and a classifier sees a copy as what its source is."""
    faces = draw_dataset(tmp_path / "drawn", subjects=8)
    for row, label in enumerate(faces.table.label):
        # What distinguishes the classes is easy to see: a bright upper or a bright lower half.
        picture = faces.picture(row) // 4
        half = len(picture) // 2
        picture[slice(half) if label == "happy" else slice(half, None)] += 180
        write_bytes(faces.path(row), encode_png(picture))
    learned = ClassifierSettings(steps=80, batch_size=8)
    arms = ("classical", "lssl", "simulated+lssl")
    settings = replace(SETTINGS, arms=arms, synthetic_kept="seen", simulated_per_class=2, classifier=learned)
    trials = run_gain(read_faces(faces.root), tmp_path / "out", settings)
    counts = trials.groupby("arm").synthetic_faces.unique()
    # Rendered faces show what they were rendered to show.
    assert {arm: values.tolist() for arm, values in counts.items()} == {"classical": [0], "lssl": [0], arms[2]: [4]}
    scores = trials.pivot(index="fold", columns="arm", values="macro_f1")
    assert (scores["lssl"] == scores["classical"]).all()
    notes = read_run(tmp_path / "out", KIND)["notes"]
    (told,) = [note for note in notes if note.startswith("Of 16 faces of lssl")]
    assert "sees 0 as" in told
    assert "None is left in 2 of 2 sets" in told
    assert any(note.startswith("In 2 of 2 trials of simulated+lssl synthetic faces were too few") for note in notes)


def test_rendered_faces_like_the_training_faces_know_no_others(run, tmp_path):
    faces, _, out = run
    settings = replace(SETTINGS, arms=("simulated",), simulated_per_class=2, simulated_typical=0.5, simulated_like=True)
    run_gain(faces, tmp_path / "out", settings)
    for fold in (0, 1):
        known = read_config(out / "systems" / f"fold{fold}-seed0-all-lssl")["extra"]["training_data"]["subjects"]
        rest = faces.select(faces.table.subject.isin(known).to_numpy())
        made = read_run(tmp_path / "out" / "synthetic" / f"fold{fold}-seed0-all-simulated", "emoaug simulate")
        assert made["identity"]["surroundings"] == Surroundings.from_folder(faces.root, rest).fingerprint()
        assert made["settings"]["typical"] == 0.5


def test_synthetic_faces_of_some_expressions_only(run, tmp_path):
    faces, _, _ = run
    wanted = replace(SETTINGS, arms=("simulated", "lssl"), simulated_per_class=3, synthetic_targets=("happy",))
    trials = run_gain(faces, tmp_path / "out", wanted)
    assert (trials.synthetic_faces > 0).all()
    for folder in (tmp_path / "out" / "synthetic").glob("*/"):
        assert set(read_faces(folder).table.label) == {"happy"}
    with pytest.raises(EmoaugError, match="synthetic_targets has bored; the faces show"):
        run_gain(faces, tmp_path / "other", replace(wanted, synthetic_targets=("bored",)))


def test_few_sources_give_no_face_twice(run, tmp_path):
    faces, _, _ = run
    settings = replace(SETTINGS, arms=("lssl",), synthetic_factor=24.0)
    trials = run_gain(faces, tmp_path / "out", settings)
    # Eight training faces of two expressions can each be asked for the other one.
    assert (trials.synthetic_faces == 8).all()
    for folder in (tmp_path / "out" / "synthetic").glob("*-lssl"):
        made = read_faces(folder)
        assert len({made.sha256(i) for i in range(len(made))}) == len(made) == 8


def test_rendered_beside_are_not_people_whom_simulate_renders_by_default(tmp_path):
    scenes = SceneSettings(expressions=("neutral", "happy"), per_subject=2)
    simulate(tmp_path / "world", scenes, SimulateSettings(count=4, size=32, device="cpu", workers=1))
    faces = draw_dataset(tmp_path / "drawn", subjects=2)
    beside = faces_beside(tmp_path / "beside", faces, 2, 32, scenes.seed)
    assert not set(beside.table.subject) & set(read_faces(tmp_path / "world").table.subject)
    happy = faces.select((faces.table.label == "happy").to_numpy())
    with pytest.raises(EmoaugError, match=r"show happy; of these rendered faces know happy.* --rendered-beside"):
        faces_beside(tmp_path / "one", happy, 2, 32, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ("classical",), "rendered_beside": 5}, "--rendered-beside is for arms"),
        ({"arms": ("lssl-measured",), "rendered_beside": 5}, "--rendered-beside is for arms"),
        ({"arms": ("classical",), "simulated_like": True}, "--simulated-like is for the arms"),
        ({"rendered_beside": -1}, "rendered_beside is -1"),
        ({"arms": ("classical",), "simulated_typical": 1.0}, "--simulated-typical is for the arms"),
        (
            {"arms": ("simulated",), "simulated_typical": 1.0, "simulated_expressions": "measured"},
            "--simulated-typical is for the arms",
        ),
        ({"arms": ("classical",), "synthetic_targets": ("happy",)}, "--synthetic-targets is for arms with"),
        ({"arms": ("refined",), "synthetic_targets": ("happy",)}, "not for refined"),
        ({"synthetic_factor": float("inf")}, "synthetic_factor is inf"),
    ],
)
def test_settings_that_nothing_would_use_are_refused(change, message):
    with pytest.raises(EmoaugError, match=message):
        replace(SETTINGS, **change)


def test_faces_that_were_not_measured_cannot_be_rendered_like(tmp_path):
    faces = draw_dataset(tmp_path / "drawn", subjects=8, landmarks=False)
    with pytest.raises(EmoaugError, match="align the faces"):
        run_gain(faces, tmp_path / "out", replace(SETTINGS, arms=("simulated",), simulated_like=True))


def test_systems_learn_from_rendered_faces_beside_where_asked(run, tmp_path):
    faces, _, out = run
    settings = replace(SETTINGS, arms=("lssl",), rendered_beside=2)
    trials = run_gain(faces, tmp_path / "out", settings)
    assert (trials.synthetic_faces == 8).all()
    for fold in (0, 1):
        name = f"systems/fold{fold}-seed0-all-lssl"
        seen, plain = (read_config(folder / name)["extra"]["training_data"] for folder in (tmp_path / "out", out))
        assert seen["also"]["faces"] == 4
        beside = tmp_path / "out" / "rendered" / f"fold{fold}-seed0-all-lssl"
        assert read_run(beside, "emoaug simulate")["settings"]["typical"] == 1
        assert seen["sha256"] == plain["sha256"]


def test_rendered_and_refined_faces_are_made_for_the_trial_alone(run, tmp_path):
    faces, _, _ = run
    settings = replace(
        SETTINGS,
        arms=("simulated", "refined"),
        simulated_per_class=2,
        labels_per_class=("2",),
    )
    trials = run_gain(faces, tmp_path / "out", settings)
    assert (trials.synthetic_faces == 4).all()
    # Trials of one seed and the same classes share the rendered faces, whatever the fold.
    assert [path.name for path in (tmp_path / "out" / "synthetic").glob("*-simulated")] == ["seed0-0-1-simulated"]
    assert (trials[trials.arm == "simulated"].synthetic_faces == 4).all()
    refined = read_faces(tmp_path / "out" / "synthetic" / "fold0-seed0-2-refined")
    rendered = read_faces(tmp_path / "out" / "rendered" / "fold0-seed0-2-refined")
    assert sorted(refined.table.source_file) == sorted(rendered.table.file_name)
    # Nobody whom `emoaug simulate` renders with a seed that somebody would give: those may be the people who test.
    assert not any(name.startswith("simulated-0-") for name in rendered.table.subject)
    trial = trials[(trials.arm == "refined") & (trials.fold == 0)].iloc[0]
    seen = read_config(tmp_path / "out" / "systems" / "fold0-seed0-2-refined")["extra"]["training_data"]
    # Four faces have labels; the refiner sees all training faces, which needs none.
    assert trial.train_faces == 4
    assert seen["faces"] == len(faces) - trial.test_faces
    assert not set(seen["subjects"]) & set(rendered.table.subject)


def test_pretrained_weights_change_training_faces_that_need_no_label(run, tmp_path):
    faces, _, _ = run
    settings = replace(SETTINGS, arms=("pretrained",), labels_per_class=("1",), synthetic_factor=8.0)
    trials = run_gain(faces, tmp_path / "out", settings)
    # Of eight faces asked for in each class seven are another's: the labelled one of the class is no source.
    assert (trials.synthetic_faces == 14).all()
    assert not (tmp_path / "out" / "systems").exists()
    made = read_faces(tmp_path / "out" / "synthetic" / "fold0-seed0-1-pretrained")
    assert len(set(made.table.source_file)) > 2
    assert set(made.table.checkpoint_sha256.dropna()) == {weights_sha256(load_translator(DEFAULT))}
    run_file = json.loads((tmp_path / "out" / "run.json").read_text())
    assert "cannot be seen here" in run_file["notes"][-1]
    assert run_file["identity"]["weights"] == weights_sha256(load_translator(DEFAULT))


def test_pretrained_weights_are_asked_in_the_words_of_the_dataset_and_miss_what_they_do_not_know(run, tmp_path):
    faces, _, _ = run
    own = {"neutral": "smug", "happy": "joy"}
    renamed = replace(
        faces, table=faces.table.assign(label=faces.table.label.map(own).astype(object)), vocabulary=("smug", "joy")
    )
    settings = replace(SETTINGS, arms=("pretrained",), labels_per_class=("1",), synthetic_factor=8.0)
    run_gain(renamed, tmp_path / "out", settings)
    made = read_faces(tmp_path / "out" / "synthetic" / "fold0-seed0-1-pretrained", vocabulary=("smug", "joy"))
    assert set(made.table.label) == {"joy"}
    assert (
        "They know no smug: pretrained has no faces of it."
        in json.loads((tmp_path / "out/run.json").read_text())["notes"]
    )


def test_pretrained_weights_that_know_no_class_are_refused(run, tmp_path):
    faces, _, _ = run
    renamed = {name: f"mood{i}" for i, name in enumerate(faces.vocabulary)}
    strange = replace(
        faces, table=faces.table.assign(label=faces.table.label.map(renamed)), vocabulary=tuple(renamed.values())
    )
    with pytest.raises(EmoaugError, match="no labelled face shows one of these; they show mood0, mood1"):
        run_gain(strange, tmp_path / "out", replace(SETTINGS, arms=("pretrained",)))


def test_trials_that_are_done_are_not_done_again(run):
    faces, trials, out = run
    before = {p: p.stat().st_mtime_ns for p in (out / "trials").iterdir()}
    again = run_gain(faces, out, SETTINGS)
    assert {p: p.stat().st_mtime_ns for p in (out / "trials").iterdir()} == before
    assert again.equals(trials)


def test_a_lost_trial_is_done_again_with_the_same_result(run):
    faces, _, out = run
    path = out / "trials" / "fold1-seed0-all-lssl.json"
    scores = json.loads(path.read_text())["scores"]
    path.unlink()
    run_gain(faces, out, SETTINGS)
    assert json.loads(path.read_text())["scores"] == scores


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(run, tmp_path):
    faces, _, _ = run
    one = run_gain(faces, tmp_path / "one", PLAIN)
    two = run_gain(faces, tmp_path / "two", replace(PLAIN, workers=2))
    assert two[SCORES].equals(one[SCORES])


def test_other_settings_in_the_same_folder_are_refused(run):
    faces, _, out = run
    with pytest.raises(EmoaugError, match=r"differs in settings: seeds \(1, now 2\)"):
        run_gain(faces, out, replace(SETTINGS, seeds=2))


def test_the_report_has_a_verdict(run):
    faces, trials, out = run
    text = write_report(faces, trials, out, SETTINGS)
    assert "lssl" in text
    assert (out / "report" / "index.html").stat().st_size > 10_000


def test_the_reference_and_the_sanity_arm_stand_beside_the_others(run, tmp_path):
    faces, _, _ = run
    settings = replace(PLAIN, arms=("classical", "geometry", "shuffled"), labels_per_class=("2", "all"))
    trials = run_gain(faces, tmp_path / "out", settings)
    assert trials.groupby(["labels", "arm"]).size().tolist() == [2] * 6
    assert trials[trials.labels == "2"].train_faces.tolist() == [4] * 6
    text = write_report(faces, trials, tmp_path / "out", settings)
    assert "With 2 labels a class in random order" in (tmp_path / "out" / "report" / "index.html").read_text()
    assert "geometry" in text


def test_arms_that_nobody_asked_for_are_left_out_where_they_know_no_expression(run):
    faces, _, _ = run
    data = GainData.load(faces, None, None)
    settings = GainSettings()
    folds = [fold for _, fold in data.folds(settings)]
    assert possible_arms(settings, data, folds) == (list(settings.arms), [])
    strange = replace(data, faces=replace(faces, vocabulary=(*faces.vocabulary, "smug")))
    arms, notes = possible_arms(settings, strange, folds)
    assert arms == [arm for arm in settings.arms if arm != "simulated+pretrained"]
    assert notes == ["The arm simulated+pretrained is left out: it does not know how smug looks."]
    synonyms = replace(data, faces=replace(faces, vocabulary=("neutrality", "joy")))
    assert possible_arms(settings, synonyms, folds) == (list(settings.arms), [])
    asked = replace(settings, arms=("real", "simulated+pretrained"))
    assert possible_arms(asked, strange, folds) == (["real", "simulated+pretrained"], [])


def test_weights_that_have_seen_people_who_test_are_left_out_or_refused(tmp_path):
    """The package's own weights know the photographs that they learnt from by the names that the dataset has."""
    faces = draw_dataset(tmp_path / "drawn", subjects=8)
    named = {f"person{i:02d}": f"london{140 + i}" for i in range(1, 8)}
    faces = replace(faces, table=faces.table.assign(subject=faces.table.subject.replace(named)))
    data = GainData.load(faces, None, None)
    settings = GainSettings()
    folds = [fold for _, fold in data.folds(settings)]
    arms, notes = possible_arms(settings, data, folds)
    assert arms == [arm for arm in settings.arms if arm != "simulated+pretrained"]
    assert "its weights were trained on london14" in notes[0]
    for asked, mend in (
        (replace(settings, arms=("pretrained",)), "leave pretrained out of --arms"),
        (replace(settings, arms=("lssl",), initial=Path(DEFAULT)), "leave --initial out"),
    ):
        said = rf"were trained on london14.*, who test; {mend}, or take other weights"
        with pytest.raises(EmoaugError, match=said):
            possible_arms(asked, data, folds)
    # Of no account where these people do not test.
    strangers = [replace(fold, test=np.flatnonzero(faces.table.subject == "person00")) for fold in folds]
    assert possible_arms(settings, data, strangers) == (list(settings.arms), [])


def test_more_labels_a_class_than_there_are_are_refused(run, tmp_path):
    faces, _, _ = run
    with pytest.raises(EmoaugError, match="labels_per_class has 1000, and no class has more than"):
        run_gain(faces, tmp_path / "out", replace(PLAIN, labels_per_class=("1", "1000")))


def test_without_blendshapes_the_reference_is_left_out_and_that_is_said(tmp_path, capsys):
    faces = draw_dataset(tmp_path / "drawn", subjects=4, landmarks=False)
    trials = run_gain(faces, tmp_path / "out", replace(PLAIN, arms=("real", "geometry")))
    assert set(trials.arm) == {"real"}
    assert "no blendshapes" in capsys.readouterr().out
    assert "no blendshapes" in json.loads((tmp_path / "out" / "run.json").read_text())["notes"][0]


def test_tuning_chooses_on_training_people_with_faces_that_know_nothing_of_them(run, tmp_path):
    faces, _, _ = run
    settings = replace(SETTINGS, arms=("classical", "lssl", "geometry"), tuning="small", classifier=PLAIN.classifier)
    trials = run_gain(faces, tmp_path / "out", settings)
    for trial in trials.itertuples():
        name = f"fold{trial.fold}-seed0-all-{trial.arm}"
        choice = json.loads((tmp_path / "out" / "trials" / f"{name}.json").read_text())["choice"]
        assert len(choice["losses"]) == 4
        assert choice["validation_faces"] == 2
        assert json.loads(trial.settings) == choice["settings"]
    test = np.load(tmp_path / "out" / "trials" / "fold0-seed0-all-lssl.npz")["rows"]
    whole, apart = (
        set(read_config(tmp_path / "out" / "systems" / name)["extra"]["training_data"]["subjects"])
        for name in ("fold0-seed0-all-lssl", "fold0-seed0-all-lssl-tuning")
    )
    assert apart < whole
    assert len(whole - apart) == 1
    assert not whole & set(faces.table.subject[test])


def test_another_dataset_can_test(run, tmp_path):
    faces, _, _ = run
    other = draw_dataset(tmp_path / "other", subjects=3)
    for i in range(len(other)):
        write_bytes(other.path(i), encode_png(255 - other.picture(i)[::-1]))
    other = replace(other, table=other.table.assign(subject="stranger" + other.table.subject))
    trials = run_gain(faces, tmp_path / "out", replace(PLAIN, seeds=2), other)
    assert (trials.test_faces == 6).all()
    assert (trials.train_faces == len(faces)).all()
    text = write_report(faces, trials, tmp_path / "out", replace(PLAIN, seeds=2))
    assert "2 paired trials" in text


# Leaks: whatever brings a test face near a training, nothing may come of it.


def test_a_test_face_among_the_training_faces_is_refused(run, tmp_path, monkeypatch):
    faces, _, _ = run
    make = gain_data.make_folds

    def leaky(*arguments):
        for fold in make(*arguments):
            yield Fold(fold.number, np.append(fold.train, fold.test[0]), fold.test)

    monkeypatch.setattr(gain_data, "make_folds", leaky)
    with pytest.raises(EmoaugError, match="fold 0: 1 training faces show a person"):
        run_gain(faces, tmp_path / "out", PLAIN)
    assert not (tmp_path / "out" / "trials").exists()


def copied(run, tmp_path):
    """A copy of the run with one trial to do, the fold's test rows, and its name."""
    faces, _, out = run
    shutil.copytree(out, tmp_path / "out")
    name = "fold0-seed0-all-lssl"
    rows = np.load(out / "trials" / f"{name}.npz")["rows"]
    (tmp_path / "out" / "trials" / f"{name}.json").unlink()
    return faces, tmp_path / "out", name, rows


def test_a_mirrored_test_face_is_refused_as_well():
    faces = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    check_pixels(faces[:2], faces[2:], "trained")
    with pytest.raises(EmoaugError, match="1 of 2 faces have the very pixels"):
        check_pixels(faces[:2], faces[:1, ..., ::-1], "trained")


def test_a_test_face_among_the_synthetic_faces_is_refused(run, tmp_path):
    faces, out, name, rows = copied(run, tmp_path)
    made = read_faces(out / "synthetic" / name)
    write_bytes(made.path(3), encode_png(faces.picture(int(rows[0]))))
    with pytest.raises(EmoaugError, match="1 of 8 faces have the very pixels of faces that are held out"):
        run_gain(faces, out, SETTINGS)


def test_a_system_that_was_trained_on_all_folds_is_refused(run, tmp_path):
    faces, out, name, _ = copied(run, tmp_path)
    own = replace(get_system("lssl").configurations["compact"], size=32)
    checkpoint = train(faces, tmp_path / "all", "lssl", own, SETTINGS.training)
    shutil.rmtree(out / "systems" / name / "checkpoint")
    shutil.copytree(checkpoint, out / "systems" / name / "checkpoint")
    with pytest.raises(
        EmoaugError, match=r"its system was trained on person0\d, person0\d, person0\d and 1 more, held out"
    ):
        run_gain(faces, out, SETTINGS)


def test_a_system_from_another_folder_is_refused_where_nobody_is_named(tmp_path):
    faces = draw_dataset(tmp_path / "drawn", subjects=4)
    faces = replace(faces, table=faces.table.assign(subject=None))
    settings = replace(PLAIN, arms=("lssl",))
    own = replace(get_system("lssl").configurations["compact"], size=32)
    train(faces, tmp_path / "out" / "systems" / "fold0-seed0-all-lssl", "lssl", own, settings.training)
    with pytest.raises(EmoaugError, match="no run of gain trials"):
        run_gain(faces, tmp_path / "out", settings)
    made = read_faces(tmp_path / "drawn")
    config = read_config(tmp_path / "out" / "systems" / "fold0-seed0-all-lssl")
    made = replace(made, table=made.table.assign(subject=None))
    nothing = HeldOut(frozenset(), frozenset())
    check_lineage(made, config, faces, nothing)
    with pytest.raises(EmoaugError, match="trained on other faces"):
        check_lineage(made, config, faces.select(range(4)), nothing)


def test_a_system_that_began_with_weights_of_a_held_out_person_is_refused(run):
    faces, _, out = run
    name = "fold0-seed0-all-lssl"
    made, config = read_faces(out / "synthetic" / name), read_config(out / "systems" / name)
    seen = faces.select(np.setdiff1d(np.arange(len(faces)), np.load(out / "trials" / f"{name}.npz")["rows"]))
    held_out = HeldOut(frozenset(), frozenset({"somebody"}))
    check_lineage(made, config, seen, held_out)
    config["extra"]["training_data"]["initial"] = {"subjects": [], "initial": {"subjects": ["somebody"]}}
    with pytest.raises(EmoaugError, match="its system was trained on somebody, held out"):
        check_lineage(made, config, seen, held_out)


def test_systems_begin_with_the_weights_that_were_named(tmp_path):
    faces = draw_dataset(tmp_path / "drawn", subjects=4)
    own = replace(get_system("lssl").configurations["compact"], size=32)
    still = TrainingSettings(steps=1, batch_size=4, precision="32-true", device="cpu", learning_rate=1e-12)
    strangers = replace(faces, table=faces.table.assign(subject="stranger-" + faces.table.subject))
    train(strangers, tmp_path / "first", "lssl", own, replace(still, seed=5), faces.vocabulary)
    settings = replace(PLAIN, arms=("lssl",), training=still, initial=tmp_path / "first")
    run_gain(faces, tmp_path / "out", settings)
    first, second = (load_translator(tmp_path / run) for run in ("first", "out/systems/fold0-seed0-all-lssl"))
    torch.testing.assert_close(second.encoder.state_dict(), first.encoder.state_dict(), atol=1e-5, rtol=0)
    assert any("begin with these" in note for note in json.loads((tmp_path / "out" / "run.json").read_text())["notes"])


def test_systems_begin_as_train_does_unless_the_weights_saw_who_tests(tmp_path, capsys):
    faces = draw_dataset(tmp_path / "drawn", subjects=4)
    still = TrainingSettings(steps=1, batch_size=4, precision="32-true", device="cpu")
    settings = replace(PLAIN, arms=("lssl", "reggan"), training=still)
    seen = read_config(DEFAULT)["extra"]["training_data"]["subjects"][0]
    known = replace(faces, table=faces.table.replace({"subject": {"person00": seen}}))
    for table, said in (
        (faces, "System lssl begins with the package's weights"),
        (known, "System lssl begins from nothing"),
    ):
        out = tmp_path / said.split()[3]
        run_gain(table, out, settings)
        assert said in capsys.readouterr().out
        for system in ("lssl", "reggan"):
            trained = read_config(out / "systems" / f"fold0-seed0-all-{system}")["extra"]["training_data"]
            assert ("initial" in trained) == (system == "lssl" and table is faces)
    assert replace(settings, initial="none").initial is None


def test_initial_weights_that_no_arm_can_begin_with_are_refused(tmp_path):
    faces = draw_dataset(tmp_path / "drawn", subjects=4)
    with pytest.raises(EmoaugError, match="holds weights of lssl, and no arm trains it"):
        run_gain(faces, tmp_path / "out", replace(PLAIN, arms=("real", "cdaae"), initial=DEFAULT))
    wide = replace(get_system("lssl").configurations["compact"], size=32, width=48, widest=64)
    save_checkpoint(tmp_path / "wide", get_system("lssl")(faces.vocabulary, wide), {})
    with pytest.raises(EmoaugError, match="--initial has other networks"):
        run_gain(faces, tmp_path / "out", replace(PLAIN, arms=("real", "lssl"), initial=tmp_path / "wide"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("column", ["source_sha256", "exemplar_sha256", "second_exemplar_sha256"])
def test_a_synthetic_face_that_was_made_from_a_test_face_is_refused(run, column):
    faces, _, out = run
    name = "fold0-seed0-all-lssl"
    made = read_faces(out / "synthetic" / name)
    rows = np.load(out / "trials" / f"{name}.npz")["rows"]
    held_out = HeldOut.of([(faces, rows)])
    config = read_config(out / "systems" / name)
    seen = faces.select(np.setdiff1d(np.arange(len(faces)), rows))
    check_lineage(made, config, seen, held_out)
    table = made.table.assign(subject=None)
    table.loc[2, column] = faces.sha256(int(rows[0]))
    with pytest.raises(EmoaugError, match="1 synthetic faces were made from faces that are held out"):
        check_lineage(replace(made, table=table), config, seen, held_out)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("folds", 1, "--test-split"),
        ("seeds", 0, "1 or more"),
        ("arms", ("stargan",), "unknown arm"),
        ("arms", ("oversample",), "no-class-balanced"),
        ("synthetic_share", 1.0, "between 0 and 1"),
        ("synthetic_first", 1.0, "below 1"),
        ("labels_per_class", ("5", "0"), "1 or more, or all"),
        ("labels_per_class", ("5,5",), "each number once"),
    ],
)
def test_settings_out_of_range_say_what_is_allowed(field, value, message):
    with pytest.raises(EmoaugError, match=message):
        replace(SETTINGS, **{field: value})


def test_a_measured_arm_learns_from_all_training_faces_and_takes_expressions_from_labelled_ones(run, tmp_path):
    faces, _, _ = run
    settings = replace(PLAIN, arms=("lssl-measured",), labels_per_class=("2", "3"), synthetic_factor=2.0)
    trials = run_gain(faces, tmp_path / "out", settings)
    systems = {path.name: path for path in (tmp_path / "out" / "systems").iterdir()}
    # What learns without labels is one for all numbers of labels.
    assert len(systems) == trials.fold.nunique() < len(trials)
    for trial in trials.itertuples():
        made = read_faces(tmp_path / "out" / "synthetic" / f"fold{trial.fold}-seed0-{trial.labels}-lssl-measured")
        assert trial.synthetic_faces == len(made) == 2 * trial.train_faces == 4 * int(trial.labels)
        assert made.table.exemplar_file.nunique() == trial.train_faces
        assert (made.table.exemplar_file.str.split("/").str[0] == made.table.label).all()
        assert (made.table.exemplar_file != made.table.source_file).all()
        hashes = set(made.table.checkpoint_sha256)
        (used,) = [s for s in systems.values() if read_config(s)["weights_sha256"] in hashes]
        seen = read_config(used)["extra"]["training_data"]
        assert seen["faces"] == len(faces) - trial.test_faces
        assert not set(made.table.subject) - set(seen["subjects"])


def test_an_arm_that_recombines_shows_labelled_training_faces_to_a_system_of_its_own_or_from_elsewhere(run, tmp_path):
    faces, _, _ = run
    compact = get_system("ip-gan").configurations["compact"]
    small = replace(compact, size=32, width=4, widest=8, judge_width=4)
    others = replace(faces, table=faces.table.assign(subject="other " + faces.table.subject))
    weights = train(others, tmp_path / "elsewhere", "ip-gan", small, SETTINGS.training)
    settings = replace(PLAIN, arms=("ip-gan", "pretrained"), weights=weights, labels_per_class=("2",))
    trials = run_gain(faces, tmp_path / "out", settings)
    for trial in trials.itertuples():
        made = read_faces(tmp_path / "out" / "synthetic" / f"fold{trial.fold}-seed0-2-{trial.arm}").table
        assert trial.synthetic_faces == len(made) == trial.train_faces
        assert made.exemplar_file.nunique() == trial.train_faces == 4
        assert (made.exemplar_file.str.split("/").str[0] == made.label).all()
        assert set(made.system) == {"ip-gan"}


def test_numbers_of_labels_are_read_with_commas():
    assert replace(SETTINGS, labels_per_class=("5,25", "all")).label_counts == (5, 25, "all")
    free = replace(SETTINGS.classifier, class_balanced=False)
    assert replace(SETTINGS, arms=("oversample",), classifier=free).arms == ("oversample",)
