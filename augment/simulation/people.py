"""Who the people are: a few dozen plain numbers a person, drawn once, from which everything is painted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

MONK_SCALE = (
    "#f6ede4",
    "#f3e7db",
    "#f7ead0",
    "#eadaba",
    "#d7bd96",
    "#a07e56",
    "#825c43",
    "#604134",
    "#3a312a",
    "#292420",
)
"""The ten Monk skin tones, sRGB, lightest first. Source: E. Monk, "The Monk Skin Tone Scale", 2023, skintone.google."""

HAIR_STYLES = ("bald", "horseshoe", "buzz", "short", "fringe", "bob", "long", "tied", "afro")
"""Cuts of the scalp's hair."""
# Albedo, linear RGB, dark to light; people with dark skin have the first two unless they grey or dye.
_HAIR_COLOURS = {
    "black": (0.012, 0.010, 0.009),
    "dark brown": (0.030, 0.018, 0.011),
    "brown": (0.085, 0.045, 0.022),
    "red": (0.210, 0.065, 0.020),
    "blond": (0.400, 0.265, 0.120),
    "grey": (0.330, 0.320, 0.310),
}
_EYE_COLOURS = {
    "dark brown": (0.020, 0.010, 0.005),
    "brown": (0.080, 0.036, 0.014),
    "hazel": (0.130, 0.085, 0.030),
    "green": (0.110, 0.140, 0.070),
    "blue": (0.110, 0.190, 0.290),
    "grey": (0.180, 0.210, 0.230),
}


@dataclass(frozen=True)
class AppearanceSettings:
    """What the people look like, as shares and ranges."""

    texture_size: int = 256
    """Side of the painted textures in texels."""
    spread: float = 1.0
    """How far people differ: 0 the average person, 1 as people do, more to randomise beyond what exists."""
    glasses: float = 0.12
    """Share of people with glasses."""
    beards: float = 0.55
    """Share of people with masculine faces who have a beard, stubble included."""
    makeup: float = 0.45
    """Share of people with feminine faces who wear make-up."""
    bald: float = 0.15
    """Share of people with masculine faces whose scalp is bald or has hair on its sides only."""


@dataclass(frozen=True)
class Person:
    """What distinguishes one person; lengths in cm, strengths in [0, 1] where nothing else is said."""

    tone: float
    """Place on the Monk scale, in [0.5, 10.5]; its rounding is the tone's number."""
    warmth: float
    """Undertone: positive is yellow, negative is pink; a standard deviation is 1."""
    masculine: float
    """0 feminine to 1 masculine, which only sets how often and how strongly other traits appear."""
    age: float
    """Apparent age, years."""
    blush: float
    """Redness of cheeks, nose and ears."""
    lip_redness: float
    lip_darkness: float
    lipstick: float
    """How opaque the lipstick is; 0 is none."""
    lipstick_hue: float
    """0 brown and nude, 1 strong red or pink."""
    socket_shadow: float
    """Pigment around the eyes."""
    blotches: float
    """Strength of low-frequency unevenness."""
    pores: float
    """Strength of fine noise."""
    freckles: float
    moles: int
    """How many moles."""
    oiliness: float
    brow_thickness: float
    """cm."""
    brow_density: float
    brow_arch: float
    """How far the brow's middle is raised over the average, cm."""
    brow_length: float
    """Relative to the average."""
    brow_darkness: float
    """0 the hair's own colour, 1 black-brown."""
    lash_line: float
    eyeliner: float
    """0 is none."""
    eyeshadow: float
    """0 is none."""
    hair_style: str
    hair_colour: str
    hair: tuple[float, float, float]
    """Albedo of the hair, linear RGB."""
    hairline: float
    """Height of the hairline over the eyes in the middle of the forehead, cm on the skin."""
    temples: float
    """How far the hairline recedes at the temples, cm."""
    hair_volume: float
    """Thickness of the hair, cm."""
    hair_curl: float
    """0 straight strands, 1 frizzy."""
    parting: float
    """Place of the parting, cm from the middle."""
    fringe: float
    """Height of the fringe's edge over the eyes, cm on the skin."""
    beard_style: str
    beard_density: float
    grey: float
    """Share of grey in the hair."""
    eye_colour: str
    iris: tuple[float, float, float]
    """Albedo of the iris, linear RGB."""
    pupil: float
    """Radius of the pupil as a share of the iris's."""
    glasses: str
    """"none", "round", "square", "rimless" or "browline"."""
    glasses_size: float
    """Relative to the average."""
    glasses_colour: tuple[float, float, float]
    """Albedo of the frame, linear RGB."""
    irregularity: float
    """How uneven everything drawn is: 0 for the average person, whose halves are mirror images, else 1."""
    seed: int
    """For the noise, spots and strands that are too many to name."""


