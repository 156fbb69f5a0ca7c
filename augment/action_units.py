"""Facial action units, the blendshapes that show them, and the expressions that they make up.

Action units (FACS) say which muscles move; blendshapes (ARKit, also MediaPipe's 52 scores) say how a surface moves.
Expressions are published as action units, face models move by blendshapes; this module leads from one to the other.
Left and right are the person's own, so the left is seen on the right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from emoaug import EmoaugError

BLENDSHAPE_NAMES = (
    *("_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff"),
    *("cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight"),
    *("eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight"),
    *("eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight"),
    *("mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel"),
    *("mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker"),
    *("mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft"),
    *("mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    *("noseSneerLeft", "noseSneerRight"),
)
"""MediaPipe's 52 names in its order. The first is no movement; ARKit's tongueOut, which MediaPipe has not, is absent.

Source: Apple's documentation of ARFaceAnchor.BlendShapeLocation says what each one moves.
"""


@dataclass(frozen=True)
class ActionUnit:
    """One action unit, and the blendshapes that show it at its strongest (FACS intensity E)."""

    name: str
    """FACS's name of the movement."""
    shapes: Mapping[str, float]
    """Blendshape to value in [0, 1]; a name without its side, such as "mouthSmile", stands for both sides."""


ACTION_UNITS: dict[int, ActionUnit] = {
    1: ActionUnit("inner brow raiser", {"browInnerUp": 1.0}),
    2: ActionUnit("outer brow raiser", {"browOuterUp": 1.0}),
    4: ActionUnit("brow lowerer", {"browDown": 1.0}),
    5: ActionUnit("upper lid raiser", {"eyeWide": 1.0}),
    6: ActionUnit("cheek raiser", {"cheekSquint": 1.0, "eyeSquint": 0.25}),
    7: ActionUnit("lid tightener", {"eyeSquint": 1.0}),
    9: ActionUnit(
        "nose wrinkler",
        {"noseSneer": 1.0, "browDown": 0.5, "mouthUpperUp": 0.2, "eyeSquint": 0.6, "cheekSquint": 0.4},
    ),
    10: ActionUnit("upper lip raiser", {"mouthUpperUp": 1.0, "noseSneer": 0.25}),
    # No blendshape deepens the nasolabial fold alone; the three that border on it, each a little, do.
    11: ActionUnit("nasolabial deepener", {"mouthUpperUp": 0.25, "noseSneer": 0.2, "cheekSquint": 0.25}),
    12: ActionUnit("lip corner puller", {"mouthSmile": 1.0}),
    13: ActionUnit("sharp lip puller", {"mouthSmile": 0.5, "mouthDimple": 0.3, "cheekSquint": 0.5}),
    14: ActionUnit("dimpler", {"mouthDimple": 1.0, "mouthPress": 0.2}),
    15: ActionUnit("lip corner depressor", {"mouthFrown": 1.0}),
    16: ActionUnit("lower lip depressor", {"mouthLowerDown": 1.0}),
    17: ActionUnit("chin raiser", {"mouthShrugLower": 1.0, "mouthShrugUpper": 0.5}),
    18: ActionUnit("lip pucker", {"mouthPucker": 1.0}),
    20: ActionUnit("lip stretcher", {"mouthStretch": 1.0, "mouthFrown": 0.1}),
    22: ActionUnit("lip funneler", {"mouthFunnel": 1.0}),
    23: ActionUnit("lip tightener", {"mouthRollLower": 0.45, "mouthRollUpper": 0.45, "mouthPress": 0.4}),
    24: ActionUnit("lip pressor", {"mouthPress": 1.0, "mouthRollLower": 0.2, "mouthRollUpper": 0.2}),
    25: ActionUnit("lips part", {"jawOpen": 0.15, "mouthLowerDown": 0.5, "mouthUpperUp": 0.2}),
    26: ActionUnit("jaw drop", {"jawOpen": 0.6}),
    27: ActionUnit("mouth stretch", {"jawOpen": 1.0}),
    28: ActionUnit("lip suck", {"mouthRollLower": 1.0, "mouthRollUpper": 1.0}),
    29: ActionUnit("jaw thrust", {"jawForward": 1.0}),
    34: ActionUnit("cheek puff", {"cheekPuff": 1.0}),
    43: ActionUnit("eyes closed", {"eyeBlink": 1.0}),
    44: ActionUnit("squint", {"eyeSquint": 1.0, "eyeBlink": 0.25}),
    61: ActionUnit("eyes turn left", {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}),
    62: ActionUnit("eyes turn right", {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0}),
    63: ActionUnit("eyes up", {"eyeLookUp": 1.0}),
    64: ActionUnit("eyes down", {"eyeLookDown": 1.0}),
}
"""Action units by their FACS number.

Sources: Ekman, Friesen & Hager, "Facial Action Coding System", 2002, for the movements; Apple's documentation of the
blendshapes for what each of them moves. The weights are this project's reading of the two.
"""


