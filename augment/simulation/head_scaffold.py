"""The built-in head's scaffold: about 180 points in space that its skin passes through, and the map it is drawn on.

The measures are means of young adult women and men taken together, cm: head 14.8 wide and 19.2 long, face 13.4 wide at
the cheekbones and 10 at the jaw's angles, nasion to chin 11.9, nasion to subnasale 5.2, nose 3.4 wide and 1.9 deep,
eyes 3.3 apart, 2.9 long and 1.1 open, mouth 5.1 wide, upper lip 2.1 and lower face 6.6 high (L. G. Farkas,
"Anthropometry of the Head and Face", 2nd ed., Raven Press 1994); pupils 6.3 apart (N. A. Dodgson, "Variation and
extrema of human interpupillary distance", SPIE 5291, 2004). What lies between those measures is drawn by hand.

The x > 0 half is written down here, the other is its mirror image.
"""

import math

import numpy as np
from scipy.interpolate import RBFInterpolator

EYE_CENTRE = np.array([3.15, 0.0, -0.78])
"""Centre of the left eyeball, cm."""
EYE_RADIUS = 1.5
"""cm; larger than life (1.2), so that the ball fills the whole opening up to its corners."""
LID_RADIUS = 1.6
"""Distance of the lids' edges from the eyeball's centre, cm."""

UPPER_LID = (
    (1.72, -0.16),
    (1.95, 0.12),
    (2.3, 0.36),
    (2.75, 0.52),
    (3.2, 0.57),
    (3.65, 0.52),
    (4.1, 0.36),
    (4.4, 0.18),
)
"""x and y of the upper lid's edge, cm, from the inner corner on; the outer corner comes last in `LOWER_LID`."""
LOWER_LID = (
    (1.85, -0.26),
    (2.15, -0.36),
    (2.6, -0.46),
    (3.1, -0.51),
    (3.6, -0.48),
    (4.05, -0.34),
    (4.4, -0.12),
    (4.62, 0.04),
)
"""x and y of the lower lid's edge, cm, from beside the inner corner to the outer corner."""

LIP_LINE = (
    (0.0, -6.66, 2.48),
    (0.45, -6.66, 2.46),
    (0.9, -6.64, 2.34),
    (1.35, -6.66, 2.13),
    (1.75, -6.68, 1.88),
    (2.15, -6.7, 1.58),
    (2.52, -6.7, 1.3),
)
"""Where the closed lips meet, from the middle to the corner, cm."""
UPPER_LIP = (
    (0.0, -5.9, 2.98),
    (0.25, -5.84, 3.0),
    (0.5, -5.8, 2.97),
    (0.85, -5.93, 2.78),
    (1.3, -6.13, 2.47),
    (1.8, -6.38, 2.0),
    (2.25, -6.6, 1.55),
    (2.52, -6.7, 1.3),
)
"""Edge of the upper lip's red, from the middle to the corner, cm."""
LOWER_LIP = (
    (0.0, -7.66, 2.55),
    (0.5, -7.64, 2.5),
    (0.95, -7.54, 2.33),
    (1.4, -7.36, 2.05),
    (1.85, -7.1, 1.72),
    (2.25, -6.85, 1.47),
    (2.52, -6.7, 1.3),
)
"""Edge of the lower lip's red, from the middle to the corner, cm."""

PROFILE = (
    *(
        (0, 11.3, -7.5),
        (0, 10.3, -2.6),
        (0, 7.2, 0.45),
        (0, 4.8, 1.65),
        (0, 3.2, 1.95),
        (0, 2.1, 2.05),
    ),  # crown to glabella
    *((0, 0.75, 1.45), (0, 0.0, 1.75), (0, -1.1, 2.5), (0, -2.3, 3.4), (0, -3.0, 3.9), (0, -3.4, 4.05)),  # nose
    *((0, -3.85, 3.9), (0, -4.2, 3.3), (0, -4.55, 2.5), (0, -5.1, 2.5), (0, -5.6, 2.75)),  # columella, philtrum
    *((0, -8.35, 1.98), (0, -9.1, 2.1), (0, -9.8, 2.25)),  # lips, chin
    *(
        (0, -10.6, 1.85),
        (0, -11.05, 0.9),
        (0, -11.05, -1.2),
        (0, -11.3, -3.8),
        (0, -13.0, -4.4),
        (0, -16.0, -4.0),
    ),  # throat
    *((0, 9.8, -12.6), (0, 5.0, -17.1), (0, 0.0, -16.8), (0, -5.0, -15.2), (0, -8.0, -14.2), (0, -16.0, -14.3)),  # back
)
"""The middle, x = 0, cm."""

