"""A scene depends on the seed and the row alone; labels are balanced and people come in groups."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.expressions import BASIC, COMPOUND, SEVEN
from augment.faces import EYES, PHILTRUM
from augment.simulation.scenes import (
    SceneSettings,
    describe,
    draw_place,
    draw_scene,
    identity_of,
    label_of,
)
from emoaug import EmoaugError


def scenes(count: int, **options):
    drawn = SceneSettings(**options)
    return [draw_scene(drawn, row) for row in range(count)]


def test_a_row_is_the_same_whenever_it_is_drawn_and_another_seed_is_another_world():
    forward, backward = scenes(12), [draw_scene(SceneSettings(), row) for row in reversed(range(12))]
    assert forward == backward[::-1]
    assert all(a != b for a, b in zip(forward, scenes(12, seed=1), strict=True))
    assert len({scene.seed for scene in forward}) == 12


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 8), st.integers(0, 3), st.integers(0, 5))
def test_labels_are_balanced_and_nobody_repeats_one_before_having_shown_all(each, classes, blocks, seed):
    names = BASIC[:classes]
    drawn = SceneSettings(expressions=names, per_subject=each, seed=seed)
    rows = (blocks + 1) * each * classes
    labels = [label_of(drawn, row) for row in range(rows)]
    assert set(Counter(labels).values()) == {rows // classes}
    for start in range(0, rows, each):
        counts = Counter(labels[start : start + each])
        assert max(counts.values()) - min(counts[name] for name in names) <= 1


def test_labels_stay_balanced_within_one_as_rows_are_added():
    drawn = SceneSettings(per_subject=4)
    labels = [label_of(drawn, row) for row in range(60)]
    for stop in range(1, 28 + 1):  # within the first block of as many people as there are expressions
        counts = [Counter(labels[:stop])[name] for name in SEVEN]
        assert max(counts) - min(counts) <= 1


def test_people_keep_their_faces_and_differ_from_each_other():
    drawn = scenes(8, per_subject=4)
    assert [scene.subject for scene in drawn] == [0, 0, 0, 0, 1, 1, 1, 1]
    faces = torch.stack([identity_of(SceneSettings(), subject) for subject in range(200)])
    assert torch.equal(faces[3], identity_of(SceneSettings(per_subject=2), 3))
    assert faces.abs().max() <= 2.5
    assert faces.std().item() == pytest.approx(0.85, abs=0.02)
    assert torch.equal(identity_of(SceneSettings(spread=0.0), 5), torch.zeros(100))


def test_some_people_are_photographed_in_one_place_and_others_everywhere():
    drawn = scenes(400, per_subject=4)
    places = [{scene.place.background_seed for scene in drawn[i : i + 4]} for i in range(0, 400, 4)]
    in_session = [len(seeds) == 1 for seeds in places]
    assert np.mean(in_session) == pytest.approx(0.5, abs=0.15)
    assert all(len(seeds) in (1, 4) for seeds in places)
    lights = [{str(scene.place) for scene in drawn[i : i + 4]} for i in range(0, 400, 4)]
    assert [len(texts) == 1 for texts in lights] == in_session


def test_who_holds_still_differs_in_the_expression_alone():
    drawn = scenes(400, per_subject=4, still=0.3, session=0.6)
    people = [drawn[i : i + 4] for i in range(0, 400, 4)]
    seen = [{(str(s.place), s.pose, s.targets, s.distance) for s in person} for person in people]
    still = [len(one) == 1 for one in seen]
    assert np.mean(still) == pytest.approx(0.3, abs=0.12)
    assert all(len({str(s.expression) for s in person}) == 4 for person in people)
    assert len({person[0].pose for person in people}) == 100
    # Those who do not are as they are without the option.
    others = scenes(400, per_subject=4, session=0.6)
    assert all(s == o for s, o in zip(drawn, others, strict=True) if not still[s.subject])


def test_poses_fill_the_range_that_was_asked_for_and_stay_in_it():
    poses = np.array([scene.pose for scene in scenes(600, yaw=30.0, pitch=10.0, roll=5.0)])
    assert np.abs(poses).max(0) == pytest.approx([30, 10, 5])
    assert np.abs(poses.mean(0)).max() < 2.5
    assert np.median(np.abs(poses[:, 0])) == pytest.approx(0.28 * 30, abs=1.5)
    frontal = np.array([scene.pose for scene in scenes(50, yaw=0.0, pitch=0.0, roll=0.0)])
    assert not frontal.any()


def test_sad_heads_hang_more_than_happy_ones():
    drawn = scenes(700)
    pitch = {name: np.mean([s.pose[1] for s in drawn if s.label == name]) for name in ("sad", "happy")}
    assert pitch["sad"] < pitch["happy"] - 3


def test_frames_lie_where_alignment_puts_them_within_its_own_error():
    targets = np.array([scene.targets for scene in scenes(300)])
    off = targets - [*EYES, PHILTRUM]
    assert np.abs(off.mean(0)).max() < 0.003
    assert np.linalg.norm(off, axis=2).max() < 0.05
    exact = np.array([scene.targets for scene in scenes(5, jitter=0.0)])
    np.testing.assert_allclose(exact, np.broadcast_to([*EYES, PHILTRUM], exact.shape), atol=1e-5)


@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0])
def test_lights_and_cameras_are_possible_ones(spread):
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        place = draw_place(generator, SceneSettings(spread=spread))
        lamps = np.array([*place.lamps, *place.sources])
        np.testing.assert_allclose(np.linalg.norm(lamps[:, :3], axis=1), 1, atol=1e-6)
        assert lamps[:, 3:].min() >= 0
        assert min(place.even) >= 0
        assert place.lamps[0][2] > 0  # the key light comes from the front
        assert 10 <= place.camera["jpeg"] <= 100
        assert 0 <= place.camera["vignette"] <= 1


def test_more_spread_is_more_variety():
    def variety(spread: float) -> float:
        return float(np.std([scene.place.camera["exposure"] for scene in scenes(100, spread=spread, session=0.0)]))

    assert variety(0.0) == 0
    assert variety(2.0) > 1.5 * variety(1.0)


def test_compounds_can_be_shown_and_scenes_can_be_described_as_json():
    drawn = scenes(15, expressions=COMPOUND, per_subject=15)
    assert sorted(scene.label for scene in drawn) == sorted(COMPOUND)
    assert set(describe(drawn[0])) == {"distance_cm", "camera", "key_light"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"expressions": ()}, "none"),
        ({"per_subject": 0}, "per_subject is 0"),
        ({"yaw": 95.0}, "yaw is 95"),
        ({"spread": -1.0}, "spread is -1"),
        ({"grey": 1.5}, "grey is 1.5"),
        ({"typical": -0.1}, "typical is -0.1"),
        ({"distance": (100.0, 50.0)}, "100"),
        ({"seed": -1}, "seed is -1"),
        ({"intensity": (1.2, 0.9)}, "intensity is 1.2 to 0.9"),
        ({"yaw": float("nan")}, "yaw is nan"),
    ],
)
def test_settings_out_of_range_are_named(wrong, said):
    with pytest.raises(EmoaugError, match=said):
        SceneSettings(**wrong)


def test_an_expression_without_units_is_named():
    with pytest.raises(EmoaugError, match="bored"):
        draw_scene(SceneSettings(expressions=("bored",)), 0)
