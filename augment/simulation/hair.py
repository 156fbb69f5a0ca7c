"""Hair of the head: where it grows, how it is painted, and how far it stands off."""

import functools

import cv2
import numpy as np
import torch

from augment.simulation.canvas import blur, cover, noise
from augment.simulation.layout import ARC_RADIUS, Layout, smooth_step
from augment.simulation.morphable import AXIS_DEPTH, PARTS, FaceModel
from augment.simulation.people import Person

_FAR = 27.0
"""cm on the skin from the middle of the face to the middle of the back of the head: half of 2π `ARC_RADIUS`."""
_DOME = 2.0
"""y, cm: above it hair stands off a dome, below it off a cylinder."""
HANGING = ("bob", "long")
"""Styles that hang over the ears."""
_VOLUMES = {
    "buzz": 0.12,
    "horseshoe": 0.35,
    "short": 0.8,
    "fringe": 0.9,
    "bob": 1.0,
    "long": 1.0,
    "tied": 0.45,
    "afro": 3.2,
}
"""Thickness of hair of average volume, cm."""


def _edges(layout: Layout, person: Person) -> tuple[np.ndarray, np.ndarray]:
    """Trace the hair's lower and upper edge: height, cm, for each column of the texture, (R,) each."""
    ear_x, ear_y, ear_width, ear_height = layout.ear.tolist()
    front, back, over = ear_x - ear_width, ear_x + ear_width, ear_y + ear_height + 0.2
    top, recess = person.hairline, person.temples
    burn = -0.4 - 1.4 * person.masculine
    line = [
        (0.0, top),
        (2.2, top + 0.1),
        (4.6, top + 0.15 + 0.7 * recess),
        (6.6, top - 0.8 + 0.6 * recess),
        (8.3, 3.6 + 0.8 * recess),
        (9.6 + 0.3 * recess, 2.4),
        (front - 2.4, 1.2),
        (front - 1.9, burn),
        (front - 0.5, burn),
        (front + 0.2, over),
        (back, over - 0.3),
        (back + 0.5, -4.0),
        (_FAR, -6.5),
    ]
    if person.hair_style == "tied":
        line[6:9] = [(front - 2.0, 1.6), (front - 1.2, 0.6), (front - 0.5, 0.6)]
    if person.hair_style in HANGING:
        # Below the jaw a curtain hangs before the neck, which keeps its skin.
        line[5:] = [(9.4, 2.0), (10.2, -0.5), (10.8, -7.0), (_FAR, -8.0)]
    if person.hair_style == "fringe":
        line[:4] = [(0.0, person.fringe), (3.5, person.fringe - 0.1), (6.6, person.fringe - 0.7), (7.4, 2.6)]
    across = np.abs(layout.x)
    lower = np.interp(across, *np.array(line).T)
    if person.hair_style in HANGING and person.parting:
        # The hair parts off the middle, so one side covers more of the temple.
        shift = np.interp(layout.x, [-8, 0, 8], [0.12 * person.parting, 0, -0.12 * person.parting])
        lower = lower + shift * (across < 8)
    upper = np.full(layout.side, 99.0)
    if person.hair_style == "horseshoe":
        upper = np.interp(across, [0, 10.0, 12.5, 15.0, _FAR], [-40, -1.0, 3.5, 4.8, 4.5])
    return lower.astype(np.float32), upper.astype(np.float32)


def hair_mask(layout: Layout, person: Person, strands: np.ndarray | None = None) -> np.ndarray:
    """Mask the hair.

    Args:
        layout: the texture's.
        person: whose hair.
        strands: noise that frays the edge, (R, R); None for a plain edge.

    Returns:
        (R, R) in [0, 1].
    """
    if person.hair_style == "bald":
        return np.zeros((layout.side, layout.side), np.float32)
    lower, upper = _edges(layout, person)
    inside = np.minimum(layout.y[:, None] - lower, upper - layout.y[:, None])
    soft = 0.7 if person.hair_style in ("buzz", "tied", "horseshoe") else 0.45
    if strands is not None:
        inside = inside + (0.45 if person.hair_style == "fringe" else 0.22) * strands
    return smooth_step(-soft, soft, inside).astype(np.float32)


def paint_hair(albedo: np.ndarray, shine: np.ndarray, layout: Layout, person: Person) -> np.ndarray:
    """Paint the scalp's hair, in place.

    Args:
        albedo: linear RGB, (3, R, R).
        shine: (R, R).
        layout: the texture's.
        person: whose hair.

    Returns:
        Where hair is, without frayed edges, (R, R) in [0, 1].
    """
    mask = hair_mask(layout, person)
    if person.hair_style == "bald":
        return mask
    rng = np.random.default_rng([person.seed, 6])
    side, scale = layout.side, layout.side / 256
    loose = person.irregularity
    crown = 1 - smooth_step(8, 11, layout.y)[:, None]
    strands = loose * noise(side, 0.8 * scale, 14 * scale, rng)
    locks = loose * noise(side, 3.5 * scale, 26 * scale, rng)
    curl = 1.0 if person.hair_style == "afro" else 0.8 * person.hair_curl
    if curl > 0.25:
        strands = (1 - curl) * strands + curl * loose * noise(side, 1.1 * scale, 1.1 * scale, rng)
        locks = (1 - curl) * locks + curl * loose * noise(side, 3 * scale, 3 * scale, rng)
    colour = np.array(person.hair, np.float32)
    # Towards the crown the texture narrows to a point, where stripes would become spokes.
    shade = np.exp(((0.26 - 0.08 * curl) * strands + 0.28 * locks) * (0.3 + 0.7 * crown))
    if abs(person.parting) > 0.8 and person.hair_style in ("bob", "long", "short", "tied") and curl < 0.6:
        line = np.exp(-(((layout.x - person.parting) / 0.22) ** 2)) * (layout.y[:, None] > person.hairline + 0.3)
        shade = shade * (1 - 0.35 * line)
    coverage = hair_mask(layout, person, strands)
    if person.hair_style == "buzz":
        coverage = coverage * np.clip(0.72 + 0.2 * noise(side, 0.8 * scale, 0.8 * scale, rng) * loose, 0, 0.95)
    elif person.hair_style == "horseshoe":
        coverage = coverage * 0.85
    cover(albedo, coverage, colour[:, None, None] * shade)
    np.clip(albedo, 0.002, 0.95, out=albedo)
    shine -= coverage * (shine - (0.12 if curl > 0.6 else 0.3))
    return mask


