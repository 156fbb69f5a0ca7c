"""What a call trains on, and in which folder."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from augment.checkpoints import load_translator, read_config
from augment.intensities import IntensityScale
from augment.measured_conditions import measured_conditions
from augment.pictures import read_picture
from augment.systems import get_system
from augment.training_run import train
from emoaug import EmoaugError
from tests.augment.tiny_training import SETTINGS, SYSTEM, weights
from tests.drawn_dataset import draw_dataset


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_dataset(tmp_path_factory.mktemp("drawn"))


def test_a_finished_run_does_nothing_and_another_is_refused(faces, tmp_path, capsys):
    train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}
    train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    assert "finished" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")} == before
    with pytest.raises(EmoaugError, match="differs in training"):
        train(faces, tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, seed=1))
    with pytest.raises(EmoaugError, match="differs in data sha256"):
        train(faces.select(np.arange(8)), tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    first = weights(tmp_path / "run")
    train(faces, tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, seed=1), restart=True)
    assert any(not torch.equal(first[n], w) for n, w in weights(tmp_path / "run").items())


def test_a_run_stays_with_the_precision_that_it_began_with(faces, tmp_path, monkeypatch):
    settings = replace(SETTINGS, precision="auto", steps=1)
    fast = {"now": False}
    monkeypatch.setattr("augment.devices.has_fast_bfloat16", lambda device: fast["now"])
    for name, begun in (("slow", "32-true"), ("quick", "bf16-mixed")):
        fast["now"] = name == "quick"
        checkpoint = train(faces, tmp_path / name, "lssl", SYSTEM, settings)
        assert read_config(checkpoint)["extra"]["training"]["precision"] == begun
        fast["now"] = not fast["now"]
        before = weights(tmp_path / name)
        train(faces, tmp_path / name, "lssl", SYSTEM, settings)
        assert all(torch.equal(before[n], w) for n, w in weights(tmp_path / name).items())
    with pytest.raises(EmoaugError, match=r"precision \(bf16-mixed, now 32-true\)"):
        train(faces, tmp_path / "quick", "lssl", SYSTEM, replace(settings, precision="32-true"))
    train(faces, tmp_path / "quick", "lssl", SYSTEM, settings, restart=True)
    assert read_config(tmp_path / "quick")["extra"]["training"]["precision"] == "32-true"


def test_a_folder_with_something_else_is_left_alone(faces, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(EmoaugError, match="holds no run of emoaug train"):
        train(faces, tmp_path, "lssl", SYSTEM, SETTINGS)
    with pytest.raises(EmoaugError, match="holds no run of emoaug train"):
        train(faces, tmp_path, "lssl", SYSTEM, SETTINGS, restart=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_faces_without_landmarks_are_an_error_that_names_the_command(tmp_path):
    bare = draw_dataset(tmp_path / "bare", landmarks=False)
    with pytest.raises(EmoaugError, match="emoaug align"):
        train(bare, tmp_path / "run", "lssl", SYSTEM, SETTINGS)


def test_one_expression_alone_is_an_error(faces, tmp_path):
    happy = faces.select((faces.table.label == "happy").to_numpy())
    with pytest.raises(EmoaugError, match="at least two expressions"):
        train(happy, tmp_path / "run", "lssl", SYSTEM, SETTINGS)


def test_held_out_and_synthetic_faces_are_not_trained_on(faces, tmp_path):
    table = faces.table.copy()
    table["split"] = ["train"] * 8 + ["test"] * 4
    table.loc[0, "is_synthetic"] = True
    checkpoint = train(replace(faces, table=table), tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, steps=1))
    seen = read_config(checkpoint)["extra"]["training_data"]
    assert seen["faces"] == 7
    assert set(seen["subjects"]) == {f"person{i:02d}" for i in range(4)}
    assert seen["classes"] == {"neutral": 3, "happy": 4}


def test_other_pictures_of_a_held_out_person_are_not_trained_on(faces, tmp_path):
    table = faces.table.copy()
    table["split"] = ["test", *["train"] * 11]
    checkpoint = train(replace(faces, table=table), tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, steps=1))
    seen = read_config(checkpoint)["extra"]["training_data"]
    assert table.subject[0] not in seen["subjects"]
    assert seen["faces"] == 10


@pytest.mark.parametrize(("system", "seen"), [("lssl", 8), ("ip-gan", 12)])
def test_unlabelled_faces_are_for_systems_that_take_them(faces, tmp_path, system, seen):
    table = faces.table.copy()
    table.loc[8:, "label"] = None
    kind = get_system(system)
    settings = SYSTEM if system == "lssl" else replace(kind.configurations["compact"], size=32, width=4, judge_width=4)
    checkpoint = train(replace(faces, table=table), tmp_path / "run", system, settings, replace(SETTINGS, steps=1))
    facts = read_config(checkpoint)["extra"]["training_data"]
    assert facts["faces"] == seen
    assert facts["classes"] == {"neutral": 4, "happy": 4}


@pytest.mark.parametrize("conditions", ["blendshapes", "action-units"])
def test_measured_conditions_need_no_labels_and_the_checkpoint_says_what_they_mean(tmp_path, conditions):
    faces = draw_dataset(tmp_path / "faces")
    faces.table["label"] = pd.Series([None] * 6 + list(faces.table.label[6:]), dtype=object)
    training = replace(SETTINGS, steps=3, sample_every=3, save_every=3)
    checkpoint = train(faces, tmp_path / "run", "lssl", SYSTEM, training, conditions=conditions)
    config = read_config(checkpoint)
    expected = ["browInnerUp", "jawOpen", "mouthSmile"] if conditions == "blendshapes" else ["AU1", "AU12", "AU26"]
    assert config["condition_names"] == expected
    scale = IntensityScale.from_config(config)
    shown = measured_conditions(faces, scale)
    assert shown.max(0).tolist() == [1.0, 1.0, 1.0]
    assert config["extra"]["training_data"]["faces"] == len(faces)
    translator = load_translator(checkpoint)
    happy = (faces.table.label == "happy").to_numpy()
    torch.testing.assert_close(
        translator.condition(["happy"])[0], torch.from_numpy(shown[happy].mean(0)), atol=1e-4, rtol=0
    )
    assert read_picture(tmp_path / "run" / "samples" / "000003.png").std() > 10
    with pytest.raises(EmoaugError, match="differ"):
        train(faces, tmp_path / "run", "lssl", SYSTEM, training)


def test_a_system_of_classes_says_which_ones_take_measured_conditions(faces, tmp_path):
    settings = replace(get_system("reggan").configurations["compact"], size=32)
    with pytest.raises(EmoaugError, match="reggan learns from labels only; measured conditions are for lssl and cdaae"):
        train(faces, tmp_path / "run", "reggan", settings, SETTINGS, conditions="blendshapes")
    assert not (tmp_path / "run").exists()


def test_a_run_begins_where_another_ended_and_says_whom_that_one_saw(faces, tmp_path):
    others = replace(faces, table=faces.table.assign(subject="stranger-" + faces.table.subject))
    train(others, tmp_path / "first", "lssl", SYSTEM, SETTINGS)
    still = replace(SETTINGS, steps=1, learning_rate=1e-12, average_decay=0.0)
    train(faces, tmp_path / "second", "lssl", SYSTEM, still, initial=tmp_path / "first")
    first = weights(tmp_path / "first")
    for name, value in weights(tmp_path / "second").items():
        torch.testing.assert_close(value, first[name], atol=1e-6, rtol=0, msg=name)
    assert "initial" in json.loads((tmp_path / "second" / "log.jsonl").read_text().splitlines()[-1])
    seen = read_config(tmp_path / "second")["extra"]["training_data"]
    assert set(seen["subjects"]) == set(faces.table.subject)
    assert set(seen["initial"]["subjects"]) == set(others.table.subject)
    with pytest.raises(EmoaugError, match="differs"):
        train(faces, tmp_path / "second", "lssl", SYSTEM, still)


def test_another_dataset_is_learnt_from_beside_with_its_expressions_and_its_people_are_told(faces, tmp_path):
    others = draw_dataset(tmp_path / "others", subjects=3)
    others = replace(others, table=others.table.assign(subject="other-" + others.table.subject))
    relabelled = others.table.label.replace("neutral", "sad")
    others = replace(others, table=others.table.assign(label=relabelled), vocabulary=("sad", "happy"))
    train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS, also=others)
    config = read_config(tmp_path / "run")
    assert config["condition_names"] == ["neutral", "happy", "sad"]
    seen = config["extra"]["training_data"]
    assert seen["faces"] == len(faces)
    assert seen["also"]["faces"] == len(others)
    assert set(seen["subjects"]) == set(faces.table.subject) | set(others.table.subject)
    with pytest.raises(EmoaugError, match="differ"):
        train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    # A folder of made faces is all synthetic, and shows real people.
    made = replace(others, table=others.table.assign(is_synthetic=True))
    train(faces, tmp_path / "second", "lssl", SYSTEM, SETTINGS, also=made)
    seen = read_config(tmp_path / "second")["extra"]["training_data"]
    assert set(seen["subjects"]) == set(faces.table.subject) | set(others.table.subject)
    with pytest.raises(EmoaugError, match="by their labels"):
        train(faces, tmp_path / "third", "lssl", SYSTEM, SETTINGS, conditions="blendshapes", also=others)


def test_whom_a_dataset_holds_out_is_not_learnt_from_beside(faces, tmp_path):
    split = np.where(faces.table.subject == "person05", "test", "train")
    held = replace(faces, table=faces.table.assign(split=split))
    others = draw_dataset(tmp_path / "others", subjects=6)
    with pytest.raises(EmoaugError, match=r"it shows person05, whom .* holds out"):
        train(held, tmp_path / "run", "lssl", SYSTEM, SETTINGS, also=others)
    nameless = replace(others, table=others.table.assign(subject=None))
    with pytest.raises(EmoaugError, match="2 of its pictures are, or come from, ones"):
        train(held, tmp_path / "run", "lssl", SYSTEM, SETTINGS, also=nameless)
    sources = [faces.sha256(i) for i in np.flatnonzero(split == "test")]
    made = nameless.select(np.arange(2))
    for column in ("source_sha256", "exemplar_sha256", "second_exemplar_sha256"):
        from_test = replace(made, table=made.table.assign(**{column: sources}))
        with pytest.raises(EmoaugError, match="2 of its pictures are, or come from, ones"):
            train(held, tmp_path / "run", "lssl", SYSTEM, SETTINGS, also=from_test)
    assert not (tmp_path / "run").exists()


def test_either_dataset_may_show_one_expression_but_both_together_two(faces, tmp_path):
    neutral, happy = (faces.select((faces.table.label == name).to_numpy()) for name in ("neutral", "happy"))
    others = draw_dataset(tmp_path / "others", subjects=3)
    others = replace(others, table=others.table.assign(subject="other-" + others.table.subject))
    smiling = others.select((others.table.label == "happy").to_numpy())
    train(neutral, tmp_path / "run", "lssl", SYSTEM, SETTINGS, also=smiling)
    with pytest.raises(EmoaugError, match="another class"):
        train(happy, tmp_path / "second", "lssl", SYSTEM, SETTINGS, also=smiling)
    settings = replace(get_system("cdaae").configurations["compact"], size=32)
    with pytest.raises(EmoaugError, match="person"):
        train(neutral, tmp_path / "third", "cdaae", settings, SETTINGS, also=smiling)
    assert not (tmp_path / "third" / "settings.json").exists()


def test_rendered_people_make_up_for_pairs_that_a_dataset_has_not(faces, tmp_path):
    alone = replace(faces, table=faces.table.assign(subject=None))
    settings = replace(get_system("cdaae").configurations["compact"], size=32)
    with pytest.raises(EmoaugError, match="person"):
        train(alone, tmp_path / "run", "cdaae", settings, SETTINGS)
    train(alone, tmp_path / "run", "cdaae", settings, SETTINGS, also=draw_dataset(tmp_path / "others", subjects=3))