SIDE = (
    # skull
    *((3.8, 10.4, -7.5), (6.3, 7.8, -8.5), (7.35, 4.5, -9.0), (7.4, 1.5, -10.0), (4.6, 9.0, -2.9), (4.6, 8.2, -13.0)),
    *((5.6, 4.0, -14.8), (5.4, -1.0, -14.3), (4.4, -6.5, -13.0), (6.3, -1.5, -11.0), (6.9, 5.5, -5.5)),
    # forehead and temple
    *((2.4, 4.8, 1.4), (4.5, 4.7, 0.1), (5.9, 4.5, -2.2), (2.5, 7.2, 0.0), (5.0, 6.9, -1.9), (2.4, 3.2, 1.65)),
    *((4.6, 3.2, 0.55), (6.15, 2.0, -2.6), (6.75, 2.2, -5.5), (6.9, 0.2, -6.5)),
    # brow ridge and the hollow below it
    *((0.8, 2.1, 1.95), (1.5, 1.95, 1.8), (2.6, 2.2, 1.62), (3.9, 2.25, 1.08), (5.0, 1.9, 0.05), (5.7, 1.2, -1.25)),
    *((1.5, 1.1, 1.2), (2.3, 1.3, 1.1), (3.2, 1.45, 1.1), (4.2, 1.4, 0.68), (5.0, 0.9, -0.35)),
    # bridge and sides of the nose
    *((0.42, 0.75, 1.25), (0.95, 0.6, 0.72), (1.3, 0.1, 0.28), (0.48, -0.2, 1.4), (0.42, -1.1, 2.2), (0.95, -1.1, 1.3)),
    *((1.6, -1.1, 0.86), (0.5, -2.2, 2.95), (1.05, -2.2, 1.9), (1.75, -2.2, 1.22)),
    # tip, wings and base of the nose
    *(
        (0.5, -3.0, 3.6),
        (0.62, -3.5, 3.65),
        (1.0, -2.75, 2.6),
        (1.4, -3.25, 2.45),
        (1.7, -3.75, 2.2),
        (1.62, -4.25, 2.1),
    ),
    *(
        (1.95, -3.9, 1.5),
        (1.75, -3.0, 1.45),
        (1.15, -4.25, 2.75),
        (0.35, -4.15, 3.2),
        (0.75, -4.65, 2.3),
        (1.6, -4.75, 1.85),
    ),
    *((0.95, -3.9, 3.15),),
    # below the eye, cheekbone, cheek
    *(
        (3.1, -1.0, 0.66),
        (3.1, -1.5, 0.85),
        (2.1, -0.85, 0.64),
        (4.3, -0.9, 0.12),
        (5.25, -0.3, -0.75),
        (4.4, -1.6, 0.3),
    ),
    *(
        (5.75, -1.3, -1.1),
        (6.45, -1.1, -3.8),
        (2.8, -2.5, 1.1),
        (4.2, -2.8, 0.45),
        (5.6, -2.8, -0.95),
        (6.4, -2.8, -3.9),
    ),
    *(
        (2.5, -3.8, 1.35),
        (3.9, -4.3, 0.75),
        (5.1, -4.6, -0.7),
        (6.05, -4.7, -3.2),
        (6.3, -4.0, -6.2),
        (6.75, -1.8, -7.5),
    ),
    # around the mouth
    *((0.45, -5.2, 2.55), (1.0, -5.25, 2.4), (1.9, -5.4, 1.9), (2.7, -5.6, 1.4), (3.3, -6.7, 0.85), (2.95, -6.7, 1.05)),
    *((1.2, -8.3, 1.8), (2.2, -7.8, 1.35), (2.9, -7.6, 0.95), (3.1, -8.6, 0.45), (4.3, -6.6, 0.05), (5.2, -6.5, -1.5)),
    # chin and jaw
    *((1.0, -9.7, 2.0), (2.0, -9.5, 1.25), (1.2, -10.6, 1.4), (1.1, -11.0, 0.5), (2.3, -10.5, 0.5), (3.1, -9.9, -0.2)),
    *(
        (4.1, -8.8, -1.3),
        (4.95, -7.7, -2.9),
        (5.55, -6.6, -4.9),
        (5.8, -5.8, -6.4),
        (2.2, -10.8, -0.9),
        (3.4, -10.0, -2.2),
    ),
    *((4.4, -8.9, -4.1), (5.1, -7.6, -6.3), (1.7, -11.0, -2.8), (3.2, -10.4, -4.2), (4.4, -9.4, -6.4)),
    # neck
    *(
        (3.6, -12.5, -5.4),
        (5.0, -12.0, -8.8),
        (4.3, -11.5, -12.2),
        (4.0, -16.0, -5.3),
        (5.7, -16.0, -8.8),
        (4.5, -16.0, -12.8),
    ),
    *((5.1, -8.0, -9.6), (5.5, -4.8, -9.2), (5.2, -5.0, -11.8)),
)
"""All else on the left half, x > 0, cm."""