def lift(model: FaceModel, layout: Layout, person: Person, mask: np.ndarray) -> np.ndarray:
    """Say how far hair lifts each vertex off the head.

    Args:
        model: the face model.
        layout: its texture's layout.
        person: whose hair.
        mask: where hair is, (R, R) in [0, 1], from `paint_hair`.

    Returns:
        Displacement of every vertex, cm, (V, 3) float32; zero where no hair grows, and off the skin.
    """
    if person.hair_style == "bald":
        return np.zeros((len(layout.vertices), 3), np.float32)
    volume = _VOLUMES[person.hair_style] * person.hair_volume
    outward, under = _outward(model)
    # Hair reaches its thickness 1 to 2 cm inside its edge; a quarter of the texels is enough to say where.
    small = cv2.resize(mask, (64, 64), interpolation=cv2.INTER_AREA)
    amount, own = _at_vertices(blur(small, 1.75), layout), _at_vertices(mask, layout)
    # Hair lies in locks, not as a shell of even thickness.
    locks = _at_vertices(noise(64, 1.3, 2.3, np.random.default_rng([person.seed, 8])), layout)
    thickness = volume * np.clip(1 + 0.15 * person.irregularity * locks, 0.5, 1.5)
    moved = outward * (smooth_step(0.35, 0.95, amount) * own * thickness)[:, None]
    if person.hair_style in HANGING:
        # Ears are pressed flat under hair that hangs over them.
        moved += under
    return moved.astype(np.float32)


def _at_vertices(picture: np.ndarray, layout: Layout) -> np.ndarray:
    """Read a picture of the texture, (S, S) of any size, at every vertex, (V,)."""
    scale = len(picture) / layout.side
    places = ((layout.vertex_pixels + 0.5) * np.float32(scale) - 0.5)[:, None]
    picture = np.ascontiguousarray(picture)
    return cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).ravel()


@functools.lru_cache(maxsize=4)
def _outward(model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Say in which direction hair stands off each vertex, and how ears are pressed under it; both (V, 3), cm."""
    centred = model.vertices.numpy() - [0.0, _DOME, AXIS_DEPTH]
    outward = centred.copy()
    outward[:, 1] = np.maximum(outward[:, 1], 0)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    outward *= scalp_vertices(model).numpy()[:, None]
    return outward, outward * [1, 0, 1] * np.minimum(_under_hanging(model, centred), 0)[:, None]


def head_girth(model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Measure the head above the ears.

    Returns:
        Angles from straight ahead, radians, (24,) from 0 to π, and the greatest distance of the skin from the head's
        axis there, cm, (24,).
    """
    centred = model.vertices.numpy() - [0.0, 0.0, AXIS_DEPTH]
    angle = np.abs(np.arctan2(centred[:, 0], centred[:, 2]))
    radius = np.hypot(centred[:, 0], centred[:, 2])
    ring = (centred[:, 1] > 1.2) & (centred[:, 1] < 4.5) & (model.parts.numpy() == PARTS.index("skin"))
    edges = np.linspace(0, np.pi, 25)
    which = np.digitize(angle[ring], edges)
    widest = np.array([radius[ring][which == number].max(initial=6.5) for number in range(1, 25)])
    return (edges[:-1] + edges[1:]) / 2, widest


def _under_hanging(model: FaceModel, centred: np.ndarray) -> np.ndarray:
    """Say how far each vertex is inside of a narrow shell under hanging hair, cm, (V,); negative outside of it."""
    angle = np.abs(np.arctan2(centred[:, 0], centred[:, 2]))
    height = centred[:, 1] + _DOME
    ear = (angle > 1.25) & (height > -7.5) & (height < 3.5) & (model.parts.numpy() == PARTS.index("skin"))
    return ear * (np.interp(angle, *head_girth(model)) - 0.5 - np.hypot(centred[:, 0], centred[:, 2]))


def scalp_vertices(model: FaceModel) -> torch.Tensor:
    """Say which vertices hair may lift, (V,) bool: skin outside the face's middle."""
    angle = torch.atan2(model.vertices[:, 0], model.vertices[:, 2] - AXIS_DEPTH).abs() * ARC_RADIUS
    brow = model.vertices[model.landmarks[17:27], 1].max()
    return (model.parts == PARTS.index("skin")) & ((model.vertices[:, 1] > brow) | (angle > 8.3))
