"""The built-in head's mesh: skin, and what looks out of its openings or is attached to it."""

import itertools
from dataclasses import dataclass

import numpy as np

from augment.simulation.head_grid import LID_POINTS, LIP_POINTS, Grid, build_grid, resample
from augment.simulation.head_half import Half
from augment.simulation.head_mouth import add_mouth, add_teeth, add_tongue
from augment.simulation.head_scaffold import (
    EYE_CENTRE,
    EYE_RADIUS,
    LID_RADIUS,
    LIP_LINE,
    LOWER_LID,
    LOWER_LIP,
    UPPER_LID,
    UPPER_LIP,
    Skin,
    on_eye,
)


@dataclass(eq=False)
class HeadMesh:
    """The whole head, both halves, in the scaffold's space; V vertices."""

    vertices: np.ndarray
    """(V, 3), cm."""
    triangles: np.ndarray
    """(T, 3)."""
    parts: np.ndarray
    """Number in `PARTS`, (V,)."""
    parents: np.ndarray
    """Vertex of the skin whose movement each vertex follows, (V,); itself for free ones."""
    mirror: np.ndarray
    """Vertex that is each one's mirror image, (V,)."""
    jaw: np.ndarray
    """How much each vertex turns with the jaw, 0 to 1, (V,); NaN for skin, which has rules of its own."""
    upper_lid: np.ndarray
    """Edge of the left eye's upper lid, from the inner to the outer corner."""
    lower_lid: np.ndarray
    """Edge of the left eye's lower lid."""
    upper_lip: np.ndarray
    """Edge of the upper lip at the slit, from the middle to the left corner."""
    lower_lip: np.ndarray
    """Edge of the lower lip at the slit, from the middle to the left corner."""


def build_mesh() -> HeadMesh:
    """Build the mean head."""
    grid = build_grid()
    half = Half()
    half.add(_skin(grid), "skin")
    half.triangles.append(grid.triangles)
    skin = half.vertices[0]
    _lid_rims(half, grid, skin)
    _eyeball(half)
    add_mouth(half, grid, skin)
    add_teeth(half)
    add_tongue(half)
    _ear(half)
    _lashes(half, grid, skin)
    _back(half, grid)
    return _both_halves(half, grid)


def _skin(grid: Grid) -> np.ndarray:
    """Place the grid's vertices, those at the lids and lips exactly; (V, 3)."""
    points = Skin()(grid.places)
    points[grid.places[:, 0] == 0, 0] = 0
    points = clear_of_eye(points, LID_RADIUS)
    points[grid.upper_lid] = on_eye(resample(np.array((*UPPER_LID, LOWER_LID[-1])), LID_POINTS), LID_RADIUS)
    points[grid.lower_lid] = on_eye(resample(np.array((UPPER_LID[0], *LOWER_LID)), LID_POINTS), LID_RADIUS)
    line = resample(np.array(LIP_LINE), LIP_POINTS)
    apart = np.array([0, 0.012, 0])
    points[grid.upper_lip] = line + apart
    points[grid.lower_lip] = line - apart
    points[grid.upper_lip[-1]] = line[-1]
    points[grid.upper_lip[0], 0] = points[grid.lower_lip[0], 0] = 0
    for side, border in ((1, UPPER_LIP), (-1, LOWER_LIP)):
        chosen = grid.red_side == side
        points[grid.red[chosen]] = _red(side, np.array(border), grid.red_along[chosen], grid.red_across[chosen])
    return _nostrils(points)


