"""Paint the hair of the face: brows stroke by stroke, the lash line, and beards."""

import functools

import cv2
import numpy as np

from augment.simulation.canvas import blur, cover, draw_strokes, noise
from augment.simulation.layout import Layout, smooth_step
from augment.simulation.people import Person
from augment.simulation.skin import skin_tone

_FINE = 4
"""Strokes are drawn on a canvas this many times finer than the texture, as a hair is thinner than a texel."""


@functools.lru_cache(maxsize=8)
def _mean_curves(layout: Layout) -> dict[str, np.ndarray]:
    """Trace the left brow from its inner to its outer end, and the lids' edges from the nose, (33, 2) each, in cm."""
    marks, t = layout.landmarks, np.linspace(0, 1, 33)
    numbers = {
        "brow": ([22, 23, 24, 25, 26], [21, 20, 19, 18, 17]),
        "upper lid": ([42, 43, 44, 45], [39, 38, 37, 36]),
        "lower lid": ([42, 47, 46, 45], [39, 40, 41, 36]),
    }
    curves = {}
    for name, (left, right) in numbers.items():
        mean = (marks[left] + marks[right] * [-1, 1]) / 2
        knots = np.linspace(0, 1, len(mean))
        curves[name] = np.stack([np.polyval(np.polyfit(knots, mean[:, axis], 3), t) for axis in (0, 1)], -1)
    return curves


def brow_curve(layout: Layout, person: Person, side: int) -> np.ndarray:
    """Trace the middle of a brow from its inner to its outer end.

    Args:
        layout: the texture's.
        person: whose brow.
        side: 1 for the person's left, -1 for the right.

    Returns:
        (33, 2), cm on the skin.
    """
    x, y = _mean_curves(layout)["brow"].T
    x = x[0] + 0.1 + (x - x[0]) * person.brow_length
    arch = person.brow_arch * np.sin(np.pi * np.linspace(0, 1, 33) ** 0.8)
    return np.stack([side * x, y - 0.12 + arch], -1)


def _fine_region(layout: Layout, low: tuple[float, float], high: tuple[float, float]) -> tuple[slice, slice]:
    """Find the rows and columns of a box in cm."""
    left, bottom = np.floor(layout.pixels(np.array(low))).astype(int)
    right, top = np.ceil(layout.pixels(np.array(high))).astype(int)
    limit = layout.side
    return slice(max(top, 0), min(bottom + 1, limit)), slice(max(left, 0), min(right + 1, limit))