@dataclass(frozen=True)
class Prototype:
    """Action units that together are read as one expression."""

    units: Mapping[int | str, float]
    """Always there: unit, or its one-sided form such as "R14", to its value in (0, 1] when the expression is full."""
    optional: Mapping[int | str, float] = field(default_factory=dict)
    """Not always there: unit to the share of people, in (0, 1), who show it."""


def _full(*units: int, **others: float) -> dict[int | str, float]:
    """Units at 0.8, between FACS's intensities D and E; `AU5=0.3` sets another value for one."""
    values: dict[int | str, float] = {unit: 0.8 for unit in units}
    return values | {int(name.removeprefix("AU")): value for name, value in others.items()}


PROTOTYPES: dict[str, tuple[Prototype, ...]] = {
    "neutral": (Prototype({}),),
    "happy": (
        Prototype(_full(6, 12), {25: 0.9}),
        Prototype(_full(12, 25), {6: 0.51}),
    ),
    "sad": (
        Prototype(_full(1, 4, 15), {11: 0.4, 17: 0.5, 64: 0.4}),
        Prototype(_full(1, 4, 15, AU17=0.5), {64: 0.3}),
        Prototype(_full(6, 15, AU1=0.4), {64: 0.4}),
        Prototype(_full(4, 15), {1: 0.60, 6: 0.50, 11: 0.26, 17: 0.67}),
    ),
    "surprise": (
        Prototype(_full(1, 2, 26, AU5=0.5), {25: 0.5}),
        Prototype(_full(1, 2, AU5=0.5, AU27=0.7)),
        Prototype(_full(1, 2, 25, 26), {5: 0.66}),
    ),
    "fear": (
        Prototype(_full(1, 4, 5, 20, 25, AU2=0.4), {26: 0.4, 7: 0.4}),
        Prototype(_full(1, 4, 5, 25, AU2=0.4), {26: 0.5}),
        Prototype(_full(5, 20, 25), {26: 0.3}),
        Prototype(_full(1, 4, 20, 25), {2: 0.57, 5: 0.63, 26: 0.33}),
    ),
    "disgust": (
        Prototype(_full(9), {16: 0.3, 15: 0.3, 17: 0.4}),
        Prototype(_full(AU10=0.6), {16: 0.3, 25: 0.4, 9: 0.4, 17: 0.3}),
        Prototype(_full(9, AU10=0.5, AU17=0.5), {4: 0.31, 24: 0.26}),
    ),
    "angry": (
        Prototype(_full(4, 23, AU5=0.5, AU7=0.5), {17: 0.5}),
        Prototype(_full(4, 24, AU5=0.4, AU7=0.5), {17: 0.5}),
        Prototype(_full(4, 25, AU5=0.5, AU7=0.5, AU10=0.5, AU23=0.3), {22: 0.3, 26: 0.5}),
        Prototype(_full(4, 25, AU5=0.5, AU7=0.5, AU16=0.4, AU23=0.3), {26: 0.5}),
        Prototype(_full(4, 24, AU7=0.5), {10: 0.26, 17: 0.52, 23: 0.29}),
    ),
    "contempt": (
        Prototype({"R12": 0.35, "R14": 0.8}),
        Prototype({"L12": 0.35, "L14": 0.8}),
        Prototype({"R14": 0.9}, {"R10": 0.3}),
        Prototype({"L14": 0.9}, {"L10": 0.3}),
    ),
    "happily_surprised": (Prototype(_full(1, 2, 12, 25), {5: 0.64, 26: 0.67}),),
    "happily_disgusted": (Prototype(_full(10, 12, 25), {4: 0.32, 6: 0.61, 9: 0.59}),),
    "sadly_fearful": (Prototype(_full(1, 4, 20, 25), {2: 0.46, 5: 0.24, 6: 0.34, 15: 0.30}),),
    "sadly_angry": (Prototype(_full(4, 15), {6: 0.26, 7: 0.48, 11: 0.20, 17: 0.50}),),
    "sadly_surprised": (Prototype(_full(1, 4, 25, 26), {2: 0.27, 6: 0.31}),),
    "sadly_disgusted": (Prototype(_full(4, 10), {1: 0.49, 6: 0.61, 9: 0.20, 11: 0.35, 15: 0.54, 17: 0.47, 25: 0.43}),),
    "fearfully_angry": (Prototype(_full(4, 20, 25), {5: 0.40, 7: 0.39, 10: 0.30, 11: 0.33}),),
    "fearfully_surprised": (Prototype(_full(1, 2, 5, 20, 25), {4: 0.47, 10: 0.35, 11: 0.22, 26: 0.51}),),
    "fearfully_disgusted": (Prototype(_full(1, 4, 10, 20, 25), {2: 0.64, 5: 0.50, 6: 0.26, 9: 0.28, 15: 0.33}),),
    "angrily_surprised": (Prototype(_full(4, 25, 26), {5: 0.35, 7: 0.50, 10: 0.34}),),
    "angrily_disgusted": (Prototype(_full(4, 10, 17), {7: 0.60, 9: 0.57, 24: 0.36}),),
    "disgustedly_surprised": (Prototype(_full(1, 2, 5, 10), {4: 0.45, 9: 0.37, 17: 0.66, 24: 0.33}),),
    "appalled": (Prototype(_full(4, 10), {6: 0.25, 9: 0.56, 17: 0.67, 24: 0.36}),),
    "hatred": (Prototype(_full(4, 10), {7: 0.57, 9: 0.27, 17: 0.63, 24: 0.37}),),
    "awed": (Prototype(_full(1, 2, 5, 25), {4: 0.21, 20: 0.62, 26: 0.56}),),
}
"""The ways in which each expression is shown, by canonical name.

Sources: Ekman, Friesen & Hager, "FACS investigator's guide", 2002, table 10-1 (the prototypes and major variants of
EMFACS) for the basic expressions; the last entry of six of them, and every compound, is table 1 of Du, Tao & Martinez,
"Compound facial expressions of emotion", PNAS 111(15), 2014, with its shares of people in `optional`. Contempt: Lucey
et al., "The Extended Cohn-Kanade Dataset", CVPR workshops 2010, table 1 (one-sided 14), and EMFACS (one-sided 12 + 14).
Values, and shares without two digits, are this project's.
"""

