"""Action units become the blendshapes that show them, and every known expression has its published units."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mediapipe.tasks.python.vision.face_landmarker import Blendshapes

from augment.action_units import ACTION_UNITS, BLENDSHAPE_NAMES, PROTOTYPES, TYPICAL, feasible, from_action_units
from augment.expressions import CANONICAL, COMPOUND, SEVEN
from emoaug import EmoaugError

UNITS = st.dictionaries(st.sampled_from(sorted(ACTION_UNITS)), st.floats(0, 1))


def cosine(a: dict[str, float], b: dict[str, float]) -> float:
    dot = sum(value * b.get(name, 0) for name, value in a.items())
    return dot / math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))


def test_names_are_those_of_mediapipe_in_its_order():
    def plain(name: str) -> str:
        return name.replace("_", "").lower()

    assert [plain(name) for name in BLENDSHAPE_NAMES] == [plain(shape.name) for shape in Blendshapes]


def test_a_unit_moves_both_sides_and_its_one_sided_form_moves_one():
    assert from_action_units({12: 0.8}) == {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}
    assert from_action_units({"L12": 0.8}) == {"mouthSmileLeft": 0.8}
    assert from_action_units({"AU12": 0.5, "R2": 0.25}) == {
        "browOuterUpRight": 0.25,
        "mouthSmileLeft": 0.5,
        "mouthSmileRight": 0.5,
    }


def test_eyes_that_turn_left_look_out_on_the_left_and_in_on_the_right():
    assert from_action_units({61: 0.5}) == {"eyeLookInRight": 0.5, "eyeLookOutLeft": 0.5}


def test_units_that_move_the_same_shape_add_up_to_one_at_most():
    both = from_action_units({6: 1.0, 7: 0.2})
    assert both["eyeSquintLeft"] == pytest.approx(0.25 + 0.2)
    assert from_action_units({6: 1.0, 7: 1.0})["eyeSquintLeft"] == 1


def test_raised_inner_brows_take_most_of_the_lowering_away():
    assert from_action_units({4: 0.8})["browDownLeft"] == 0.8
    assert from_action_units({1: 1.0, 4: 0.8})["browDownLeft"] == pytest.approx(0.24)
    assert from_action_units({1: 1.0, 4: 0.8})["browInnerUp"] == 1.0


@given(UNITS)
def test_any_units_give_values_that_a_face_can_show(units):
    shapes = from_action_units(units)
    assert all(0 < value <= 1 for value in shapes.values())
    assert [name for name in BLENDSHAPE_NAMES if name in shapes] == list(shapes)
    assert shapes == feasible(shapes) or any("eyeWide" in name for name in shapes)


@given(UNITS, st.sampled_from(sorted(set(ACTION_UNITS) - {1})))
def test_more_of_a_unit_never_weakens_what_it_moves(units, number):
    # 43 closes the eyes, which takes the widening of 5 away; 1 takes the lowering of 4 away.
    less = from_action_units({k: v for k, v in units.items() if k not in (5, 43)} | {number: 0.25})
    more = from_action_units({k: v for k, v in units.items() if k not in (5, 43)} | {number: 0.75})
    assert all(more[name] >= less[name] for name in less if name not in ("eyeWideLeft", "eyeWideRight"))


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ({99: 0.5}, "99"),
        ({"smile": 0.5}, "smile"),
        ({12: 1.5}, "1.5"),
        ({"L26": 0.5}, "26"),
        ({"R61": 0.5}, "together"),
    ],
)
def test_wrong_units_are_named(units, said):
    with pytest.raises(EmoaugError, match=said):
        from_action_units(units)


def test_a_closed_eye_is_not_wide_and_lips_close_no_wider_than_the_jaw_is_open():
    assert feasible({"eyeWideLeft": 0.8, "eyeBlinkLeft": 1.0}) == {"eyeBlinkLeft": 1.0}
    assert feasible({"mouthClose": 0.9, "jawOpen": 0.3}) == {"jawOpen": 0.3, "mouthClose": 0.3}
    assert feasible({"mouthClose": 0.9}) == {}


def test_values_are_clipped_and_exact_in_four_digits():
    assert feasible({"jawOpen": 1.7, "mouthPucker": -0.2, "mouthFunnel": 1 / 3}) == {
        "jawOpen": 1.0,
        "mouthFunnel": 0.3333,
    }


def test_wrong_blendshapes_are_named_with_what_to_write():
    with pytest.raises(EmoaugError, match="mouthSmileLeft and mouthSmileRight"):
        feasible({"mouthSmile": 0.5})
    with pytest.raises(EmoaugError, match="no number"):
        feasible({"jawOpen": math.nan})


def test_every_expression_has_prototypes_of_known_units_with_shares_and_values_in_range():
    assert tuple(PROTOTYPES) == CANONICAL
    for prototypes in PROTOTYPES.values():
        for prototype in prototypes:
            from_action_units(dict.fromkeys(prototype.optional, 0.5) | dict(prototype.units))
            assert all(0 < value <= 1 for value in prototype.units.values())
            assert all(0 < share < 1 for share in prototype.optional.values())


def test_typical_ways_are_of_known_units_and_each_is_nearest_to_its_own_expression():
    assert tuple(TYPICAL) == SEVEN
    assert not any(prototype.optional for prototype in TYPICAL.values())
    assert not TYPICAL["neutral"].units
    # A system that learns both tells fear from surprise by the jaw.
    jaws = {name: from_action_units(TYPICAL[name].units).get("jawOpen", 0) for name in ("fear", "surprise")}
    assert jaws["fear"] < 0.2 < 0.5 < jaws["surprise"]
    for name in SEVEN[1:]:
        shown = from_action_units(TYPICAL[name].units)
        near = {
            other: max(cosine(shown, from_action_units(prototype.units)) for prototype in PROTOTYPES[other])
            for other in SEVEN[1:]
        }
        assert max(near, key=near.__getitem__) == name, near


def test_compounds_are_the_published_ones():
    # Du, Tao & Martinez 2014, table 1: units that more than 70 % of the people show, and shares of the others.
    published = {
        "happily_surprised": ({1, 2, 12, 25}, {5: 64, 26: 67}),
        "sadly_disgusted": ({4, 10}, {1: 49, 6: 61, 9: 20, 11: 35, 15: 54, 17: 47, 25: 43}),
        "fearfully_disgusted": ({1, 4, 10, 20, 25}, {2: 64, 5: 50, 6: 26, 9: 28, 15: 33}),
        "hatred": ({4, 10}, {7: 57, 9: 27, 17: 63, 24: 37}),
        "awed": ({1, 2, 5, 25}, {4: 21, 20: 62, 26: 56}),
    }
    for name, (units, optional) in published.items():
        (prototype,) = PROTOTYPES[name]
        assert set(prototype.units) == units
        assert prototype.optional == {unit: share / 100 for unit, share in optional.items()}
    assert all(len(PROTOTYPES[name]) == 1 for name in COMPOUND)


def test_basic_expressions_are_unlike_each_other():
    full = {
        name: [from_action_units(prototype.units) for prototype in PROTOTYPES[name]]
        for name in ("happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
    }
    for first, second in combinations(full, 2):
        nearest = max(cosine(a, b) for a in full[first] for b in full[second])
        # Fear and surprise share brows, lids and the parted lips; people confuse them too.
        assert nearest < (0.92 if {first, second} == {"surprise", "fear"} else 0.75), (first, second, nearest)