def _to_fine(layout: Layout, places: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """Turn cm into pixels of the fine canvas over a region."""
    return (layout.pixels(places) - [columns.start, rows.start] + 0.5) * _FINE - 0.5


def _coarse(canvas: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """Average the fine canvas down to the texture's grid, in [0, 1]."""
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _canvas(rows: slice, columns: slice) -> np.ndarray:
    return np.zeros(((rows.stop - rows.start) * _FINE, (columns.stop - columns.start) * _FINE), np.uint8)


def brow_colour(person: Person) -> np.ndarray:
    """Give the albedo of the brows, linear RGB: a darker shade of the hair, which greys later."""
    hair = np.array(person.hair) * (1 - 0.35 * person.grey)
    colour = (1 - person.brow_darkness) * 0.6 * hair + person.brow_darkness * np.array([0.02, 0.012, 0.008])
    # Only grey brows may be nearly as light as the skin.
    return np.minimum(colour, (0.4 + 0.5 * person.grey) * skin_tone(person))


def paint_brows(albedo: np.ndarray, layout: Layout, person: Person) -> None:
    """Paint both brows, in place, on albedo (3, R, R)."""
    rng = np.random.default_rng([person.seed, 4])
    loose = person.irregularity
    count = int(150 * person.brow_density * max(person.brow_thickness / 0.6, 0.5))
    for side in (1, -1):
        curve = brow_curve(layout, person, side)
        reach = person.brow_thickness + 0.6
        rows, columns = _fine_region(layout, tuple(curve.min(0) - reach), tuple(curve.max(0) + reach))
        canvas = _canvas(rows, columns)
        # Roots on a golden-ratio lattice: even, yet without rows.
        number = np.arange(count)
        t = np.clip((number + 0.5) / count + loose * 0.02 * rng.standard_normal(count), 0, 1)
        s = np.mod(number * 0.6180339887, 1) - 0.5 + loose * 0.08 * rng.standard_normal(count)
        profile = np.interp(t, [0, 0.1, 0.35, 0.65, 1], [0.7, 0.95, 1.0, 0.75, 0.18])
        root = np.stack([np.interp(t, np.linspace(0, 1, 33), curve[:, axis]) for axis in (0, 1)], -1)
        root[:, 1] += (s - 0.15) * person.brow_thickness * profile
        # Hairs stand up at the inner end and lie along the brow at the outer one; upper ones bend down.
        lean = np.interp(t, [0, 0.15, 0.5, 1], [1.25, 0.85, 0.35, -0.3]) - 0.7 * np.maximum(s, -0.2)
        lean += loose * 0.18 * rng.standard_normal(count)
        length = np.interp(t, [0, 0.3, 1], [0.38, 0.6, 0.55]) * np.exp(loose * 0.2 * rng.standard_normal(count))
        length *= 0.75 + 0.35 * person.brow_thickness
        step = np.stack([side * np.cos(lean), np.sin(lean)], -1) * length[:, None]
        bend = np.stack([np.zeros(count), -0.06 * length], -1)
        strokes = np.stack([root - 0.3 * step, root + 0.25 * step - bend, root + 0.7 * step + bend], 1)
        strengths = 170 + 70 * np.mod(number * 0.754877, 1)
        draw_strokes(canvas, _to_fine(layout, strokes, rows, columns), strengths, 2)
        hairs = _coarse(canvas, rows, columns)
        dense = 0.8 * hairs + 0.75 * person.brow_density * blur(hairs, 1.6 * layout.side / 256)
        cover(albedo[:, rows, columns], np.minimum(dense, 0.93), brow_colour(person))


def paint_lashes(albedo: np.ndarray, layout: Layout, person: Person) -> None:
    """Paint the dark line of the lashes' roots, and eyeliner, in place, on albedo (3, R, R)."""
    for name, weight, away in (("upper lid", 1.0, 0.05), ("lower lid", 0.35, -0.04)):
        curve = _mean_curves(layout)[name][::2] + np.array([0, away])
        liner = person.eyeliner * weight
        if liner and weight == 1:
            curve = np.vstack([curve, curve[-1] + np.array([0.25, 0.12])])
        thickness = 1 + round(_FINE * layout.side / 256 * (0.7 * person.lash_line * weight + 0.8 * liner))
        strength = 255 * min(weight * (0.35 + 0.45 * person.lash_line) + 0.5 * liner, 0.95)
        for side in (1, -1):
            places = curve * [side, 1]
            rows, columns = _fine_region(layout, tuple(places.min(0) - 0.4), tuple(places.max(0) + 0.4))
            canvas = _canvas(rows, columns)
            draw_strokes(canvas, _to_fine(layout, places[None], rows, columns), np.array([strength]), thickness)
            cover(albedo[:, rows, columns], _coarse(canvas, rows, columns), [0.014, 0.009, 0.008])


def paint_beard(albedo: np.ndarray, shine: np.ndarray, layout: Layout, person: Person) -> None:
    """Paint shadow, stubble or beard, in place, on albedo (3, R, R) and shine (R, R)."""
    style = person.beard_style
    if style == "none":
        return
    rng = np.random.default_rng([person.seed, 5])
    rows = slice(int(layout.pixels(np.array([0.0, layout.landmarks[16, 1] + 1.5]))[1]), layout.side)
    scale = layout.side / 256
    mask = np.maximum(layout.beard, 0.9 * layout.moustache)
    if style == "moustache":
        mask = layout.moustache
    elif style == "goatee":
        mask = np.maximum(layout.moustache, layout.goatee)
    mask = mask[rows]
    colour = np.array(person.hair, np.float32) * 0.85
    patches = 0.25 * noise(layout.side, 9 * scale, 9 * scale, rng)[rows]
    if style in ("shadow", "stubble"):
        # Cut hairs under thin skin look blue-grey: what is seen is the skin, darkened evenly.
        short = 0.35 if style == "shadow" else 0.5
        dots = noise(layout.side, 0.7 * scale, 0.9 * scale, rng)[rows]
        coverage = mask * person.beard_density * (short + 0.12 * patches)
        coverage = coverage * (0.75 + 0.45 * dots * (0.4 if style == "shadow" else 1.0))
        cover(albedo[:, rows], np.clip(coverage, 0, 0.8), 0.35 * albedo[:, rows] + 0.5 * colour[:, None, None])
    else:
        strands = noise(layout.side, 0.8 * scale, 3.0 * scale, rng)[rows]
        curls = noise(layout.side, 1.2 * scale, 1.2 * scale, rng)[rows]
        grain = (1 - person.hair_curl) * strands + person.hair_curl * curls
        coverage = smooth_step(0.0, 0.3, mask) * smooth_step(
            0.15, 0.75, mask * (0.55 + 0.5 * person.beard_density) + 0.5 * patches * mask + 0.13 * grain
        )
        shade = np.exp(0.35 * grain + 0.4 * patches).astype(np.float32)
        # The jaw's whiskers grey first.
        cover(albedo[:, rows], 0.94 * coverage, colour[:, None, None] * shade * (1 + 0.5 * person.grey))
        shine[rows] -= coverage * (shine[rows] - 0.12)