TYPICAL: dict[str, Prototype] = {
    "neutral": Prototype({}),
    "happy": Prototype(_full(25, AU6=0.5, AU12=1.0)),
    "sad": Prototype(_full(1, 4, AU11=0.3, AU15=1.0, AU17=0.9, AU43=0.2, AU64=0.3)),
    "surprise": Prototype(_full(1, 2, AU5=0.5, AU25=0.5, AU26=0.9)),
    "fear": Prototype(_full(25, AU1=0.9, AU4=0.9, AU5=0.2, AU11=0.4, AU20=0.6)),
    "disgust": Prototype(_full(AU6=0.5, AU9=1.0, AU10=0.6, AU15=0.6, AU17=0.5)),
    "angry": Prototype(_full(25, AU4=1.0, AU7=0.5, AU10=0.5, AU16=0.5)),
}
"""One way of showing each of the seven, which others recognise most surely; for what is to learn one way, such as a
system that makes one face of a face and a name.

Source: of some forty combinations of EMFACS's units, with 10 besides in anger and 11 in fear, one of those whose
renders a classifier of FER2013's photographs, labelled by people, saw as meant most often: 91 % of happy faces, 69 of
fearful, 68 of disgusted and 73 of angry ones, of 60 people with either kind of head (sad 56 and surprised 100, rendered
with darker mouths); of the prototypes by turns, so rendered, 92, 14, 42 and 37, 28 and 98 (a throwaway script). Of
equals, smiles with open eyes, and fear whose jaw stays up, which sets it apart from surprise, and whose lips are not
stretched so far that their corners are dark. Values are this project's.
"""

_UNIT = re.compile(r"(?:AU)?([LR]?)(?:AU)?(\d+)", re.IGNORECASE)


