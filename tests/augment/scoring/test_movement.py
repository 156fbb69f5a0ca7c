"""The share of an asked movement that happened."""

import numpy as np
import pytest

from augment.action_units import BLENDSHAPE_NAMES
from augment.scoring.movement import movements, typical_blendshapes


def scores(**shapes):
    return np.array([[shapes.get(name, 0.1) for name in BLENDSHAPE_NAMES]])


REST = scores()
ASKED = scores(mouthSmileLeft=0.9, mouthSmileRight=0.9, browInnerUp=0.5, eyeWideLeft=0.3) - REST


@pytest.mark.parametrize("share", [-0.5, 0.0, 0.4, 1.0, 1.3])
def test_the_whole_movement_is_the_share_of_what_was_asked_and_the_sum_of_its_parts(share):
    whole, upper, lower = movements(REST, REST + share * ASKED, ASKED)[0]
    assert whole == pytest.approx(share)
    assert upper + lower == pytest.approx(whole)


def test_a_mouth_that_moves_alone_is_seen():
    whole, upper, lower = movements(REST, scores(mouthSmileLeft=0.9, mouthSmileRight=0.9), ASKED)[0]
    assert upper == 0
    # 2 * 0.8^2 of 2 * 0.8^2 + 0.4^2 + 0.2^2
    assert whole == lower == pytest.approx(1.28 / 1.48)


def test_what_was_not_asked_does_not_count():
    assert movements(REST, scores(jawOpen=0.9), ASKED)[0] == pytest.approx([0, 0, 0])


def test_a_face_that_was_not_found_or_not_asked_has_no_movement():
    assert np.isnan(movements(REST, np.full((1, 52), np.nan), ASKED)).all()
    assert np.isnan(movements(REST, REST, np.zeros((1, 52)))).all()


def test_typical_scores_are_means_of_the_faces_found():
    measured = np.stack([np.full(52, 0.2), np.full(52, 0.4), np.full(52, np.nan), np.full(52, 0.9)])
    typical = typical_blendshapes(measured, np.array([0, 0, 0, 1]), 3)
    assert typical[0] == pytest.approx(np.full(52, 0.3))
    assert typical[1] == pytest.approx(np.full(52, 0.9))
    assert np.isnan(typical[2]).all()
