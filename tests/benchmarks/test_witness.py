"""The witness's figures are what its definitions say, on numbers made up for the purpose."""

import numpy as np
import pytest

from augment.action_units import BLENDSHAPE_NAMES
from augment.simulation.scenes import SceneSettings, draw_scene
from benchmarks.witness import FOLLOWED, _with_movements, columns, landmark_error, rank_correlation, summarise, table


def test_columns_are_both_sides_of_a_movement_and_nothing_else():
    for name in FOLLOWED:
        assert {BLENDSHAPE_NAMES[i].removesuffix("Left").removesuffix("Right") for i in columns(name)} == {name}
    assert [len(columns(name)) for name in FOLLOWED] == [2, 1, 1, 2, 2, 2]


def test_faces_that_were_not_found_count_as_such_and_nowhere_else():
    asked, scores = np.zeros((4, 52)), np.zeros((4, 52))
    asked[:, columns("jawOpen")] = [[0.1], [0.2], [0.3], [0.9]]
    scores[:, columns("jawOpen")] = [[0.3], [0.4], [0.5], [0.0]]
    scores[3] = np.nan
    result = summarise(asked, scores, ["happy", "happy", "sad", "sad"])
    assert result["found"] == 0.75
    assert result["found_by_expression"] == {"happy": 1.0, "sad": 0.5}
    assert result["mean_score"]["happy"]["jawOpen"] == pytest.approx(0.35)
    assert result["mean_asked"]["sad"]["jawOpen"] == pytest.approx(0.3)
    assert result["spearman"]["jawOpen"] == 1
    assert result["spearman"]["mouthSmile"] is None


def test_rank_correlation_is_one_for_any_rising_relation_and_minus_one_for_a_falling_one():
    asked, scores = np.zeros((10, 52)), np.zeros((10, 52))
    own = columns("mouthSmile")
    asked[:, own] = np.linspace(0, 1, 10)[:, None]
    scores[:, own] = asked[:, own] ** 3
    assert rank_correlation(asked, scores, "mouthSmile") == pytest.approx(1)
    assert rank_correlation(asked, 1 - scores, "mouthSmile") == pytest.approx(-1)


def test_landmark_error_is_the_mean_distance_in_shares_of_the_side():
    class Found:
        landmarks = np.full((478, 3), 64.0)

    exact = np.zeros((478, 3))
    exact[:, 0] = 0.25  # an eighth of the side to the right of the middle
    assert landmark_error(Found, exact, 128) == pytest.approx(0.125)


def test_movements_are_drawn_from_none_to_full_on_both_sides_alike_and_brows_go_up_or_down():
    settings = SceneSettings(expressions=("neutral",))
    levels = np.zeros((60, len(FOLLOWED)))
    for row in range(60):
        scene = _with_movements(draw_scene(settings, row))
        for place, name in enumerate(FOLLOWED):
            values = {scene.expression.get(BLENDSHAPE_NAMES[i], 0) for i in columns(name)}
            assert len(values) == 1
            levels[row, place] = values.pop()
    assert levels.min(0).max() < 0.15
    assert levels.max(0).min() > 0.85
    brows = levels[:, [FOLLOWED.index(name) for name in ("browInnerUp", "browOuterUp", "browDown")]]
    raised, lowered = (brows[:, :2] > 0.3).all(1), brows[:, 2] > 0.3
    assert min(raised.sum(), lowered.sum()) > 6
    assert not (raised & lowered).any()
    # Sixty independent draws correlate by more than 0.45 once in thousands of times.
    others = levels[:, [FOLLOWED.index(name) for name in ("mouthSmile", "jawOpen", "eyeBlink")]]
    assert np.abs(np.corrcoef(others.T) - np.eye(3)).max() < 0.45


def test_the_table_has_a_row_for_each_expression():
    asked, scores = np.random.default_rng(0).random((2, 6, 52))
    result = summarise(asked, scores, ["happy"] * 3 + ["sad"] * 3)
    others = {"face_model": "built-in", "faces": 6, "size": 64, "cpu_seconds_a_face": 0.1, "landmark_error": None}
    lines = table(result | others | {"spearman_drawn": dict.fromkeys(FOLLOWED), "found_drawn": 1.0}).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[-2:]] == ["happy", "sad"]
    assert "100.0% of 6 faces" in lines[0]
