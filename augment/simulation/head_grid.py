"""The built-in head's skin as triangles: dense around eyes, nose and mouth, with loops that follow lids and lips."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import Delaunay

from augment.simulation.head_scaffold import (
    BROW,
    CHIN,
    JAW,
    LID_RADIUS,
    LIP_LINE,
    LOWER_LID,
    LOWER_LIP,
    NECK,
    NOSE_BASE,
    NOSE_RIDGE,
    UPPER_LID,
    UPPER_LIP,
    on_eye,
    to_map,
)

LID_POINTS = 17
"""Vertices along the edge of each lid, corners included."""
LIP_POINTS = 15
"""Vertices along half of each lip's edge, middle and corner included."""

_BACK = 28.8
"""Distance on the map of the last ring of vertices, around the back of the head."""
_SLIT = 0.06
"""Half of the mouth's height on the map, where upper and lower lip must be told apart."""
_LID_RINGS = (0.11, 0.25, 0.42, 0.63, 0.9)
"""Distances of the loops around an eye's opening."""
_LIP_RINGS = (0.22, 0.5, 0.82)
"""Distances of the loops around the lips' red."""
_RED_RINGS = (0.12, 0.3, 0.55, 0.8, 1.0)
"""Places of the loops in the lips' red, from the slit to its border."""
_FINE = (
    # x and y of the middle, half axes, spacing
    (3.6, 2.3, 2.4, 1.8, 0.26),  # eye
    (0.0, -1.6, 1.8, 1.6, 0.21),  # nose
    (0.0, -4.4, 3.0, 1.9, 0.24),  # mouth
)
_RELAXATIONS = 12


@dataclass(frozen=True, eq=False)
class Grid:
    """One half of the skin, x >= 0, as places on the map. Loops are vertex numbers in order."""

    places: np.ndarray
    """(V, 2)."""
    triangles: np.ndarray
    """Counter-clockwise, (T, 3)."""
    upper_lid: np.ndarray
    """Edge of the upper lid from the inner to the outer corner, both included."""
    lower_lid: np.ndarray
    """Edge of the lower lid from the inner to the outer corner, both included."""
    upper_lip: np.ndarray
    """Edge of the upper lip at the slit, from the middle to the corner, both included."""
    lower_lip: np.ndarray
    """Edge of the lower lip at the slit, from the middle to the corner, both included."""
    back: np.ndarray
    """The last vertices before the back of the head, from below to above."""
    red: np.ndarray
    """Vertices of the lips' red between slit and border, (R,)."""
    red_side: np.ndarray
    """1 for the upper lip, -1 for the lower, (R,)."""
    red_along: np.ndarray
    """Place along the lip: 0 in the middle, 1 at the corner, (R,)."""
    red_across: np.ndarray
    """Place across the red: 0 at the slit, 1 at its border, (R,)."""


def build_grid() -> Grid:
    """Triangulate one half of the map."""
    upper_lid = resample(to_map(on_eye(np.array((*UPPER_LID, LOWER_LID[-1])), LID_RADIUS)), LID_POINTS)
    lower_lid = resample(to_map(on_eye(np.array((UPPER_LID[0], *LOWER_LID)), LID_RADIUS)), LID_POINTS)
    eye = np.concatenate([lower_lid, upper_lid[-2:0:-1]])
    upper_lip, lower_lip = _slit()
    mouth = np.concatenate([lower_lip, upper_lip[-2::-1]])
    red = _red(upper_lip, lower_lip)
    turn = np.linspace(-np.pi / 2, np.pi / 2, 25)
    back = _BACK * np.column_stack([np.cos(turn), np.sin(turn)])
    neck = to_map(np.array(NECK))
    marks = to_map(np.array([*JAW, CHIN, *BROW, *NOSE_RIDGE, *NOSE_BASE]))

    fixed = np.concatenate([eye, mouth, red[:, :2], back, neck, marks])
    fixed[np.abs(fixed[:, 0]) < 1e-9, 0] = 0
    rings = np.concatenate([*(_outwards(eye, distance) for distance in _LID_RINGS), *_around_lips()])
    rings[rings[:, 0] < 0.08, 0] = 0
    free = _hexagons()
    fixed = _thinned(fixed, rings)
    places = _thinned(fixed, free[~_inside(neck, free)])
    for _ in range(_RELAXATIONS):
        places = _relaxed(places, len(fixed))

    triangles = Delaunay(places).simplices
    middle = places[triangles].mean(1)
    triangles = triangles[~(_inside(eye, middle) | _inside(mouth, middle) | _inside(neck, middle))]
    numbers = np.arange(len(places))
    eye_numbers, mouth_numbers, red_numbers, back_numbers = np.split(
        numbers, np.cumsum([len(eye), len(mouth), len(red), len(back)])
    )[:4]
    return Grid(
        places=places,
        triangles=_counter_clockwise(places, triangles),
        upper_lid=np.r_[0, eye_numbers[: LID_POINTS - 2 : -1]],
        lower_lid=eye_numbers[:LID_POINTS],
        upper_lip=mouth_numbers[: LIP_POINTS - 2 : -1],
        lower_lip=mouth_numbers[:LIP_POINTS],
        back=back_numbers,
        red=red_numbers,
        red_side=red[:, 2],
        red_along=red[:, 3],
        red_across=red[:, 4],
    )


def resample(curve: np.ndarray, count: int) -> np.ndarray:
    """Place points evenly along the cubic through a curve's points, (P, D); (count, D), ends included."""
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))]
    return CubicSpline(length, curve)(np.linspace(0, length[-1], count))


