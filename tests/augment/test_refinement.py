"""Refining a whole dataset: what is trained on, what is written."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from augment.faces import read_measures
from augment.folders import read_faces, write_metadata
from augment.generation import GenerateSettings
from augment.refinement import refine, refinement_plan, train_refiner, two_sides
from augment.refiner import RefinerSettings
from augment.training import TrainingSettings
from augment.variation import Variation
from augment.verification import verify
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset

SMALL = RefinerSettings(size=32, width=8, residual_blocks=1, critic_width=8, critic_depth=3)
SHORT = TrainingSettings(steps=3, batch_size=4, device="cpu", precision="32-true")


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sides")
    draw_dataset(folder / "simulated", subjects=4)
    table = pd.read_csv(folder / "simulated" / "metadata.csv")
    write_metadata(folder / "simulated", table.assign(is_synthetic=True, system="simulation"))
    return read_faces(folder / "simulated"), draw_dataset(folder / "real", subjects=3)


@pytest.fixture(scope="module")
def run(sides, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "refiner"
    train_refiner(*sides, out, SMALL, SHORT)
    return out


def test_both_sides_come_with_their_domain_and_their_expressions(sides):
    simulated, real = sides
    data = two_sides(simulated, real, 32, labelled=True)
    assert data.labels.tolist() == [0] * len(simulated) + [1] * len(real)
    shown = [simulated.vocabulary[i] for i in data.attributes.argmax(1)]
    assert shown == [*simulated.table.label, *real.table.label]
    unlabelled = two_sides(simulated, real, 32, labelled=False)
    assert unlabelled.attributes.sum(1).tolist() == [1] * len(simulated) + [0] * len(real)


def labelled_as(faces, labels):
    return type(faces)(faces.root, faces.table.assign(label=labels), faces.vocabulary, faces.rejected, faces.notes)


def test_both_sides_show_the_same_expressions_as_often(sides):
    simulated, real = sides
    one, other = simulated.vocabulary
    rare = labelled_as(real, [one] + [other] * (len(real) - 1))
    data = two_sides(simulated, rare, 32, labelled=True)
    batch = data.batch(torch.Generator().manual_seed(0), 2000, Variation(jitter=0.0))
    for domain in (0, 1):
        share = batch.attributes[batch.conditions[:, domain] == 1][:, 0].mean()
        assert abs(share - 0.5) < 4 * 0.5 / 1000**0.5
    alone = two_sides(simulated, labelled_as(real, [one] * len(real)), 32, labelled=True)
    assert alone.attributes[:, 1].sum() == 0
    assert len(alone.faces) == (simulated.table.label == one).sum() + len(real)
    # Where some have no label, nobody knows what the real side shows.
    some = two_sides(simulated, labelled_as(real, [None] + [one] * (len(real) - 1)), 32, labelled=True)
    assert len(some.faces) == len(simulated) + len(real)


def test_a_batch_asks_every_face_for_the_other_domain(sides):
    data = two_sides(*sides, 32, labelled=True)
    batch = data.batch(torch.Generator().manual_seed(0), 16, Variation())
    assert torch.equal(batch.targets, 1 - batch.conditions)
    assert 0 < batch.conditions[:, 0].sum() < 16
    assert batch.attributes.shape == (16, 2)


def test_a_refined_folder_has_every_face_under_its_label_and_person(sides, run, tmp_path):
    simulated, _ = sides
    summary = refine(simulated, run, tmp_path / "out", GenerateSettings(device="cpu"), {})
    assert "not taken over" not in str(summary)
    refined = read_faces(tmp_path / "out")
    assert summary.made == len(simulated) == len(refined)
    merged = refined.table.merge(simulated.table, left_on="source_file", right_on="file_name")
    assert (merged.label_x == merged.label_y).all()
    assert (merged.subject_x == merged.subject_y).all()
    assert refined.table.is_synthetic.all()
    assert (refined.table.system == "refiner").all()
    assert not verify(tmp_path / "out").problems


def test_landmarks_follow_the_refined_faces(sides, run, tmp_path):
    simulated, _ = sides
    refine(simulated, run, tmp_path / "out", GenerateSettings(device="cpu"), {})
    refined = read_faces(tmp_path / "out")
    own = read_measures(refined.root, list(refined.table.file_name))
    before = read_measures(simulated.root, list(refined.table.source_file))
    np.testing.assert_array_equal(own.landmarks, before.landmarks)


def test_held_out_real_faces_are_not_learned_from(sides, tmp_path):
    simulated, real = sides
    split = ["test" if s == real.table.subject[0] else "train" for s in real.table.subject]
    real = type(real)(real.root, real.table.assign(split=split), real.vocabulary, real.rejected, real.notes)
    train_refiner(simulated, real, tmp_path / "run", SMALL, SHORT)
    seen = json.loads((tmp_path / "run" / "checkpoint" / "config.json").read_text())["extra"]["training_data"]
    assert seen["subjects"] == sorted(set(real.table.subject) - {real.table.subject[0]})


def test_a_run_is_not_continued_with_other_faces(sides, run):
    simulated, real = sides
    with pytest.raises(EmoaugError, match="differs in real sha256"):
        train_refiner(simulated, real.select([0, 1, 2]), run, SMALL, SHORT)


def test_the_plan_asks_for_each_face_once(sides):
    simulated, _ = sides
    plan = refinement_plan(simulated, "real")
    assert plan.source_index.tolist() == list(range(len(simulated)))
    assert (plan.target == plan.source_label).all()
    assert set(plan.condition) == {'{"real": 1.0}'}
