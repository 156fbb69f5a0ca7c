"""Paint skin: how much blood and pigment lies where, and what that makes of the light that comes back."""

import functools
import math

import cv2
import numpy as np

from augment.simulation.canvas import blur, clouds, cover, draw_dots, noise
from augment.simulation.layout import Layout, smooth_step
from augment.simulation.people import Person, monk_tones

# Absorbance of red, green and blue light by a unit of each pigment. Melanin falls with the wavelength's power -3.3
# (Jacques, "Optical properties of biological tissues: a review", Phys. Med. Biol. 2013) at 620, 550 and 460 nm;
# oxygenated blood takes green and blue and lets red pass. Skin's colour as a sum of the two in the logarithm: Tsumura
# et al., "Image-based skin color and texture analysis/synthesis by extracting hemoglobin and melanin information in
# the skin", SIGGRAPH 2003.
_MELANIN = np.array([0.37, 0.55, 1.0], np.float32)
_BLOOD = np.array([0.12, 1.0, 0.85], np.float32)

_LIPSTICKS = np.array([[0.28, 0.12, 0.09], [0.36, 0.10, 0.12], [0.42, 0.02, 0.04], [0.16, 0.01, 0.03]], np.float32)
"""Nude, pink, red and dark red, linear RGB."""

SWATCH_EXPOSURE = 0.75
"""Albedo of skin as a share of its Monk swatch in linear RGB. Swatches are seen on a display whose white is 1; as an
albedo the lightest would outshine teeth and the whites of the eyes, which skin never does."""

_PALE = np.array([0.02, 0.18, 0.19])
"""Absorbance that pale skin has beyond its swatch, which is nearly white paper: the blood that shines through."""
_DARKEST = np.array([0.030, 0.0135, 0.008])
"""Albedo that even the darkest skin has beyond its swatch, which is nearly black: light from its depth, warm."""


def skin_tone(person: Person) -> np.ndarray:
    """Give the albedo of a person's cheek, linear RGB, (3,): between two neighbours of the Monk scale."""
    place = min(max(person.tone - 1, 0.0), 9.0)
    low = min(int(place), 8)
    share = place - low
    tones = np.log(monk_tones())
    tone = (1 - share) * tones[low] + share * tones[low + 1]
    # A yellow undertone takes some blue away, a pink one some green.
    undertone = np.array([0.0, 0.0, -0.045]) if person.warmth > 0 else np.array([0.0, 0.02, 0.01])
    pale = min(max((6 - person.tone) / 3, 0.0), 1.0)
    absorbed = pale * _PALE - person.warmth * undertone
    return (SWATCH_EXPOSURE * np.exp(tone - absorbed) + _DARKEST).astype(np.float32)


def cheek(layout: Layout) -> tuple[float, float]:
    """Place the apple of the left cheek: x and y, cm on the skin."""
    marks = np.abs(layout.landmarks[:, 0]), layout.landmarks[:, 1]
    x = 0.45 * marks[0][[36, 45]].mean() + 0.55 * marks[0][[48, 54]].mean() + 1.3
    y = 0.45 * marks[1][[36, 45]].mean() + 0.55 * marks[1][[48, 54]].mean()
    return float(x), float(y)


def paint_skin(layout: Layout, person: Person) -> tuple[np.ndarray, np.ndarray]:
    """Paint bare skin with its make-up.

    Args:
        layout: the texture's.
        person: whose skin.

    Returns:
        Albedo, linear RGB (3, R, R), and shine (R, R), both float32 in [0, 1].
    """
    rng = np.random.default_rng([person.seed, 1])
    ragged = np.float32(0.05 * person.irregularity) * noise(layout.side, 1.5, 1.5, rng)
    lips = smooth_step(-0.16, 0.12, layout.lips + ragged)
    blood, melanin = _pigments(layout, person, lips, rng)
    albedo = np.empty((3, layout.side, layout.side), np.float32)
    for channel, tone in enumerate(skin_tone(person).tolist()):
        absorbed = _BLOOD[channel] * blood + _MELANIN[channel] * melanin
        np.multiply(np.exp(-absorbed, out=absorbed), np.float32(tone), out=albedo[channel])
    _paint_makeup(albedo, layout, person, lips, rng)
    np.clip(albedo, 0.002, 0.95, out=albedo)
    return albedo, _shine(layout, person, lips, rng)