def _slit() -> tuple[np.ndarray, np.ndarray]:
    """Edges of upper and lower lip on the map, a little apart, from the middle to the corner."""
    line = resample(to_map(np.array(LIP_LINE)), LIP_POINTS)
    gap = np.zeros_like(line)
    gap[:-1, 1] = _SLIT
    gap[-4:-1, 1] *= [0.8, 0.6, 0.35]
    return line + gap, line - gap


def _red(upper_lip: np.ndarray, lower_lip: np.ndarray) -> np.ndarray:
    """Places of the lips' red, (R, 5): x and y on the map, side, place along and place across as in `Grid`."""
    corner = LIP_POINTS - 1
    found = []
    for side, edge, slit in ((1, UPPER_LIP, upper_lip), (-1, LOWER_LIP, lower_lip)):
        border = resample(to_map(np.array(edge)), LIP_POINTS)
        for share in _RED_RINGS:
            for column in range(corner):
                way = border[column] - slit[column]
                # Toward the corner the red is too narrow for more than its border.
                if share * np.hypot(way[0], abs(way[1]) + _SLIT) > 0.1 and (column < corner - 1 or share == 1):
                    found.append((*(slit[column] + share * way), side, column / corner, share))
    return np.array(found)


def _around_lips() -> list[np.ndarray]:
    """Loops around the lips, from below the middle to above it."""
    lower, upper = (resample(to_map(np.array(edge)), LIP_POINTS)[:-2] for edge in (LOWER_LIP, UPPER_LIP))
    corner = to_map(np.array(LIP_LINE[-1:])) + np.array([0.12, 0])
    loop = np.concatenate([lower, corner, upper[::-1]])
    whole = np.concatenate([loop, loop[::-1] * [-1, 1]])
    return [_outwards(whole, distance)[: len(loop)] for distance in _LIP_RINGS]


def _outwards(loop: np.ndarray, distance: float) -> np.ndarray:
    """Move a closed counter-clockwise loop, (P, 2), outwards."""
    along = np.roll(loop, -1, axis=0) - np.roll(loop, 1, axis=0)
    normal = np.column_stack([along[:, 1], -along[:, 0]])
    return loop + distance * normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _inside(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points, (P, 2), lie in a polygon, (C, 2), by the even-odd rule."""
    x0, y0 = polygon.T
    x1, y1 = np.roll(polygon, -1, axis=0).T
    x, y = points[:, :1], points[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        right = ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return right.sum(1) % 2 == 1


def _spacing(places: np.ndarray) -> np.ndarray:
    """Wanted distance between neighbours at places on the map."""
    far = np.hypot(places[:, 0], places[:, 1] - 1)
    wanted = 0.44 + 0.085 * np.clip(far - 8, 0, None)
    for x, y, across, down, least in _FINE:
        away = np.hypot((places[:, 0] - x) / across, (places[:, 1] - y) / down)
        wanted = np.minimum(wanted, least + 0.3 * np.clip(away - 1, 0, None))
    return wanted


def _hexagons() -> np.ndarray:
    """Candidates for vertices, on a fine grid in an order that looks random, but those at x = 0 first; (P, 2)."""
    step = 0.1
    x, y = np.meshgrid(np.arange(0, _BACK, step), np.arange(-_BACK, _BACK, step * 0.87))
    x[1::2] += step / 2
    grid = np.column_stack([x.ravel(), y.ravel()])
    scrambled = (np.arange(len(grid)) * 0.6180339887498949) % 1
    # Both halves share the middle: it must be filled well.
    grid = grid[np.lexsort((scrambled, grid[:, 0] > 0))]
    return grid[np.hypot(*grid.T) < _BACK - 0.5]


def _thinned(fixed: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Add candidates in order, (P, 2), leaving out those too near to another; all of `fixed` stay, at the front."""
    cell = 0.5
    cells: dict[tuple[int, int], list[np.ndarray]] = {}
    for place in fixed:
        cells.setdefault((int(place[0] // cell), int(place[1] // cell)), []).append(place)
    found = list(fixed)
    for place, distance in zip(candidates, 0.8 * _spacing(candidates), strict=True):
        # A row beside the middle would make slivers there.
        if 0 < place[0] < 0.45 * distance:
            continue
        reach = int(np.ceil(distance / cell))
        column, row = int(place[0] // cell), int(place[1] // cell)
        near = [
            other
            for i in range(column - reach, column + reach + 1)
            for j in range(row - reach, row + reach + 1)
            for other in cells.get((i, j), ())
        ]
        if near and ((np.array(near) - place) ** 2).sum(1).min() < distance**2:
            continue
        found.append(place)
        cells.setdefault((column, row), []).append(place)
    return np.array(found)


def _relaxed(places: np.ndarray, fixed: int) -> np.ndarray:
    """Move every place but the first ones to the middle of its neighbours; those at x = 0 stay there."""
    triangles = Delaunay(places).simplices
    total, count = np.zeros_like(places), np.zeros(len(places))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        np.add.at(total, triangles[:, a], places[triangles[:, b]])
        np.add.at(count, triangles[:, a], 1)
    result = total / count[:, None]
    result[:fixed] = places[:fixed]
    result[places[:, 0] == 0, 0] = 0
    return result


def _counter_clockwise(places: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Turn triangles that run clockwise on the map, and drop those without area."""
    a, b, c = places[triangles].transpose(1, 0, 2)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    turned = np.where(area[:, None] < 0, triangles[:, [0, 2, 1]], triangles)
    return turned[np.abs(area) > 1e-9]
