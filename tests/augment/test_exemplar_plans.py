"""Exemplar plans: the label travels with the expression, and nobody takes one from the test people."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from augment.exemplar_plans import ExemplarSettings, build_exemplar_plan, suitable_plan
from augment.folders import FaceTable, read_faces
from augment.intensities import IntensityScale
from augment.measured_conditions import fit_scale, measured_conditions
from augment.plans import (
    EXEMPLAR_COLUMNS,
    PLAN_COLUMNS,
    PlanSettings,
    build_plan,
    check_plan,
    condition_array,
    plan_summary,
)
from emoaug import EmoaugError
from tests.augment.tiny_translator import Recombiner, TinySettings, TinyTranslator
from tests.drawn_dataset import draw_dataset

PLAIN = ExemplarSettings(mixing=0.0, noise=0.0)
NAMES = ("happy", "neutral")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    draw_dataset(folder, subjects=8)
    return folder


@pytest.fixture
def faces(folder) -> FaceTable:
    """Person 0 is in the test split; of the others, 1 to 3 are labelled."""
    table = read_faces(folder)
    number = table.table.subject.str[-2:].astype(int)
    table.table["split"] = pd.Series(["test" if n == 0 else "train" for n in number], dtype=object)
    table.table["label"] = pd.Series(
        [label if n < 4 else None for label, n in zip(table.table.label, number, strict=True)], dtype=object
    )
    return table


@pytest.fixture
def scale(faces) -> IntensityScale:
    return fit_scale(faces, "blendshapes")


def plan_for(faces, scale, count=30, exemplars=PLAIN, **more):
    return build_exemplar_plan(faces, scale, PlanSettings("per-class", count=count, **more), exemplars)


def test_every_face_takes_the_expression_of_a_labelled_training_face_of_its_class(faces, scale):
    plan = plan_for(faces, scale)
    assert tuple(plan.columns) == (*PLAN_COLUMNS, *EXEMPLAR_COLUMNS)
    assert Counter(plan.target) == {"neutral": 30, "happy": 30}
    measured = measured_conditions(faces, scale)
    for row, condition in zip(plan.itertuples(), condition_array(plan, scale.names), strict=True):
        exemplar, source = faces.table.iloc[row.exemplar_index], faces.table.iloc[row.source_index]
        assert exemplar.label == row.target
        assert exemplar.file_name == row.exemplar_file
        assert source.file_name == row.file_name
        assert exemplar.subject != source.subject
        assert source.label != row.target
        assert "person00" not in (exemplar.subject, source.subject)
        np.testing.assert_allclose(condition, measured[row.exemplar_index], atol=6e-4)
    # Exemplars are used alike, and unlabelled people take expressions too.
    uses = Counter(plan.exemplar_index)
    assert max(uses.values()) - min(uses.values()) <= 1
    assert set(plan.subject) == {f"person{n:02d}" for n in range(1, 8)}
    assert plan.source_label.isna().any()
    assert (plan.second_exemplar_index == -1).all()
    check_plan(plan, faces, scale.names)


def test_labelled_sources_only_where_that_is_asked_for(faces, scale):
    plan = plan_for(faces, scale, exemplars=ExemplarSettings(sources="labelled"))
    assert set(plan.subject) == {"person01", "person02", "person03"}
    assert plan.source_label.notna().all()


def test_mixing_adds_a_second_exemplar_of_the_class_and_stays_between_the_two(faces, scale):
    plan = plan_for(faces, scale, exemplars=ExemplarSettings(mixing=0.5, noise=0.0))
    measured, conditions = measured_conditions(faces, scale), condition_array(plan, scale.names)
    mixed = (plan.second_exemplar_index >= 0).to_numpy()
    assert 0 < mixed.sum() < len(plan)
    first, second = measured[plan.exemplar_index[mixed]], measured[plan.second_exemplar_index[mixed]]
    low, high = np.minimum(first, second), np.maximum(first, second)
    assert ((conditions[mixed] >= low - 6e-4) & (conditions[mixed] <= high + 6e-4)).all()
    # At most half comes from the second.
    assert (abs(conditions[mixed] - first) <= abs(conditions[mixed] - second) + 2e-3).all()
    labels = faces.table.label.to_numpy()
    assert (labels[plan.second_exemplar_index[mixed]] == plan.target[mixed]).all()


def test_noise_varies_every_entry_by_about_its_share(faces, scale):
    plan = plan_for(faces, scale, count=400, exemplars=ExemplarSettings(mixing=0.0, noise=0.1))
    exact = measured_conditions(faces, scale)[plan.exemplar_index]
    ratio = condition_array(plan, scale.names) / np.maximum(exact, 1e-9)
    inside = (exact > 0.2) & (exact < 0.7)
    assert np.log(ratio[inside]).std() == pytest.approx(0.1, rel=0.15)
    assert np.log(ratio[inside]).mean() == pytest.approx(0.0, abs=0.02)


def test_strength_keeps_the_rest_of_what_the_source_shows(faces, scale):
    plan = plan_for(faces, scale, strength=(0.4, 0.4))
    measured = measured_conditions(faces, scale)
    wanted = 0.4 * measured[plan.exemplar_index] + 0.6 * measured[plan.source_index]
    np.testing.assert_allclose(condition_array(plan, scale.names), wanted, atol=6e-4)


def test_the_same_seed_gives_the_same_plan_and_another_one_another(faces, scale):
    settings = ExemplarSettings()
    one, again, other = (plan_for(faces, scale, exemplars=settings, seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(one, again)
    assert (one.condition != other.condition).mean() > 0.9
    assert one.condition.map(json.loads).map(lambda c: min(c.values()) > 0 and max(c.values()) <= 1).all()


def test_classes_are_balanced_by_their_labelled_faces(faces, scale):
    faces.table.loc[np.flatnonzero((faces.table.label == "happy") & (faces.table.split == "train"))[:2], "label"] = None
    plan = build_exemplar_plan(faces, scale, PlanSettings("balance"), PLAIN)
    assert Counter(plan.target) == {"happy": 2}


def test_a_person_alone_takes_the_expressions_of_other_pictures(faces, scale):
    alone = faces.select((faces.table.subject == "person01").to_numpy())
    plan = plan_for(alone, scale)
    assert (plan.source_index != plan.exemplar_index).all()
    with pytest.raises(EmoaugError, match="all training faces are one picture"):
        plan_for(alone.select([0]), scale)


def test_without_labels_there_is_no_exemplar(faces, scale):
    faces.table["label"] = None
    with pytest.raises(EmoaugError, match="no labelled training face"):
        plan_for(faces, scale)


def test_an_edited_plan_cannot_name_an_exemplar_of_the_test_people(faces, scale):
    tested = int(np.flatnonzero(faces.table.split == "test")[0])
    for place, name in (EXEMPLAR_COLUMNS[:2], EXEMPLAR_COLUMNS[2:]):
        plan = plan_for(faces, scale)
        plan.loc[0, place] = tested
        plan.loc[0, name] = faces.table.file_name[tested]
        with pytest.raises(EmoaugError, match="training faces only"):
            check_plan(plan, faces, scale.names)


@pytest.mark.parametrize("wrong", [{"mixing": 0.6}, {"noise": -0.1}, {"sources": "some"}])
def test_settings_out_of_range_say_what_is_allowed(wrong):
    with pytest.raises(EmoaugError, match=str(next(iter(wrong.values())))):
        ExemplarSettings(**wrong)


def test_a_system_that_is_shown_exemplars_gets_labelled_training_faces_as_they_are(faces):
    plan = build_exemplar_plan(faces, NAMES, PlanSettings("per-class", count=30))
    assert tuple(plan.columns) == (*PLAN_COLUMNS, *EXEMPLAR_COLUMNS)
    for row in plan.itertuples():
        exemplar, source = faces.table.iloc[row.exemplar_index], faces.table.iloc[row.source_index]
        assert exemplar.label == row.target
        assert json.loads(row.condition) == {row.target: 1.0}
        assert exemplar.subject != source.subject
        assert "person00" not in (exemplar.subject, source.subject)
    assert (plan.second_exemplar_index == -1).all()
    # Unlabelled people take expressions too, and pictures need not have been measured.
    assert plan.source_label.isna().any()
    check_plan(plan, faces, NAMES)
    labelled = build_exemplar_plan(faces, NAMES, PlanSettings("balance"), ExemplarSettings(sources="labelled"))
    assert labelled.source_label.notna().all()
    pd.testing.assert_frame_equal(plan, build_exemplar_plan(faces, NAMES, PlanSettings("per-class", count=30), PLAIN))


def test_every_two_faces_of_two_people_meet_before_any_two_meet_again(folder):
    faces = read_faces(folder)
    # Eight exemplars and eight sources: in turn alone, every source would meet the same exemplar in every round.
    plan = build_exemplar_plan(faces, NAMES, PlanSettings("per-class", count=8 * 8))
    happy = plan[plan.target == "happy"]
    subjects, labels = faces.table.subject.to_numpy(), faces.table.label.to_numpy()
    shown = labels == "happy"
    wanted = {(i, j) for i in np.flatnonzero(~shown) for j in np.flatnonzero(shown) if subjects[i] != subjects[j]}
    assert set(zip(happy.source_index, happy.exemplar_index, strict=True)) == wanted
    uses = Counter(happy.exemplar_index)
    assert max(uses.values()) == min(uses.values())
    # Of the eight pairs of one person, sources are drawn anew and repeat others.
    assert plan_summary(plan)["repeats"] == 2 * (8 * 8 - len(wanted))


def test_faces_that_show_the_class_take_it_from_others_where_one_person_alone_shows_something_else(faces, scale):
    table = faces.table
    alone = table.subject.isin(["person01", "person02"]) & (table.split == "train")
    few = faces.select((alone & ((table.label == "happy") | (table.subject == "person01"))).to_numpy(bool))
    plan = plan_for(few, scale)
    happy = plan[plan.target == "happy"]
    assert set(happy.subject) == {"person01", "person02"}
    assert (happy.subject.to_numpy() != few.table.subject.to_numpy()[happy.exemplar_index]).all()


@pytest.mark.parametrize(
    ("settings", "exemplars", "words"),
    [
        (PlanSettings(strength=(0.5, 1.0)), None, "strength is 0.5 to 1.0"),
        (PlanSettings(), ExemplarSettings(mixing=0.1), "mixing 0.1"),
        (PlanSettings(), ExemplarSettings(noise=0.2), "noise 0.2"),
    ],
)
def test_what_cannot_be_done_with_an_exemplar_that_is_shown_is_said(faces, settings, exemplars, words):
    with pytest.raises(EmoaugError, match=f"{words}.*takes exemplars as they are"):
        build_exemplar_plan(faces, NAMES, settings, exemplars)


def test_labels_that_the_system_does_not_know_and_no_labels_are_said(faces):
    with pytest.raises(EmoaugError, match="does not know neutral; it knows happy, sad"):
        build_exemplar_plan(faces, ("happy", "sad"), PlanSettings())
    faces.table["label"] = None
    with pytest.raises(EmoaugError, match="no labelled training face is there; label some"):
        build_exemplar_plan(faces, NAMES, PlanSettings())


def test_each_system_gets_the_plan_that_it_can_use(faces, scale):
    one, settings = TinySettings(size=32), PlanSettings("per-class", count=5)
    translator, recombiner = TinyTranslator(NAMES, one), Recombiner(NAMES, one)
    labelled = faces.select(faces.table.label.notna().to_numpy())
    by_class = suitable_plan(labelled, translator, NAMES, settings)
    pd.testing.assert_frame_equal(by_class, build_plan(labelled, NAMES, settings))
    measured = suitable_plan(faces, translator, scale.names, settings, scale)
    pd.testing.assert_frame_equal(measured, build_exemplar_plan(faces, scale, settings))
    shown = suitable_plan(faces, recombiner, NAMES, settings)
    pd.testing.assert_frame_equal(shown, build_exemplar_plan(faces, NAMES, settings))
    with pytest.raises(EmoaugError, match="this tiny was trained on labels"):
        suitable_plan(labelled, translator, NAMES, settings, exemplars=ExemplarSettings(noise=0.2))