# The mark-up's points that are no corner of eye or mouth, cm. They lie near the surface and are put on it.
JAW = (
    *((7.05, 0.2, -6.3), (6.95, -1.6, -6.3), (6.7, -3.4, -6.0), (6.2, -5.3, -5.4)),
    *((5.45, -7.2, -4.0), (4.5, -8.7, -2.2), (3.2, -10.1, -0.6), (1.6, -10.95, 0.6)),
)
"""From beside the ear to beside the chin."""
CHIN = (0.0, -11.1, 0.95)
"""The chin's lowest point, seen from the front."""
BROW = ((1.3, 1.48, 1.6), (2.25, 1.82, 1.45), (3.3, 1.96, 1.3), (4.4, 1.79, 0.7), (5.4, 1.25, -0.6))
"""The middle of the hair of the brow, from its inner end: 2 cm above the pupil."""
NOSE_RIDGE = ((0.0, 0.3, 1.6), (0.0, -0.9, 2.35), (0.0, -2.1, 3.25), (0.0, -3.4, 4.05))
"""From its root to its tip."""
NOSE_BASE = ((0.0, -4.55, 2.5), (0.65, -4.5, 2.5), (1.35, -4.4, 2.2))
"""From below the tip to below the wing."""

NECK = tuple(
    (5.7 * math.sin(turn), -16.0, -9.1 + (5.1 if turn < math.pi / 2 else 5.2) * math.cos(turn))
    for turn in (math.pi * step / 14 for step in range(15))
)
"""Where the neck ends, from its front to its back."""

_MAP_CENTRE = np.array([0.0, -2.0, -8.0])


def on_eye(points: np.ndarray, radius: float) -> np.ndarray:
    """Lift points of the frontal plane onto the front of a sphere around the left eyeball's centre.

    Args:
        points: x and y, cm, (P, 2); within the sphere's outline.
        radius: of the sphere, cm.

    Returns:
        (P, 3), cm.
    """
    away = points - EYE_CENTRE[:2]
    depth = np.sqrt(np.maximum(radius**2 - (away**2).sum(1), 0.04))
    return np.column_stack([points, EYE_CENTRE[2] + depth])


def to_map(points: np.ndarray) -> np.ndarray:
    """Lay the head out flat: straight ahead at the origin, the back of the head a circle around all of it.

    Azimuthal and equidistant as seen from the middle of the head, the neck bent backwards first so that it does not
    run along the line of sight.

    Args:
        points: (P, 3), cm.

    Returns:
        (P, 2): 10 units to the radian, so a unit is about a centimetre on the face.
    """
    x, y, z = (points - _MAP_CENTRE).T
    in_front = 1 / (1 + np.exp(-(z + 1.0) / 1.5))
    z = z - 0.75 * in_front * np.logaddexp(0, -(y + 7.0) / 0.6) * 0.6
    across = np.hypot(x, y)
    angle = 10 * np.arctan2(across, z)
    return np.column_stack([x, y]) * (angle / np.maximum(across, 1e-12))[:, None]


def _directions(places: np.ndarray) -> np.ndarray:
    """Turn places on the map, (P, 2), into unit vectors, (P, 3)."""
    angle = np.hypot(*places.T) / 10
    return np.column_stack([places * (np.sin(angle) / np.maximum(10 * angle, 1e-12))[:, None], np.cos(angle)])


def scaffold() -> np.ndarray:
    """Give all points that the skin passes through, both halves, (P, 3), cm."""
    lids = np.array(UPPER_LID + LOWER_LID)
    # A little further out on the lids, so that they bulge over the eyeball.
    upper = on_eye(np.array([(2.3, 0.8), (3.2, 1.02), (4.1, 0.82)]), LID_RADIUS + 0.09)
    lower = on_eye(np.array([(2.35, -0.78), (3.1, -0.86), (3.9, -0.72)]), LID_RADIUS + 0.05)
    side = np.concatenate(
        [SIDE, on_eye(lids, LID_RADIUS), upper, lower, LIP_LINE[-1:], UPPER_LIP[1:-1], LOWER_LIP[1:-1]]
    )
    middle = np.concatenate([PROFILE, [UPPER_LIP[0], LOWER_LIP[0]]])
    return np.concatenate([middle, side, side * [-1, 1, 1]])


class Skin:
    """The smooth surface through the scaffold, as a function of the place on the map."""

    def __init__(self) -> None:
        points = scaffold()
        self._surface = RBFInterpolator(_directions(to_map(points)), points, kernel="cubic", degree=1, smoothing=1e-6)

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """Find the point of the skin, (P, 3), cm, at each place on the map, (P, 2)."""
        return self._surface(_directions(places))
