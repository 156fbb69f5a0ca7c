"""Planted faults are what their names say."""

import numpy as np
import pandas as pd
import pytest

from augment.folders import FaceTable, load_faces
from augment.scoring.reference import pictures_of
from benchmarks.planted_faults import CLEAN, FAULTS, REPEATED, REPEATS, Planter, hold_out, possible_sources
from tests.drawn_dataset import draw_dataset


@pytest.fixture
def planter(tmp_path):
    faces = draw_dataset(tmp_path, subjects=12, landmarks=False)
    pictures = pictures_of(load_faces(faces, None))
    sources = possible_sources(faces)
    held = hold_out(faces, pictures, sources, 0.25, seed=0)
    return faces, Planter(faces, pictures, held, sources, seed=0)


def test_a_face_is_made_from_one_with_the_same_glasses(tmp_path):
    names = ["happy/a_open.png", "sad/a_sunglasses.png", "sad/a_open.png", "happy/b_open.png"]
    table = pd.DataFrame({"file_name": names, "label": [n.split("/")[0] for n in names], "subject": list("aaab")})
    faces = FaceTable(tmp_path, table, ("happy", "sad"), table[:0], ())
    assert np.argwhere(possible_sources(faces)).tolist() == [[0, 1], [0, 2], [1, 0], [2, 0]]
    assert np.argwhere(possible_sources(faces, "open|sunglasses")).tolist() == [[0, 2], [2, 0]]


def test_held_out_faces_keep_a_source_of_their_person_to_learn_from(planter):
    faces, planter = planter
    assert planter.held.sum() == 6
    clean = planter.plant(CLEAN, 0)
    assert sorted(face.base for face in clean) == np.flatnonzero(planter.held).tolist()
    for face in clean:
        assert not planter.held[face.source]
        assert faces.table.subject[face.source] == faces.table.subject[face.base]
        assert faces.table.label[face.source] != face.label


@pytest.mark.parametrize("fault", FAULTS[1:])
def test_each_fault_is_in_every_face_and_nothing_else_is(planter, fault):
    faces, planter = planter
    planted = planter.plant(fault, 30)
    assert len(planted) >= 30
    for face in planted:
        own = planter.pictures[face.base]
        same_person = face.source >= 0 and faces.table.subject[face.source] == faces.table.subject[face.base]
        assert (face.label == faces.table.label[face.base]) == (fault != "wrong label")
        assert same_person == (fault != "another person") or face.source < 0
        assert np.array_equal(face.picture, own) == (fault in ("wrong label", "another person"))
        assert planter.held[face.base] == (fault != "copied training face")


def test_fifty_times_the_same_face_is_one_face_saved_fifty_times(planter):
    planted = planter[1].plant(REPEATED, 2 * (REPEATS - 1))
    assert len(planted) == 2 * REPEATS
    assert len({face.base for face in planted[:REPEATS]}) == 1
    apart = np.abs(planted[0].picture.astype(int) - planted[1].picture).mean()
    assert 0 < apart < 20
