"""Folds that no person and no near-duplicate crosses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from augment.folders import FaceTable
from emoaug import EmoaugError
from pipelines.splits import groups_of, hold_out, limit_labels, make_folds

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
    real = np.flatnonzero([not row[3] for row in rows])
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
    hashes = [[fold.sha256(faces) for fold in make_folds(faces, groups, 3, seed)] for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_hash_says_which_files_are_on_which_side_in_whatever_order():
    faces = make_faces(["a", "a", "b", "b", "c", "c"])
    fold = next(make_folds(faces, groups_of(faces, np.arange(6)), 2))
    order = np.arange(6)[::-1]
    turned = type(fold)(0, 5 - fold.train, 5 - fold.test)
    assert turned.sha256(faces.select(order)) == fold.sha256(faces)
    assert type(fold)(0, fold.test, fold.train).sha256(faces) != fold.sha256(faces)
    assert type(fold)(0, fold.train[1:], fold.test).sha256(faces) != fold.sha256(faces)


@given(face_rows, st.lists(st.sampled_from(["train", "val", "test", None]), min_size=60, max_size=60))
def test_one_fold_is_the_published_split_without_training_faces_of_test_groups(rows, splits):
    splits = splits[: len(rows)]
    faces = make_faces([row[0] for row in rows], splits=splits, synthetic=[row[3] for row in rows])
    groups = groups_of(faces, np.array([row[1] for row in rows]))
    real = [i for i, row in enumerate(rows) if not row[3]]
    test = [i for i in real if splits[i] == "test"]
    train = [i for i in real if splits[i] == "train" and groups[i] not in set(groups[test])]
    assume(test and train)
    (fold,) = make_folds(faces, groups, 1)
    assert fold.test.tolist() == test
    assert fold.train.tolist() == train


@pytest.mark.parametrize("splits", [[None] * 6, ["train"] * 6, ["test"] * 6, ["train", "val"] * 3])
def test_one_fold_without_a_published_split_is_an_error_that_says_what_to_do(splits):
    faces = make_faces(list("abcdef"), splits=splits)
    with pytest.raises(EmoaugError, match="--folds 4"):
        list(make_folds(faces, np.arange(6), 1))


def test_a_published_split_whose_people_all_cross_it_is_an_error():
    faces = make_faces(list("aabbcc"), splits=["train", "test"] * 3)
    with pytest.raises(EmoaugError, match="every train face"):
        list(make_folds(faces, groups_of(faces, np.arange(6)), 1))


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