def _red(side: int, border: np.ndarray, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Round the red of a lip from the slit to its border; (R, 3)."""
    inner, outer = resample(np.array(LIP_LINE), LIP_POINTS), resample(border, LIP_POINTS)
    column = np.rint(along * (LIP_POINTS - 1)).astype(int)
    straight = inner[column] + across[:, None] * (outer[column] - inner[column])
    fullness = (0.32 if side > 0 else 0.36) * (1 - along**2) ** 0.8
    # Steep where the lips meet, and flat into the skin.
    swell = (across * (1 - across) ** 1.2) ** 0.6 * 2.05
    swollen = straight + np.outer(fullness * swell, [0, -0.12 * side, 1.0])
    swollen[along == 0, 0] = 0
    return swollen


def clear_of_eye(points: np.ndarray, radius: float) -> np.ndarray:
    """Push points, (P, 3), that lie in front of the left eyeball out to a distance from its centre, cm."""
    away = points - EYE_CENTRE
    distance = np.linalg.norm(away, axis=1)
    inside = (distance < radius) & (away[:, 2] > 0)
    return np.where(inside[:, None], EYE_CENTRE + away * (radius / distance)[:, None], points)


def _nostrils(points: np.ndarray) -> np.ndarray:
    """Push the skin into the nose."""
    away = (points - [0.75, -4.35, 2.8]) / [0.34, 0.36, 0.5]
    depth = np.exp(-((away**2).sum(1) ** 2))
    return points + depth[:, None] * [0.0, 0.55, -0.1]


def _lid_rims(half: Half, grid: Grid, skin: np.ndarray) -> None:
    """Give the lids a thickness: a rim that runs from their edges into the eyeball."""
    loop = np.r_[grid.lower_lid, grid.upper_lid[-2:0:-1]]
    away = skin[loop] - EYE_CENTRE
    rim = EYE_CENTRE + away * ((EYE_RADIUS - 0.03) / np.linalg.norm(away, axis=1))[:, None]
    half.strip(loop, half.add(rim, "skin", parents=loop), closed=True)


def _eyeball(half: Half) -> None:
    """The front two thirds of a sphere, in rings around the pupil."""
    angles = np.radians([10, 17, 24, 31, 40, 50, 60, 70, 80, 90, 102])
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rings = np.stack(
        [np.column_stack([np.sin(a) * np.cos(turn), np.sin(a) * np.sin(turn), np.full(24, np.cos(a))]) for a in angles]
    )
    numbers = half.sheet(EYE_CENTRE + EYE_RADIUS * rings[::-1], "eyeball", closed=True)
    pupil = half.add(EYE_CENTRE[None] + np.array([0, 0, EYE_RADIUS]), "eyeball")
    inner = numbers[-1]
    half.triangles.append(np.column_stack([inner, np.roll(inner, -1), np.full(24, pupil[0])]))


def _ear(half: Half) -> None:
    """A shell with a rolled rim, a hollow and a lobe, leaning away from the head."""
    turn = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    # Outline in the ear's plane: p points to the back, q up; longer above than below, narrow at the lobe.
    p = 1.5 * np.cos(turn) * (1 + 0.22 * np.sin(turn))
    q = 2.8 * np.sin(turn)
    front = np.clip(-np.cos(turn), 0, 1)

    def ring(share: float, out: float) -> np.ndarray:
        # The front edge lies on the head, the back edge stands off.
        lift = out * (1 - 0.6 * front) + 0.42 * share * p
        backward = share * p * 0.92 + 0.18 * q * share
        return np.column_stack([7.62 + lift, -1.0 + share * q, -8.1 - backward])

    rings = [
        ring(s, o)
        for s, o in (
            (0.78, -0.45),
            (0.97, -0.2),
            (1.0, 0.05),
            (0.93, 0.2),
            (0.8, 0.1),
            (0.62, -0.02),
            (0.45, 0.05),
            (0.3, -0.15),
            (0.12, -0.2),
        )
    ]
    numbers = half.sheet(np.stack(rings), "skin", closed=True)
    middle = half.add(np.array([[7.4, -1.0, -8.1]]), "skin")
    inner = numbers[-1]
    half.triangles.append(np.column_stack([inner, np.roll(inner, -1), np.full(22, middle[0])]))


def _lashes(half: Half, grid: Grid, skin: np.ndarray) -> None:
    """A fringe along the upper lid's edge, seen from both sides."""
    loop = grid.upper_lid[1:]
    edge = skin[loop]
    away = edge - EYE_CENTRE
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    share = np.linspace(0, 1, len(loop))[:, None]
    length = 0.12 + 0.22 * np.sqrt(share)
    rows = [edge + 0.01 * away]
    rows.append(edge + length * (0.75 * away + [0.0, -0.12, 0.15] + share * [0.25, 0, 0]))
    rows.append(rows[-1] + length * (0.4 * away + [0.0, 0.35, 0.1] + share * [0.3, 0, 0]))
    numbers = [half.add(row, "lashes", parents=loop) for row in rows]
    for first, second in itertools.pairwise(numbers):
        half.strip(first, second)
        half.strip(second, first)


def _back(half: Half, grid: Grid) -> None:
    """Close the back of the head, which the map cannot hold, with a fan."""
    middle = Skin()(np.array([[0.0, 10 * np.pi]])) * [0, 1, 1]
    tip = half.add(middle, "skin")
    half.triangles.append(np.column_stack([grid.back[1:], grid.back[:-1], np.full(len(grid.back) - 1, tip[0])]))


def _both_halves(half: Half, grid: Grid) -> HeadMesh:
    """Add the mirror image; what lies at x = 0 is shared."""
    vertices = np.concatenate(half.vertices)
    triangles = np.concatenate(half.triangles)
    parents, parts, jaw = np.concatenate(half.parents), np.concatenate(half.parts), np.concatenate(half.jaw)
    shared = vertices[:, 0] == 0
    image = np.arange(len(vertices))
    image[~shared] = len(vertices) + np.arange((~shared).sum())
    mirror = np.empty(len(vertices) + (~shared).sum(), np.int64)
    mirror[: len(vertices)] = image
    mirror[image] = np.arange(len(vertices))
    return HeadMesh(
        vertices=np.concatenate([vertices, vertices[~shared] * [-1, 1, 1]]),
        triangles=np.concatenate([triangles, image[triangles][:, [0, 2, 1]]]),
        parts=np.concatenate([parts, parts[~shared]]),
        parents=np.concatenate([parents, image[parents[~shared]]]),
        mirror=mirror,
        jaw=np.concatenate([jaw, jaw[~shared]]),
        upper_lid=grid.upper_lid,
        lower_lid=grid.lower_lid,
        upper_lip=grid.upper_lip,
        lower_lip=grid.lower_lip,
    )