@functools.lru_cache(maxsize=8)
def _regions(layout: Layout) -> dict[str, np.ndarray]:
    """Mask the regions of skin that differ in blood or pigment, (R, R) each."""
    marks, apple = layout.landmarks, cheek(layout)
    tip, chin, brow = marks[30, 1], marks[8, 1], marks[17:27, 1].mean()
    nostril = np.abs(marks[[32, 34], 0]).mean() + 0.15, marks[[32, 34], 1].mean() + 0.12
    wing = np.abs(marks[[31, 35], 0]).mean() + 0.15, marks[33, 1] + 0.3
    below = np.abs(marks[[36, 39, 42, 45], 0]).mean(), marks[[40, 41, 46, 47], 1].mean() - 0.75
    regions = {
        "flush": 0.8 * layout.pair(*apple, 1.7, 1.4)
        + 0.9 * layout.blob(0, tip, 0.9, 0.9)
        + 1.0 * layout.pair(*layout.ear.tolist())
        + 0.3 * layout.blob(0, chin + 1.2, 1.4, 0.8)
        + 0.5 * layout.pair(*wing, 0.3, 0.4),
        "wings": layout.pair(*wing, 0.3, 0.4),
        "lid": layout.lid,
        "lid edge": np.exp(-((layout.eyes / 0.16) ** 2)),
        "under eye": layout.pair(*below, 1.2, 0.4),
        "forehead": layout.blob(0, brow + 3, 5, 2),
        "bridge": layout.blob(0, (marks[27, 1] + tip) / 2, 0.5, 1.5),
        "neck": np.broadcast_to(smooth_step(chin - 0.5, chin - 2.5, layout.y)[:, None], layout.eyes.shape),
        "gap": np.exp(-((layout.lip_gap / 0.10) ** 2)),
        "eye": smooth_step(-0.05, 0.12, layout.eyes),
        "nostrils": layout.pair(*nostril, 0.22, 0.13),
    }
    return {name: np.ascontiguousarray(region, np.float32) for name, region in regions.items()}


def _mix(layout: Layout, weights: dict[str, float]) -> np.ndarray:
    """Add regions up with weights, (R, R)."""
    regions = _regions(layout)
    total = np.zeros((layout.side, layout.side), np.float32)
    for name, weight in weights.items():
        cv2.scaleAdd(regions[name], weight, total, total)
    return total


