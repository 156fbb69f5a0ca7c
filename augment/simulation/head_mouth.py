"""What the built-in head shows between its lips: their inside, the cavity, teeth, gums and tongue."""

import numpy as np

from augment.simulation.head_grid import Grid
from augment.simulation.head_half import Half

# Widths and heights of the crowns from the midline backwards, cm, rounded from S. J. Nelson, "Wheeler's Dental Anatomy,
# Physiology and Occlusion", 10th ed., Saunders 2015.
_UPPER_TEETH = ((0.85, 1.05), (0.65, 0.9), (0.75, 1.0), (0.7, 0.85), (0.7, 0.85), (1.0, 0.75))
_LOWER_TEETH = ((0.5, 0.9), (0.55, 0.95), (0.7, 1.1), (0.7, 0.85), (0.7, 0.8), (1.1, 0.75))
UPPER_EDGE = -6.9
"""y of the upper incisors' edges, cm: hidden by closed lips, seen by two millimetres or three in parted ones."""
LOWER_EDGE = -6.62
"""y of the lower incisors' edges, cm."""


def add_mouth(half: Half, grid: Grid, skin: np.ndarray) -> None:
    """The inside of the lips and the cavity behind them."""
    upper, lower = grid.upper_lip, grid.lower_lip
    # From the middle of the lower lip to the corner and back to the middle of the upper lip.
    loop = np.r_[lower, upper[-2::-1]]
    count, corner = len(loop), len(lower) - 1
    side = np.r_[-np.ones(corner), 0, np.ones(corner)]
    jaw = np.r_[np.ones(corner), 0.5, np.zeros(corner)]
    edge = skin[loop]
    last = loop
    # How far behind the lips' edges, how much higher or lower, how much narrower.
    for back, apart, narrow in ((0.22, 0.05, 1.0), (0.55, 0.25, 0.99)):
        ring = edge * [narrow, 1, 1] + np.column_stack([np.zeros(count), apart * side, np.full(count, -back)])
        numbers = half.add(ring, "skin", parents=loop)
        half.strip(last, numbers)
        last = numbers
    turn = np.linspace(-np.pi / 2, np.pi / 2, count)
    around = np.column_stack([np.cos(turn), np.sin(turn)])
    around[[0, -1], 0] = 0
    for back, width, height in ((0.5, 2.9, 1.5), (2.4, 3.2, 2.3), (5.0, 2.6, 2.3), (6.5, 1.2, 1.2)):
        # The front ring bends backwards at the sides, as the arch of the teeth does.
        depth = 1.7 - back - 1.8 * (around[:, 0] ** 2 if back < 1 else 0)
        ring = np.column_stack([width * around[:, 0], -6.7 + height * around[:, 1], np.broadcast_to(depth, count)])
        numbers = half.add(ring, "mouth", jaw=0.5 - 0.5 * np.clip(1.6 * np.sin(turn), -1, 1) if back > 3 else jaw)
        half.strip(last, numbers)
        last = numbers
    throat = half.add(np.array([[0.0, -6.7, -5.2]]), "mouth", jaw=0.5)
    half.triangles.append(np.column_stack([last[:-1], last[1:], np.full(count - 1, throat[0])]))


def _arch(along: np.ndarray, front: float, inset: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and outward normals, (P, 2) of x and z, at lengths along a dental arch from its middle."""
    angle = np.linspace(0, np.pi / 2, 400)
    curve = np.column_stack([(2.85 - inset) * np.sin(angle), front - 4.6 * (1 - np.cos(angle))])
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))]
    slope = np.gradient(curve, length, axis=0)
    point = np.column_stack([np.interp(along, length, curve[:, k]) for k in (0, 1)])
    tangent = np.column_stack([np.interp(along, length, slope[:, k]) for k in (0, 1)])
    normal = np.column_stack([-tangent[:, 1], tangent[:, 0]])
    return point, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _raised(plan: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Join x and z, (P, 2), with y, (P,)."""
    return np.column_stack([plan[:, 0], height, plan[:, 1]])


def add_teeth(half: Half) -> None:
    """Rows of crowns, each a bulging shield bent around its edge, and the gums that they stand in."""
    for teeth, front, inset, edge, up, jaw in (
        (_UPPER_TEETH, 1.72, 0.0, UPPER_EDGE, 1.0, 0.0),
        (_LOWER_TEETH, 1.42, 0.22, LOWER_EDGE, -1.0, 1.0),
    ):
        start = 0.0
        for width, height in teeth:
            across = np.linspace(-1, 1, 5)
            rows = []
            # From behind the edge, over it, up to the neck.
            for rise, bulge in ((0.25, -0.32), (0.0, -0.12), (0.06, 0.0), (0.45, 0.06), (0.85, 0.02), (1.08, -0.1)):
                narrow = 0.5 * width * (0.97 - 0.16 * max(rise - 0.35, 0))
                point, normal = _arch(start + width / 2 + narrow * across, front, inset)
                out = bulge - 0.11 * across**4
                level = edge + up * (rise * height + 0.05 * across**4 * (rise < 0.3))
                rows.append(_raised(point + out[:, None] * normal, level))
            half.sheet(np.stack(rows if up > 0 else rows[::-1]), "teeth", jaw=jaw)
            start += width
        along = np.linspace(0, start, 16)
        rows = []
        for rise, proud in ((0.8, -0.12), (0.95, 0.04), (1.3, 0.12), (1.9, 0.05)):
            point, normal = _arch(along, front, inset)
            row = _raised(point + proud * normal, np.full(len(along), edge + up * rise))
            row[0, 0] = 0
            rows.append(row)
        half.sheet(np.stack(rows if up > 0 else rows[::-1]), "gums", jaw=jaw)


def add_tongue(half: Half) -> None:
    """A flattened ellipsoid behind the lower teeth, with a furrow along its middle."""
    along, turn = np.radians(np.linspace(4, 176, 9)), np.linspace(0.5, -0.5, 9) * np.pi
    rows = []
    for angle in along:
        x, y = 1.9 * np.sin(angle) * np.cos(turn), 0.55 * np.sin(angle) * np.sin(turn)
        x[[0, -1]] = 0
        furrow = -0.12 * np.exp(-((x / 0.35) ** 2)) * (y > 0) * np.sin(angle)
        rows.append(np.column_stack([x, -7.35 + y + furrow, np.full(9, -1.9 + 2.75 * np.cos(angle))]))
    half.sheet(np.stack(rows), "tongue", jaw=0.92)
