"""Judges have not seen whom they judge; the command scores, filters, and goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from augment.folders import load_faces, read_faces
from augment.verification import verify
from classifiers.training import ClassifierSettings
from emoaug import EmoaugError
from pipelines import judges
from pipelines.cli import main
from pipelines.judges import JudgeSettings, train_jury
from tests.augment.scoring.made_folder import make_folder
from tests.drawn_dataset import draw_dataset

QUICK = JudgeSettings(folds=3, classifier=ClassifierSettings(steps=2, batch_size=4), device="cpu")


def test_no_judge_learns_from_a_person_whom_it_judges(tmp_path, monkeypatch):
    real = draw_dataset(tmp_path / "real", subjects=6, landmarks=False)
    pixels = load_faces(real, None)
    seen, true_training = [], judges.train_classifier

    def train(faces, *arguments, **more):
        seen.append({face.tobytes() for face in faces})
        return true_training(faces, *arguments, **more)

    monkeypatch.setattr(judges, "train_classifier", train)
    jury = train_jury(real, pixels, tmp_path / "judges", QUICK)
    people = real.table["subject"].to_numpy()
    assert sorted(set(jury.folds)) == [0, 1, 2]
    for person in set(people):
        assert len(set(jury.folds[people == person])) == 1
    for row, face in enumerate(pixels):
        assert [face.tobytes() in faces for faces in seen] == [number != jury.folds[row] for number in range(3)]


def test_judges_are_trained_once_and_belong_to_their_faces(tmp_path, monkeypatch):
    real = draw_dataset(tmp_path / "real", subjects=6, landmarks=False)
    pixels = load_faces(real, None)
    first = train_jury(real, pixels, tmp_path / "judges", QUICK)
    monkeypatch.setattr(judges, "train_classifier", None)
    again = train_jury(real, pixels, tmp_path / "judges", QUICK)
    faces = torch.from_numpy(pixels).float() / 127.5 - 1
    assert first.fingerprint == again.fingerprint
    assert first.accuracy == again.accuracy
    for one, other in zip(first.judges, again.judges, strict=True):
        assert torch.equal(one(faces), other(faces))
    with pytest.raises(EmoaugError, match="another run"):
        train_jury(real, 255 - pixels, tmp_path / "judges", QUICK)


def test_judges_see_large_faces_reduced(tmp_path, monkeypatch):
    real = draw_dataset(tmp_path / "real", subjects=6, size=48, landmarks=False)
    pixels = load_faces(real, None)
    sides, true_training = [], judges.train_classifier

    def train(faces, *arguments, **more):
        sides.append(faces.shape[1:])
        return true_training(faces, *arguments, **more)

    monkeypatch.setattr(judges, "train_classifier", train)
    jury = train_jury(real, pixels, tmp_path / "judges", replace(QUICK, size=24))
    assert sides == [(3, 24, 24)] * 3
    large = torch.from_numpy(pixels).float() / 127.5 - 1
    small = torch.from_numpy(load_faces(real, 24)).float() / 127.5 - 1
    for judge in jury.judges:
        assert torch.allclose(judge(large), judge(small), atol=2e-4)
    with pytest.raises(EmoaugError, match="differs in settings: size"):
        train_jury(real, pixels, tmp_path / "judges", QUICK)
    train_jury(real, pixels, tmp_path / "own", QUICK)
    assert sides[3:] == [(3, 48, 48)] * 3


def test_score_prints_and_filters_and_a_second_call_does_nothing(tmp_path, capsys):
    folder, real = make_folder(tmp_path)
    command = ["score", folder, "--real", real.root, "--no-landmarks", "--judge.folds", 2, "--judge.device", "cpu"]
    command += ["--judge.classifier.steps", 2, "--judge.classifier.batch-size", 4]
    assert main([str(a) for a in command]) == 0
    said = capsys.readouterr().out
    assert "scored 12 faces: " in said
    assert "happy, made" in said
    before = (folder / "metadata.csv").read_bytes()
    assert main([str(a) for a in [*command, "--filter", "nearest_sibling >= 1", "evenness >= 0.1"]]) == 0
    said = capsys.readouterr().out
    assert "was done before" in said
    assert "kept 10 of 12" in said
    assert (folder / "metadata.csv").read_bytes() != before
    assert verify(folder).problems == ()
    assert len(read_faces(folder)) == 11
    assert main([str(a) for a in [*command, "--filter", "nonsense"]]) == 2


def test_val_and_test_faces_are_not_compared_with(tmp_path):
    folder, real = make_folder(tmp_path)
    split = np.where(real.table["subject"] < "person06", "train", "test")
    real = replace(real, table=real.table.assign(split=split))
    settings = JudgeSettings(folds=2, classifier=ClassifierSettings(steps=2, batch_size=4), device="cpu")
    found = judges.judge_folder(folder, real, None, settings, judges.ScoreSettings(landmarks=False))
    assert set(found.real["file_name"]) == set(real.table["file_name"][split == "train"])
    assert found.scores["identity"].isna().sum() == 5  # made of people in test: 6 to 11 without the repeat of 2