def _pigments(
    layout: Layout, person: Person, lips: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Spread blood and melanin over the face, relative to its average; two maps (R, R)."""
    side, apple, shadow = layout.side, cheek(layout), person.socket_shadow
    # Lids are thin: blood shows through, most at their edges.
    blood = _mix(
        layout,
        {
            "flush": 0.40 * person.blush,
            "wings": 0.08,
            "lid": 0.05 + 0.10 * shadow,
            "lid edge": 0.28,
            "under eye": 0.12 * shadow,
        },
    )
    melanin = _mix(
        layout, {"lid": 0.16 * shadow, "under eye": 0.16 * shadow, "forehead": 0.05, "bridge": -0.06, "neck": 0.05}
    )
    # The swatch is the face as a whole: cheeks may be somewhat redder, the rest not so pale that it looks green.
    blood -= np.float32(0.35 * _at(layout, blood, apple))
    melanin -= np.float32(_at(layout, melanin, apple))
    if person.blotches > 0:
        blood += np.float32(person.blotches) * (0.05 * clouds(side, 9, rng) + 0.035 * clouds(side, 22, rng))
        melanin += np.float32(0.05 * person.blotches) * clouds(side, 7, rng)
    if person.pores > 0:
        pores = noise(side, 0.8, 0.8, rng)
        melanin += np.float32(0.04 * person.pores) * pores
        blood += np.float32(0.03 * person.pores) * noise(side, 1.6, 1.6, rng)
    if person.freckles or person.moles:
        melanin += _spots(layout, person, rng)

    # Pale lips are red by their blood, dark ones by pigment as well; the upper one is a shade darker.
    marks = layout.landmarks
    rows = slice(*np.rint(layout.pixels(np.array([[0, marks[50, 1] + 1], [0, marks[57, 1] - 1]]))[:, 1]).astype(int))
    upper = smooth_step(-0.15, 0.2, layout.y[rows] - marks[[48, 54], 1].mean())[:, None]
    dark = (person.tone - 1) / 9
    lines = 0.07 * person.irregularity * noise(side, 0.7, 4.0, rng)[rows]
    blood[rows] += lips[rows] * (0.18 + 0.8 * person.lip_redness * (1 - 0.3 * dark) + lines + 0.08 * upper)
    melanin[rows] += lips[rows] * (person.lip_darkness * (0.6 + 0.9 * dark) + 0.14 * upper - 0.12 * dark)
    # What lies between closed lips and behind the lids' edges is in shadow.
    melanin += _mix(layout, {"gap": 1.1, "eye": 0.35, "nostrils": 0.8})
    return blood, melanin


def _at(layout: Layout, picture: np.ndarray, place: tuple[float, float]) -> float:
    """Read a map at both cheeks, over a spot of about 1 cm."""
    total = 0.0
    for sign in (-1, 1):
        column, row = np.rint(layout.pixels(np.array([sign * place[0], place[1]]))).astype(int).tolist()
        reach = max(layout.side // 48, 1)
        total += float(picture[row - reach : row + reach + 1, column - reach : column + reach + 1].mean()) / 2
    return total


def _spots(layout: Layout, person: Person, rng: np.random.Generator) -> np.ndarray:
    """Sprinkle freckles over nose and cheeks, and moles anywhere on the face; melanin, (R, R)."""
    dots = np.zeros((layout.side, layout.side), np.uint8)
    texels = layout.side / 28  # a centimetre in the middle of the face
    if person.freckles > 0:
        count = int(220 * person.freckles)
        apple_x, apple_y = cheek(layout)
        places = np.stack([rng.normal(0, 0.8 * apple_x, count), apple_y + 0.7 + rng.normal(0, 1.3, count)], -1)
        draw_dots(dots, layout.pixels(places), rng.uniform(0.02, 0.07, count) * texels, rng.uniform(30, 110, count))
    if person.moles:
        places = np.stack([rng.uniform(-7, 7, person.moles), rng.uniform(-10, 6, person.moles)], -1)
        sizes = rng.uniform(0.05, 0.16, person.moles) * texels
        draw_dots(dots, layout.pixels(places), sizes, rng.uniform(90, 230, person.moles))
    return blur(dots, 0.6 * layout.side / 256).astype(np.float32) * np.float32(1.2 / 255)


def _paint_makeup(
    albedo: np.ndarray, layout: Layout, person: Person, lips: np.ndarray, rng: np.random.Generator
) -> None:
    """Put on lipstick and eye shadow, in place."""
    if person.lipstick:
        place = person.lipstick_hue * (len(_LIPSTICKS) - 1)
        low = min(int(place), len(_LIPSTICKS) - 2)
        colour = _LIPSTICKS[low] + (place - low) * (_LIPSTICKS[low + 1] - _LIPSTICKS[low])
        # On dark skin the same stick looks deeper.
        colour = colour * math.exp(-0.21 * (person.tone - 1))
        cover(albedo, person.lipstick * lips * (1 - 0.6 * _regions(layout)["gap"]), colour)
    if person.eyeshadow:
        hues = np.array([[0.10, 0.05, 0.035], [0.16, 0.07, 0.09], [0.05, 0.05, 0.07], [0.30, 0.20, 0.12]])
        cover(albedo, 0.7 * person.eyeshadow * layout.lid, hues[rng.integers(len(hues))])


def _shine(layout: Layout, person: Person, lips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Say where skin is oily or wet, (R, R) in [0, 1]."""
    shine = (0.30 + 0.25 * person.oiliness) + np.float32(0.35 * person.oiliness) * _oily(layout)
    # Pores break highlights up; without them skin looks like plastic.
    shine *= 1 + person.irregularity * 0.16 * noise(layout.side, 0.8, 0.8, rng)
    shine += lips * (0.2 + 0.25 * person.lipstick)
    return np.clip(shine, 0, 1).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _oily(layout: Layout) -> np.ndarray:
    """Mask where skin is oily: nose, forehead, cheekbones and chin, (R, R) in [0, 1]."""
    marks, apple = layout.landmarks, cheek(layout)
    oily = layout.blob(0, marks[30, 1] + 0.3, 0.8, 1.2) + layout.blob(0, marks[17:27, 1].mean() + 3, 3.5, 1.6)
    oily += 0.7 * layout.pair(apple[0], apple[1] + 0.8, 1.2, 0.8) + 0.5 * layout.blob(0, marks[8, 1] + 1, 1, 0.7)
    return np.minimum(oily, 1).astype(np.float32)
