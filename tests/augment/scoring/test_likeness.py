"""Copies are near, strangers are far, and what is barred does not count."""

import numpy as np
import pandas as pd

from augment.folders import FaceTable
from augment.scoring.likeness import copy_distance, details, nearest, same_pictures
from benchmarks.faults import saved_again


def textures(count, seed=0):
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (count, 16, 16, 3), np.uint8)
    return [np.repeat(np.repeat(s, 4, 0), 4, 1) for s in small]


def nobody(rows):
    return np.zeros((len(rows), 1), bool)


def test_the_nearest_is_the_one_that_a_plain_loop_finds():
    one, other = details(textures(20)), details(textures(30, 1))
    barred = np.random.default_rng(2).random((20, 30)) < 0.3
    distance, place = nearest(one, other, lambda rows: barred[rows])
    for i in range(20):
        mirrored = one[i].reshape(32, 32)[:, ::-1].ravel()
        every = [2 if barred[i, j] else 1 - max(one[i] @ other[j], mirrored @ other[j]) for j in range(30)]
        assert place[i] == np.argmin(every)
        assert abs(distance[i] - min(every)) < 1e-5


def test_a_copy_is_nearer_than_the_unit_and_a_stranger_many_units_away():
    pictures = textures(30)
    unit, generator = copy_distance(pictures), np.random.default_rng(0)
    copies = [saved_again(p if i % 2 else p[:, ::-1].copy(), generator) for i, p in enumerate(pictures)]
    distance, place = nearest(details(copies), details(pictures), nobody)
    assert (place == np.arange(30)).all()
    assert (distance < unit).all()
    strangers, _ = nearest(details(pictures), details(pictures), lambda rows: rows[:, None] == np.arange(30))
    assert (strangers > 10 * unit).all()


def test_nothing_to_compare_with_is_said_as_such():
    one = details(textures(3))
    for others, barred in ((one[:0], nobody), (one, lambda rows: np.ones((len(rows), 3), bool))):
        distance, place = nearest(one, others, barred)
        assert np.isnan(distance).all()
        assert (place == -1).all()


def test_flat_pictures_are_nobodys_copy():
    flat = [np.full((64, 64, 3), value, np.uint8) for value in (40, 200)]
    distance, _ = nearest(details(flat), details(textures(4)), nobody)
    assert (distance > 0.9).all()


def test_one_picture_is_one_but_two_moments_of_one_person_are_two(tmp_path):
    first, second = textures(2)
    pictures = [first, first, saved_again(first, np.random.default_rng(0)), second, second // 2 + 30]
    table = pd.DataFrame({"subject": [None, None, None, "anna", "anna"]}, dtype=object)
    faces = FaceTable(tmp_path, table, ("happy",), pd.DataFrame(), ())
    assert same_pictures(faces, pictures).tolist() == [0, 0, 0, 1, 2]