class _Draw:
    """Turns one vector of uniform numbers into traits, one number each, so that no share shifts another trait."""

    def __init__(self, generator: torch.Generator, spread: float) -> None:
        self.numbers = iter(torch.rand(96, generator=generator, dtype=torch.float64).clamp(1e-6, 1 - 1e-6).tolist())
        self.spread = spread

    def normal(self, mean: float, deviation: float, low: float, high: float) -> float:
        z = math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * next(self.numbers) - 1, dtype=torch.float64)))
        return min(max(mean + deviation * self.spread * z, low), high)

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2 + (next(self.numbers) - 0.5) * (high - low) * min(self.spread, 1.0)

    def chance(self, share: float) -> bool:
        """Say yes with a probability; the average person has what most people have."""
        number = next(self.numbers)
        return number < share if self.spread > 0 else share > 0.5

    def pick(self, weights: dict[str, float]) -> str:
        """Pick a name by weight; the average person's is the most frequent."""
        number = next(self.numbers) * sum(weights.values())
        if self.spread == 0:
            return max(weights, key=lambda name: weights[name])
        for name, weight in weights.items():
            number -= weight
            if number < 0:
                return name
        return next(reversed(weights))


def linear(colours: np.ndarray) -> np.ndarray:
    """Turn sRGB in [0, 1] into linear RGB (IEC 61966-2-1)."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def monk_tones() -> np.ndarray:
    """Give the Monk scale as linear RGB, (10, 3)."""
    return linear(np.array([[int(tone[i : i + 2], 16) / 255 for i in (1, 3, 5)] for tone in MONK_SCALE]))


def _fold(tone: float) -> float:
    """Reflect a place on the Monk scale at its ends, [0.5, 10.5], so that a wide spread does not pile up there."""
    period = (tone - 0.5) % 20
    return 0.5 + (period if period <= 10 else 20 - period)


def draw_person(generator: torch.Generator, settings: AppearanceSettings) -> Person:
    """Draw a person.

    Args:
        generator: the person's own, on the CPU.
        settings: shares and ranges.

    Returns:
        The traits. Their frequencies are plausible, not measured: the Monk tones are equally frequent on purpose.
    """
    draw = _Draw(generator, settings.spread)
    tone = _fold(5.5 + draw.spread * 10 * (next(draw.numbers) - 0.5))
    dark = (tone - 0.5) / 10
    masculine = float(draw.chance(0.5)) if settings.spread > 0 else (next(draw.numbers), 0.5)[1]
    masculine = min(max(masculine + draw.normal(0, 0.12, -0.5, 0.5), 0.0), 1.0)
    man = masculine > 0.5
    age = draw.normal(40, 16, 18, 85)
    old = min(max((age - 30) / 45, 0.0), 1.0)
    spread = settings.spread

    made_up = draw.chance(settings.makeup if not man else 0.01)
    paint = {name: draw.chance(share) for name, share in (("lips", 0.6), ("liner", 0.6), ("shadow", 0.35))}
    amount = {name: draw.uniform(0.35, 0.9) for name in paint}

    colour = draw.pick(_hair_weights(dark, old))
    hair = np.array(_HAIR_COLOURS[colour])
    grey = min(max(draw.normal(1.6 * old - 0.35, 0.25, -1, 1), 0.0), 1.0) if colour != "grey" else 1.0
    hair = hair * (1 - 0.6 * grey) + 0.6 * grey * np.array(_HAIR_COLOURS["grey"]) * draw.uniform(0.5, 1.2)
    hair = np.clip(hair * math.exp(draw.normal(0, 0.28, -1.5, 0.7)), 0.004, 0.75)
    style = _hair_style(draw, settings, man, dark)
    eye = draw.pick(_eye_weights(dark))
    iris = np.clip(np.array(_EYE_COLOURS[eye]) * math.exp(draw.normal(0, 0.25, -0.8, 0.8)), 0.004, 0.5)
    bearded = draw.chance(settings.beards) and man
    beard = draw.pick({"shadow": 0.25, "stubble": 0.3, "moustache": 0.08, "goatee": 0.12, "full": 0.25})
    with_glasses = draw.chance(settings.glasses)
    frame = draw.pick({"round": 0.3, "square": 0.4, "browline": 0.15, "rimless": 0.15})
    metal = draw.pick({"black": 0.5, "brown": 0.2, "metal": 0.2, "red": 0.05, "blue": 0.05})
    frames = {"black": (0.012,) * 3, "brown": (0.07, 0.03, 0.012), "metal": (0.32, 0.3, 0.27)}
    frames |= {"red": (0.2, 0.012, 0.015), "blue": (0.02, 0.04, 0.14)}
    return Person(
        tone=tone,
        warmth=draw.normal(0, 1, -2.5, 2.5),
        masculine=masculine,
        age=age,
        blush=draw.normal(0.45, 0.22, 0, 1.6),
        lip_redness=draw.normal(0.55 - 0.12 * masculine, 0.16, 0.1, 1.2),
        lip_darkness=draw.normal(0.18 + 0.12 * masculine, 0.1, 0, 0.8),
        lipstick=amount["lips"] * (made_up and paint["lips"]),
        lipstick_hue=draw.uniform(0, 1),
        socket_shadow=draw.normal(0.35 + 0.15 * old, 0.18, 0, 1.4),
        blotches=draw.normal(0.5, 0.25, 0, 2) * min(spread, 1.0),
        pores=draw.normal(0.5 + 0.2 * masculine, 0.22, 0.05, 2) * min(spread, 1.0),
        freckles=draw.normal(0.4, 0.3, 0.1, 1) * draw.chance(0.18 * (1 - dark) + 0.3 * (colour == "red")),
        moles=int(draw.normal(2, 2.5, 0, 9) * (spread > 0)),
        oiliness=draw.normal(0.5, 0.2, 0, 1),
        brow_thickness=draw.normal(0.6 + 0.18 * masculine, 0.13, 0.25, 1.25),
        brow_density=draw.normal(0.72, 0.15, 0.25, 1),
        brow_arch=draw.normal(0.08 - 0.12 * masculine, 0.13, -0.35, 0.5),
        brow_length=draw.normal(1, 0.06, 0.75, 1.2),
        brow_darkness=draw.normal(0.35 + 0.3 * made_up, 0.22, 0, 0.95),
        lash_line=draw.normal(0.5 + 0.2 * (1 - masculine), 0.15, 0.1, 1),
        eyeliner=amount["liner"] * (made_up and paint["liner"]),
        eyeshadow=amount["shadow"] * (made_up and paint["shadow"]),
        hair_style=style,
        hair_colour=colour if grey < 0.75 else "grey",
        hair=(float(hair[0]), float(hair[1]), float(hair[2])),
        hairline=draw.normal(7.4, 0.5, 6.0, 9.0) + (1.2 * old * masculine if man else 0.0),
        temples=draw.normal(0.3 + 0.6 * masculine + 0.9 * old * masculine, 0.35, 0, 3),
        hair_volume=draw.normal(1.0, 0.35, 0.3, 2.4),
        hair_curl=min(max(draw.normal(0.2 + 0.7 * dark**2, 0.3, -0.5, 1.4), 0.0), 1.0),
        parting=draw.uniform(-4, 4),
        fringe=draw.normal(3.6, 0.5, 2.6, 5.2),
        beard_style=beard if bearded else "none",
        beard_density=draw.normal(0.75, 0.15, 0.35, 1),
        grey=grey,
        eye_colour=eye,
        iris=(float(iris[0]), float(iris[1]), float(iris[2])),
        pupil=draw.normal(0.36, 0.07, 0.22, 0.6),
        glasses=frame if with_glasses else "none",
        glasses_size=draw.normal(1, 0.07, 0.82, 1.2),
        glasses_colour=frames[metal],
        irregularity=min(spread, 1.0),
        seed=int(torch.randint(2**31 - 1, (), generator=generator)),
    )


def _hair_weights(dark: float, old: float) -> dict[str, float]:
    """Weigh natural hair colours; dark in [0, 1] along the Monk scale."""
    light = max(1 - 1.8 * dark, 0.0)
    return {
        "black": 0.15 + 0.75 * dark,
        "dark brown": 0.35,
        "brown": 0.06 + 0.5 * light,
        "red": 0.01 + 0.1 * light,
        "blond": 0.02 + 0.4 * light,
        "grey": 0.03 + 0.5 * old**2,
    }


def _eye_weights(dark: float) -> dict[str, float]:
    """Weigh eye colours; dark in [0, 1] along the Monk scale."""
    light = max(1 - 2.0 * dark, 0.0)
    return {
        "dark brown": 0.25 + 1.2 * dark,
        "brown": 0.5,
        "hazel": 0.04 + 0.2 * light,
        "green": 0.01 + 0.15 * light,
        "blue": 0.01 + 0.6 * light,
        "grey": 0.01 + 0.15 * light,
    }


def _hair_style(draw: _Draw, settings: AppearanceSettings, man: bool, dark: float) -> str:
    """Draw the cut of the scalp's hair."""
    bald = draw.chance(settings.bald)
    bare = draw.pick({"bald": 0.6, "horseshoe": 0.4})
    man_cut = draw.pick({"short": 0.55, "buzz": 0.2, "fringe": 0.12, "long": 0.04, "tied": 0.02, "afro": 0.3 * dark**3})
    woman_cut = draw.pick(
        {"long": 0.35, "bob": 0.2, "tied": 0.22, "fringe": 0.12, "short": 0.08, "afro": 0.3 * dark**3, "buzz": 0.02}
    )
    if not man:
        return woman_cut
    return bare if bald else man_cut