def from_action_units(units: Mapping[int | str, float]) -> dict[str, float]:
    """Turn action units into blendshapes.

    Blendshapes that several units move add up, to 1 at most. Where the inner brows rise (1), the brow lowerer (4)
    draws them together more than down, so three tenths of its lowering are left at full strength of both.

    Args:
        units: unit to its value in [0, 1], where 1 is FACS's strongest intensity. A unit is a number, its text (12,
            "12", "AU12"), or, for the person's one side, "L12" or "R12".

    Returns:
        Blendshape to value in (0, 1], in the order of `BLENDSHAPE_NAMES`.

    Raises:
        EmoaugError: an unknown unit, a side of a unit that has none, or a value outside [0, 1].
    """
    total: dict[str, float] = {}
    raised = 0.0
    for key, value in units.items():
        number, side = _read_unit(key)
        if not 0 <= value <= 1:
            raise EmoaugError(f"action unit {key} is {value}; it is 0 (relaxed) to 1 (the strongest possible)")
        if number == 1:
            raised = max(raised, value)
        for name, weight in _shapes_of(number, side, key).items():
            total[name] = total.get(name, 0) + weight * value
    for name in ("browDownLeft", "browDownRight"):
        if name in total:
            total[name] *= 1 - 0.7 * raised
    return feasible(total)


def _read_unit(key: int | str) -> tuple[int, str]:
    """Split a unit's name into its number and its side, "L", "R" or ""."""
    match = _UNIT.fullmatch(str(key).strip())
    if match is None or int(match[2]) not in ACTION_UNITS:
        known = ", ".join(map(str, ACTION_UNITS))
        raise EmoaugError(f'unknown action unit "{key}"; known are {known}, and one side of one as L12 or R12')
    return int(match[2]), match[1].upper()


def _shapes_of(number: int, side: str, key: int | str) -> dict[str, float]:
    """The blendshapes, with their sides, of a unit."""
    shapes: dict[str, float] = {}
    for name, weight in ACTION_UNITS[number].shapes.items():
        if name in BLENDSHAPE_NAMES:
            # One side of what has no sides is half of it.
            shapes[name] = weight / 2 if side else weight
        else:
            both = {"L": ("Left",), "R": ("Right",), "": ("Left", "Right")}
            shapes |= {name + end: weight for end in both[side]}
    if side and not any(name.endswith(("Left", "Right")) for name in shapes):
        raise EmoaugError(f'action unit "{key}": {number}, {ACTION_UNITS[number].name}, has no sides; give {number}')
    if side and number in (61, 62):
        raise EmoaugError(f'action unit "{key}": the eyes turn together; give {number}')
    return shapes


def feasible(shapes: Mapping[str, float]) -> dict[str, float]:
    """Make blendshape values that a face can show.

    Values go into [0, 1], in steps of 0.0001, so that their text is exact; zeros are left out. A closed eye is not
    widened, and lips close over no wider a gap than the jaw has opened (ARKit's definition of mouthClose).

    Args:
        shapes: blendshape to value; "_neutral" is left out.

    Returns:
        Blendshape to value in (0, 1], in the order of `BLENDSHAPE_NAMES`.

    Raises:
        EmoaugError: an unknown blendshape, or a value that is no number.
    """
    unknown = sorted(set(shapes) - set(BLENDSHAPE_NAMES))
    if unknown:
        raise EmoaugError(
            f"unknown blendshape {', '.join(unknown)}; known are {', '.join(BLENDSHAPE_NAMES[1:])}"
            + "".join(f". {name} has two sides, {name}Left and {name}Right" for name in _sided(unknown))
        )
    values = {name: min(max(float(shapes[name]), 0.0), 1.0) for name in BLENDSHAPE_NAMES[1:] if name in shapes}
    if any(value != value for value in map(float, shapes.values())):
        raise EmoaugError("a blendshape's value is no number; give values from 0 to 1")
    for end in ("Left", "Right"):
        if f"eyeWide{end}" in values:
            values[f"eyeWide{end}"] *= 1 - values.get(f"eyeBlink{end}", 0)
    if "mouthClose" in values:
        values["mouthClose"] = min(values["mouthClose"], values.get("jawOpen", 0))
    rounded = {name: round(value, 4) for name, value in values.items()}
    return {name: value for name, value in rounded.items() if value}


def _sided(names: Iterable[str]) -> list[str]:
    """Those of some names that lack only their side."""
    return [name for name in names if f"{name}Left" in BLENDSHAPE_NAMES]
