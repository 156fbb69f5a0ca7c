"""Faces of people whom the checkpoint never saw: who is asked, and whether results are still the same person."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from augment.checkpoints import DEFAULT
from augment.folders import load_faces, read_faces
from augment.models import MODELS_VARIABLE
from augment.systems.reggan import RegGANSettings
from augment.training import TrainingSettings
from augment.training_run import train
from benchmarks.held_out import hold_out
from benchmarks.unseen import Options, measure, recognise
from tests.augment.drawn_face import model_path
from tests.drawn_dataset import draw_dataset


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Eight drawn people to learn from and four to test."""
    faces = hold_out(draw_dataset(tmp_path_factory.mktemp("drawn"), subjects=12, size=64), 4, 0)
    return [faces.select((faces.table.split == name).to_numpy()) for name in ("train", "test")]


def test_a_face_is_itself_and_less_so_another_persons(sides):
    train, test = sides
    people = recognise(train, load_faces(train, 64), test, 64, 0)
    pixels = torch.from_numpy(load_faces(test, 64)).float() / 127.5 - 1
    neutral = (test.table.label == "neutral").to_numpy()
    one, smiling = pixels[neutral.tolist()], pixels[(~neutral).tolist()]
    assert people.likeness(one, one) == pytest.approx(1)
    # Every pair of one person's two pictures is asked about: the same mean.
    assert people.real.pairs == 4
    assert people.likeness(one, smiling) == pytest.approx(people.real.same, abs=1e-5)
    assert people.likeness(one, smiling.roll(1, 0)) < people.real.same - 0.3
    assert f"{people.real.different:.2f} for two people" in people.note


def test_where_nobody_is_named_identity_is_left_out_with_the_reason(sides):
    train, test = sides
    train.table["subject"], kept = None, train.table["subject"]
    people = recognise(train, load_faces(train, 64), test, 64, 0)
    train.table["subject"] = kept
    assert people.real is None
    assert people.likeness(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)) is None
    assert "left out: 0 people" in people.note


def test_people_of_one_expression_each_still_say_how_like_its_source_a_result_is(sides):
    train, test = sides
    people = recognise(train, load_faces(train, 64), test.select(np.flatnonzero(test.table.label == "happy")), 64, 0)
    assert people.real is None
    assert people.embedding is not None
    assert "no test person shows two expressions" in people.note


def test_checkpoints_are_compared_on_the_same_faces(sides, tmp_path, monkeypatch):
    monkeypatch.setenv(MODELS_VARIABLE, str(model_path().parent))
    trained = train(sides[0], tmp_path / "run", "reggan", RegGANSettings(), TrainingSettings(steps=1, batch_size=2))
    weights, options = (Path(DEFAULT), trained), Options(sides[0].root, tmp_path, hold_out=4, judge_steps=2)
    found = measure(replace(options, weights=weights, people=sides[0].root))
    assert [row["weights"] for row in found["rows"]] == [str(path) for path in weights]
    # What the first says does not depend on the second, nor on who teaches the embedding where that is the same people.
    assert found["rows"][0]["hit_rate"] == measure(options)["rows"][0]["hit_rate"]
    assert found["rows"][0]["mean_change"] != found["rows"][1]["mean_change"]


def test_held_out_people_are_asked_by_the_packages_own_weights(sides, tmp_path, monkeypatch):
    monkeypatch.setenv(MODELS_VARIABLE, str(model_path().parent))
    found = measure(Options(sides[0].root, tmp_path, hold_out=4, judge_steps=2))
    (row,) = found["rows"]
    assert (row["target"], row["faces"]) == ("happy", 4)
    assert found["identity_of_real"]["different"] < found["identity_of_real"]["same"]
    assert found["identity_of_real"]["different"] < row["identity"] <= 1
    assert (tmp_path / "sheet.png").exists()
    assert len(pd.unique(read_faces(sides[0].root).table.subject)) == 12
