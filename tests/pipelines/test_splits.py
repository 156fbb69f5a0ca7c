"""Folds that no person and no near-duplicate crosses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from augment.folders import FaceTable
from emoaug import EmoaugError
from pipelines.splits import (
    groups_of,
    hold_out,
    limit_labels,
    make_folds,
    other_dataset,
    published_split,
    unknown_people,
    validation_split,
)

CLASSES = ("angry", "happy", "sad")


def make_faces(subjects, labels=None, splits=None, synthetic=None):
    """A table of faces without pictures."""
    count = len(subjects)
    labels = [CLASSES[i % 3] for i in range(count)] if labels is None else labels
    table = pd.DataFrame(
        {
            "file_name": [f"{label}/{i:03}.png" for i, label in enumerate(labels)],
            "label": labels,
            "subject": pd.Series(subjects, dtype=object),
            "split": pd.Series([None] * count if splits is None else splits, dtype=object),
            "is_synthetic": [False] * count if synthetic is None else synthetic,
        }
    )
    return FaceTable(Path("faces"), table, CLASSES, pd.DataFrame(columns=["file_name", "reason"]), ())


people = st.one_of(st.none(), st.sampled_from("abcdefgh"))
face_rows = st.lists(
    st.tuples(people, st.integers(0, 30), st.sampled_from(CLASSES), st.sampled_from([False, False, False, True])),
    min_size=8,
    max_size=60,
)


def connected(subjects, duplicates):
    """Sets of faces that belong together, by growing each from one face: slow and plain."""
    left, sets = set(range(len(subjects))), []
    while left:
        found, edge = set(), {min(left)}
        while edge:
            found |= edge
            edge = {
                j
                for j in left - found
                if any(duplicates[j] == duplicates[i] or (subjects[i] and subjects[i] == subjects[j]) for i in found)
            }
        sets.append(found)
        left -= found
    return {frozenset(members) for members in sets}


@given(face_rows)
def test_groups_are_the_faces_that_people_and_duplicates_connect(rows):
    subjects, duplicates = [row[0] for row in rows], np.array([row[1] for row in rows])
    groups = groups_of(make_faces(subjects), duplicates)
    assert {frozenset(np.flatnonzero(groups == g).tolist()) for g in set(groups.tolist())} == connected(
        subjects, duplicates
    )
    assert groups.dtype == np.int64


@pytest.mark.parametrize("unknown", [None, "", float("nan")])
def test_faces_of_unknown_people_are_not_one_person(unknown):
    assert len(set(groups_of(make_faces([unknown] * 5), np.arange(5)).tolist())) == 5


@given(face_rows, st.integers(2, 5), st.integers(0, 3))
def test_no_group_crosses_and_every_real_face_is_tested_once(rows, count, seed):
    faces = make_faces([row[0] for row in rows], [row[2] for row in rows], synthetic=[row[3] for row in rows])
    groups = groups_of(faces, np.array([row[1] for row in rows]))
    real = np.flatnonzero(faces.originals())
    assume(len(np.unique(groups[real])) >= count)
    assume(np.bincount(faces.label_indices()[real]).max() >= count)
    folds = list(make_folds(faces, groups, count, seed))
    assert [fold.number for fold in folds] == list(range(count))
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == real.tolist()
    for fold in folds:
        assert len(fold.train)
        assert len(fold.test)
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert sorted([*fold.train, *fold.test]) == real.tolist()


def test_folds_hold_the_classes_in_like_proportion():
    faces = make_faces([f"person {i // 3}" for i in range(120)])
    for fold in make_folds(faces, groups_of(faces, np.arange(120)), 4):
        counts = np.bincount(faces.label_indices()[fold.test], minlength=3)
        assert counts.tolist() == [10, 10, 10]


def test_the_same_seed_gives_the_same_folds_and_another_seed_others():
    faces = make_faces([f"person {i // 2}" for i in range(60)])
    groups = groups_of(faces, np.arange(60))
    tests = [[fold.test.tolist() for fold in make_folds(faces, groups, 3, seed)] for seed in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]


@given(face_rows, st.lists(st.sampled_from(["train", "val", "test", None]), min_size=60, max_size=60))
def test_the_published_split_keeps_its_training_faces_and_loses_test_faces_that_stand_in_them(rows, splits):
    splits = splits[: len(rows)]
    faces = make_faces([row[0] for row in rows], splits=splits, synthetic=[row[3] for row in rows])
    groups = groups_of(faces, np.array([row[1] for row in rows]))
    real = np.flatnonzero(faces.originals()).tolist()
    train = [i for i in real if splits[i] == "train"]
    test = [i for i in real if splits[i] == "test" and groups[i] not in set(groups[train])]
    assume(test and train)
    fold = published_split(faces, groups, "test")
    assert fold.test.tolist() == test
    assert fold.train.tolist() == train


@pytest.mark.parametrize("splits", [[None] * 6, ["train"] * 6, ["test"] * 6, ["train", "val"] * 3])
def test_a_published_split_that_is_not_there_is_an_error_that_says_what_to_do(splits):
    with pytest.raises(EmoaugError, match="own split has"):
        published_split(make_faces(list("abcdef"), splits=splits), np.arange(6), "test")


def test_a_published_split_whose_people_all_cross_it_is_an_error():
    faces = make_faces(list("aabbcc"), splits=["train", "test"] * 3)
    with pytest.raises(EmoaugError, match="every face of test"):
        published_split(faces, groups_of(make_faces(list("aabbcc")), np.arange(6)), "test")


def test_another_dataset_tests_whole_and_what_is_like_it_is_not_trained_on():
    faces, tested = make_faces(list("abcd"), synthetic=[False, False, True, False]), make_faces(list("be"))
    # The fourth face is a near-duplicate of the other dataset's second; b is in both.
    groups = groups_of(make_faces(list("abcdbe")), np.array([0, 1, 2, 3, 4, 3]))
    fold = other_dataset(faces, groups[:4], tested, groups[4:], None)
    assert fold.train.tolist() == [0]
    assert fold.test.tolist() == [0, 1]
    with pytest.raises(EmoaugError, match="of split val"):
        other_dataset(faces, groups[:4], tested, groups[4:], "val")
    with pytest.raises(EmoaugError, match="every face"):
        other_dataset(faces, groups[:4], faces, groups[:4], None)


@given(face_rows, st.integers(0, 3))
@settings(max_examples=30)
def test_validation_faces_are_other_people_than_those_trained_on(rows, seed):
    faces = make_faces([row[0] for row in rows], [row[2] for row in rows])
    groups = groups_of(faces, np.array([row[1] for row in rows]))
    chosen = np.arange(0, len(rows), 2)
    found = validation_split(faces, groups, chosen, seed)
    assume(found is not None)
    train, held_out = found
    assert sorted([*train, *held_out]) == chosen.tolist()
    assert len(held_out)
    assert not set(groups[train]) & set(groups[held_out])
    labels = faces.table.label.to_numpy()
    assert set(labels[train]) == set(labels[chosen])


def test_where_nobody_can_be_set_aside_nothing_is_chosen():
    faces = make_faces(list("aabbcc"))
    assert validation_split(faces, groups_of(make_faces(list("aabbcc")), np.arange(6)), np.arange(6), 0) is None
    many = make_faces([f"person {i}" for i in range(40)])
    assert validation_split(many, np.arange(40), np.arange(40), 0) is not None


def test_more_folds_than_people_are_an_error_that_says_what_to_do():
    faces = make_faces(["a", "a", "a", "b", "b", "b"])
    with pytest.raises(EmoaugError, match="only 2 people"):
        list(make_folds(faces, groups_of(faces, np.arange(6)), 3))


def test_more_folds_than_faces_of_any_class_are_an_error_that_says_what_to_do():
    faces = make_faces(list("abcdef"))
    with pytest.raises(EmoaugError, match="fewer than 3 real faces"):
        list(make_folds(faces, groups_of(faces, np.arange(6)), 3))


@given(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=80), st.integers(1, 20), st.integers(0, 5))
def test_so_many_faces_of_each_class_are_kept_or_all_there_are(labels, per_class, seed):
    faces = make_faces([None] * len(labels), labels)
    rows = np.flatnonzero(np.arange(len(labels)) % 4 != 0)
    kept = limit_labels(faces, rows, per_class, seed)
    assert set(kept.tolist()) <= set(rows.tolist())
    assert kept.tolist() == sorted(set(kept.tolist()))
    indices = faces.label_indices()
    expected = np.minimum(np.bincount(indices[rows], minlength=3), per_class)
    assert np.bincount(indices[kept], minlength=3).tolist() == expected.tolist()
    assert limit_labels(faces, rows, per_class, seed).tolist() == kept.tolist()


def test_another_seed_labels_other_faces():
    faces = make_faces([None] * 300)
    chosen = [limit_labels(faces, np.arange(300), 10, seed).tolist() for seed in range(3)]
    assert chosen[0] != chosen[1] != chosen[2] != chosen[0]


def test_without_a_limit_all_faces_are_labelled():
    rows = np.array([1, 4, 5])
    assert limit_labels(make_faces([None] * 6), rows, None, 0).tolist() == [1, 4, 5]


@given(face_rows, st.sampled_from([1, 2, 3, 0.25, 0.5]), st.integers(0, 5))
def test_held_out_people_are_as_many_as_asked_and_are_not_trained_on(rows, count, seed):
    subjects, duplicates, labels, synthetic = zip(*rows, strict=True)
    faces = make_faces(subjects, labels, synthetic=synthetic)
    groups = groups_of(faces, np.array(duplicates))
    given_rows = np.flatnonzero(faces.originals())
    people = len(np.unique(groups[given_rows]))
    wanted = round(count * people) if count < 1 else count
    assume(0 < wanted < people)
    fold = hold_out(faces, groups, count, seed)
    assert len(np.unique(groups[fold.test])) == wanted
    assert not set(groups[fold.train]) & set(groups[fold.test])
    assert sorted([*fold.train, *fold.test]) == given_rows.tolist()


def test_who_is_held_out_depends_on_names_and_seed_and_not_on_the_order_of_files():
    subjects = ["a", "b", "c", "d", "e", "f"] * 2
    faces = make_faces(subjects)
    groups = groups_of(faces, np.arange(12))
    turned = faces.select(np.arange(12)[::-1])

    def held(faces, groups, seed):
        return set(faces.table.subject.iloc[hold_out(faces, groups, 2, seed).test])

    assert held(faces, groups, 0) == held(turned, groups_of(turned, np.arange(12)), 0)
    assert len({frozenset(held(faces, groups, seed)) for seed in range(8)}) > 1


@pytest.mark.parametrize("count", [0.01, 6, 7, 1.5])
def test_holding_out_nobody_everybody_or_half_a_person_says_how_many_there_are(count):
    faces = make_faces(["a", "b", "c", "d", "e", "f"])
    with pytest.raises(EmoaugError, match=r"of 6 people.*1 to 5 can be held out"):
        hold_out(faces, np.arange(6), count, 0)


def test_of_one_person_nobody_can_be_held_out():
    with pytest.raises(EmoaugError, match="all faces are of one person"):
        hold_out(make_faces(["a", "a"]), np.zeros(2, int), 1, 0)


@pytest.mark.parametrize(("subjects", "folds"), [(["a", "a", "a"], 2), (["a", "b", "c"], 2), (["a", "a", "a"], 4)])
def test_folds_that_cannot_be_fewer_are_not_told_to_be(subjects, folds):
    faces = make_faces(subjects)
    with pytest.raises(EmoaugError, match="add faces of other people") as mistake:
        list(make_folds(faces, groups_of(faces, np.arange(3)), folds))
    assert "use fewer folds" not in str(mistake.value)


def test_faces_of_whom_nobody_knows_who_they_are_are_told_and_named_people_are_not():
    (said,) = unknown_people(make_faces(["anna", None, "", "bert"]))
    assert said.startswith("Who is shown is unknown for 2 of 4 faces in faces")
    assert unknown_people(make_faces(["anna", "bert"])) == []
