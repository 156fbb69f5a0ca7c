"""Measured conditions: which movements there are, action units found again, and the scale that a checkpoint keeps."""

import numpy as np
import pytest

from augment.action_units import BLENDSHAPE_NAMES, from_action_units
from augment.intensities import (
    MOVEMENTS,
    UNITS,
    IntensityScale,
    action_units,
    are_intensities,
    movements,
)
from emoaug import EmoaugError


def scores(rows: list[dict[str, float]]) -> np.ndarray:
    return np.array([[row.get(name, 0.0) for name in BLENDSHAPE_NAMES] for row in rows], np.float32)


def test_sides_are_averaged_and_gaze_blinks_and_directions_left_out():
    moved = movements(
        scores([{"mouthSmileLeft": 0.2, "mouthSmileRight": 0.6, "jawOpen": 0.5, "eyeBlinkLeft": 1.0}]), BLENDSHAPE_NAMES
    )
    shown = {name: round(float(v), 6) for name, v in zip(MOVEMENTS, moved[0], strict=True) if v}
    assert shown == {"mouthSmile": 0.4, "jawOpen": 0.5}
    assert not [name for name in MOVEMENTS if "Look" in name or "Blink" in name or name in ("jaw", "mouth", "_neutral")]
    # Every other blendshape is there, with its sides.
    covered = {name + side for name in MOVEMENTS for side in ("", "Left", "Right")}
    missing = [name for name in BLENDSHAPE_NAMES if name not in covered]
    assert missing == [
        *(n for n in BLENDSHAPE_NAMES if n == "_neutral" or n.startswith(("eyeBlink", "eyeLook"))),
        *("jawLeft", "jawRight", "mouthLeft", "mouthRight"),
    ]


def test_the_order_of_the_blendshapes_is_the_files():
    shown = scores([{"mouthFrownLeft": 0.4, "mouthFrownRight": 0.2}])
    order = np.random.default_rng(0).permutation(len(BLENDSHAPE_NAMES))
    again = movements(shown[:, order], [BLENDSHAPE_NAMES[i] for i in order])
    np.testing.assert_allclose(again, movements(shown, BLENDSHAPE_NAMES))
    with pytest.raises(EmoaugError, match="browOuterUp was not measured, only browDownLeft, browInnerUp"):
        movements(shown[:, :2], ["browDownLeft", "browInnerUp"])


def test_action_units_are_found_again_in_the_blendshapes_that_show_them():
    generator = np.random.default_rng(3)
    wanted = np.where(generator.random((60, len(UNITS))) < 0.3, generator.uniform(0, 0.45, (60, len(UNITS))), 0)
    shown = scores([from_action_units(dict(zip(UNITS, row.tolist(), strict=True))) for row in wanted])
    found = action_units(movements(shown, BLENDSHAPE_NAMES))
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_a_face_that_was_not_found_has_no_action_units():
    moved = np.zeros((2, len(MOVEMENTS)), np.float32)
    moved[0] = np.nan
    assert np.isnan(action_units(moved)[0]).all()
    assert (action_units(moved)[1] == 0).all()


def sample(faces: int = 200) -> np.ndarray:
    generator = np.random.default_rng(0)
    return scores(
        [
            {"mouthSmileLeft": s, "mouthSmileRight": s, "jawOpen": 0.5 * j, "cheekPuff": 0.05 * j}
            for s, j in generator.random((faces, 2))
        ]
    )


def test_the_99th_percentile_is_1_and_what_hardly_moves_is_left_out():
    shown = sample()
    scale = IntensityScale.fit("blendshapes", shown, BLENDSHAPE_NAMES)
    assert scale.names == ("jawOpen", "mouthSmile")
    high = np.quantile(shown[:, BLENDSHAPE_NAMES.index("jawOpen")], 0.99)
    assert scale.full[0] == pytest.approx(high, abs=1e-4)
    conditions = scale.conditions(shown, BLENDSHAPE_NAMES)
    assert conditions.min() >= 0
    assert (conditions == 1).mean(0).tolist() == pytest.approx([0.01, 0.01], abs=0.006)
    half = scale.conditions(scores([{"jawOpen": scale.full[0] / 2}]), BLENDSHAPE_NAMES)
    np.testing.assert_allclose(half, [[0.5, 0.0]], atol=1e-6)


def test_faces_without_scores_do_not_count_and_have_no_condition():
    shown = np.concatenate([sample(), np.full((300, len(BLENDSHAPE_NAMES)), np.nan, np.float32)])
    assert IntensityScale.fit("blendshapes", shown, BLENDSHAPE_NAMES) == IntensityScale.fit(
        "blendshapes", sample(), BLENDSHAPE_NAMES
    )
    scale = IntensityScale.fit("action-units", shown, BLENDSHAPE_NAMES)
    assert scale.names == ("AU12", "AU26")
    assert np.isnan(scale.conditions(shown, BLENDSHAPE_NAMES)[-1]).all()


def test_what_cannot_be_fitted_says_why():
    with pytest.raises(EmoaugError, match="no face has blendshape scores"):
        IntensityScale.fit("blendshapes", np.full((3, 52), np.nan, np.float32), BLENDSHAPE_NAMES)
    with pytest.raises(EmoaugError, match="two are needed"):
        IntensityScale.fit("blendshapes", scores([{"jawOpen": 1.0}] * 3), BLENDSHAPE_NAMES)
    with pytest.raises(EmoaugError, match='unknown conditions "faces"; there are labels, blendshapes'):
        IntensityScale.fit("faces", sample(), BLENDSHAPE_NAMES)  # type: ignore[arg-type]


def test_a_checkpoint_keeps_the_scale():
    scale = IntensityScale.fit("action-units", sample(), BLENDSHAPE_NAMES)
    config = {"condition_names": list(scale.names), "extra": {"conditions": scale.to_json()}}
    assert IntensityScale.from_config(config) == scale
    assert IntensityScale.from_config({"condition_names": ["happy", "sad"], "extra": {}}) is None
    for broken in ({}, {"conditions": {"measure": "action-units", "full": {"AU12": 0.0, "AU26": 1.0}}}):
        with pytest.raises(EmoaugError, match="does not say how its conditions were measured"):
            IntensityScale.from_config({"condition_names": ["AU12", "AU26"], "extra": broken})


def test_names_tell_intensities_from_classes():
    assert are_intensities(("mouthSmile", "browDown"))
    assert are_intensities(("AU12", "AU4"))
    assert not are_intensities(("happy", "neutral"))
    assert not are_intensities(("mouthSmile", "happy"))
