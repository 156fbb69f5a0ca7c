"""How people differ in the built-in head's shape: modes of one standard deviation each.

Together they make the measures of faces vary as those of young adults do (standard deviations in L. G. Farkas,
"Anthropometry of the Head and Face", 2nd ed., Raven Press 1994): by two to six millimetres. What no measure names is
covered by smooth random fields.
"""

import numpy as np

from augment.simulation.head_expressions import Movements
from augment.simulation.head_fields import bump, smooth_step
from augment.simulation.head_mesh import HeadMesh
from augment.simulation.head_scaffold import EYE_CENTRE
from augment.simulation.morphable import PARTS

Stroke = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

# Centre, reach and pull, at two standard deviations, of each stroke, cm, on the left; mirrored to the right.
STROKES: dict[str, tuple[Stroke, ...]] = {
    "cheekbones": (((5.8, -1.4, -1.5), (1.6, 1.3, 2.5), (0.35, 0.05, 0.22)),),
    "jaw_width": (((5.5, -7.0, -4.0), (2.4, 2.4, 4.5), (0.36, 0.0, 0.0)),),
    "jaw_angle": (((5.6, -6.5, -5.0), (1.5, 1.7, 2.0), (0.2, -0.4, -0.1)),),
    "temples": (((6.6, 2.5, -3.5), (1.6, 2.2, 3.0), (0.35, 0.0, 0.1)),),
    "cheek_fat": (
        ((4.6, -5.2, 0.0), (1.9, 2.3, 3.2), (0.45, -0.05, 0.32)),
        ((2.5, -11.0, -2.0), (3.0, 1.5, 3.5), (0.1, -0.4, 0.1)),
    ),
    "cheek_hollow": (
        ((5.0, -4.4, -0.8), (1.3, 1.2, 2.2), (-0.25, 0.0, -0.28)),
        ((5.4, -1.3, -1.2), (1.2, 0.8, 2.0), (0.1, 0.0, 0.12)),
    ),
    "nose_length": (((0.0, -3.7, 3.4), (1.9, 1.5, 2.5), (0.0, -0.33, 0.08)),),
    "nose_width": (((1.6, -3.8, 2.1), (0.8, 0.8, 1.3), (0.24, 0.0, -0.03)),),
    "nose_depth": (((0.0, -3.0, 3.6), (1.3, 1.3, 2.2), (0.0, 0.0, 0.3)),),
    "nose_bridge_height": (((0.0, -0.3, 1.8), (0.7, 1.5, 1.6), (0.0, 0.0, 0.26)),),
    "nose_bridge_width": (((0.8, -0.8, 1.4), (0.6, 1.6, 1.4), (0.14, 0.0, 0.05)),),
    "nose_hump": (((0.0, -1.2, 2.5), (0.6, 0.8, 1.5), (0.0, 0.0, 0.2)),),
    "nose_tip_up": (((0.0, -3.5, 3.8), (0.9, 0.7, 1.3), (0.0, 0.3, 0.04)),),
    "nose_tip_bulb": (((0.6, -3.3, 3.5), (0.6, 0.6, 1.0), (0.16, 0.0, 0.05)),),
    "brow_ridge": (((2.5, 2.0, 1.5), (2.0, 0.8, 2.0), (0.0, -0.06, 0.26)),),
    "brow_height": (((3.0, 2.2, 1.2), (2.6, 0.95, 2.5), (0.0, 0.17, 0.02)),),
    "brow_tilt": (
        ((5.0, 1.9, 0.2), (1.4, 0.9, 2.5), (0.0, 0.18, 0.0)),
        ((1.4, 2.1, 1.8), (1.2, 0.9, 2.5), (0.0, -0.1, 0.0)),
    ),
    "forehead_slope": (((0.0, 6.0, 0.9), (5.0, 2.2, 4.0), (0.0, 0.0, -0.5)),),
    "forehead_height": (((0.0, 9.5, -3.0), (7.0, 3.5, 8.0), (0.0, 0.65, 0.0)),),
    "upper_lip_red": (
        ((0.7, -5.9, 2.8), (1.1, 0.3, 1.5), (0.0, 0.17, 0.04)),
        ((0.7, -6.25, 2.9), (1.1, 0.35, 1.2), (0.0, 0.0, 0.1)),
    ),
    "lower_lip_red": (
        ((0.7, -7.65, 2.5), (1.2, 0.35, 1.5), (0.0, -0.17, 0.0)),
        ((0.7, -7.1, 2.8), (1.1, 0.4, 1.2), (0.0, 0.0, 0.12)),
    ),
    "lip_projection": (((0.0, -6.7, 2.8), (2.0, 1.0, 2.0), (0.0, 0.0, 0.28)),),
    "philtrum_length": (((0.0, -7.0, 2.4), (4.0, 1.9, 4.5), (0.0, -0.26, 0.0)),),
    "chin_length": (((0.0, -10.6, 1.2), (3.6, 1.9, 4.0), (0.0, -0.48, 0.0)),),
    "chin_projection": (((0.0, -10.0, 1.9), (1.9, 1.3, 2.5), (0.0, 0.0, 0.42)),),
    "chin_width": (((1.9, -10.0, 1.2), (1.2, 1.2, 2.0), (0.32, 0.0, 0.0)),),
    "eye_bags": (((3.2, -1.2, 0.7), (1.1, 0.45, 1.5), (0.0, -0.04, 0.14)),),
    "lid_fold": (((3.3, 1.25, 0.9), (1.4, 0.45, 1.5), (0.03, -0.2, 0.12)),),
    "face_depth": (((0.0, -5.0, 2.5), (4.5, 6.0, 3.5), (0.0, 0.0, 0.45)),),
    "neck_width": (((5.8, -13.5, -8.5), (2.5, 2.6, 6.0), (0.55, 0.0, 0.0)),),
}
"""The modes that are strokes. A stroke at x = 0 is one for both sides."""

RANDOM_MODES = 12
"""Number of smooth random fields at the end."""


def identity_modes(mesh: HeadMesh) -> dict[str, np.ndarray]:
    """Give the displacement of one standard deviation of each mode, (V, 3), cm."""
    points = mesh.vertices
    modes = {name: _strokes(points, strokes) for name, strokes in STROKES.items()}
    x, y, _ = points.T
    modes["size"] = 0.02 * points
    modes["face_width"] = np.column_stack([0.02 * x, 0 * x, 0 * x])
    modes["face_height"] = np.column_stack([0 * x, 0.024 * (y + 2), 0 * x])
    modes["eye_spacing"] = (
        np.column_stack([0.075 * np.tanh(x / 1.5), 0 * x, 0 * x]) * _around_eyes(points, 1.9)[:, None]
    )
    modes["eye_height"] = np.column_stack([0 * x, 0.1 * _around_eyes(points, 1.7), 0 * x])
    modes["eye_depth"] = np.column_stack([0 * x, 0 * x, -0.12 * _around_eyes(points, 1.6)])
    modes["mouth_width"] = (
        np.column_stack([0.04 * x, 0 * x, -0.02 * np.abs(x)]) * bump(points, (0, -6.7, 1.5), (3.5, 1.3, 3.0))[:, None]
    )
    modes["ear_size"] = _ears(mesh)
    # Men: heavier brow and jaw, larger nose, narrower eyes; one standard deviation is a third of the way between means.
    modes["sex"] = (
        0.45 * modes["brow_ridge"]
        + 0.45 * modes["jaw_width"]
        + 0.45 * modes["chin_length"]
        + 0.4 * modes["nose_depth"]
        + 0.4 * modes["nose_width"]
        - 0.25 * modes["brow_height"]
        + 0.6 * modes["size"]
        + 0.4 * modes["neck_width"]
        - 0.35 * modes["upper_lip_red"]
    )
    modes["age"] = _age(points)
    modes |= {f"random_{k}": field for k, field in enumerate(_random_fields(points))}
    modes = {name: _rigid(mesh, field) for name, field in modes.items()}
    modes["lid_opening"], modes["lid_tilt"] = _lid_modes(mesh)
    return {name: _symmetric(field, mesh, name) for name, field in modes.items()}


def _strokes(points: np.ndarray, strokes: tuple[Stroke, ...]) -> np.ndarray:
    field = np.zeros_like(points)
    for centre, reach, pull in strokes:
        if centre[0] == 0:
            field += 0.5 * bump(points, centre, reach)[:, None] * pull
            continue
        left = bump(points, centre, reach)[:, None] * pull
        right = bump(points * [-1, 1, 1], centre, reach)[:, None] * pull * np.array([-1, 1, 1])
        field += 0.5 * (left + right)
    return field


def _around_eyes(points: np.ndarray, reach: float) -> np.ndarray:
    """1 within and near both eyeballs, 0 away from them."""
    away = np.minimum(*(np.linalg.norm(points - EYE_CENTRE * [s, 1, 1], axis=1) for s in (1, -1)))
    return 1 - smooth_step((away - 1.4) / reach)


def _ears(mesh: HeadMesh) -> np.ndarray:
    """Grow the ears about their middle."""
    x, y, z = mesh.vertices.T
    ear = smooth_step((np.abs(x) - 6.7) / 0.5) * bump(mesh.vertices * [0, 1, 1], (0, -1.0, -8.3), (1, 2.5, 1.6))
    return ear[:, None] * np.column_stack([0.05 * np.sign(x), 0.09 * (y + 1), 0.09 * (z + 8)])


def _age(points: np.ndarray) -> np.ndarray:
    """Skin sinks: jowls, corners of the mouth, brows' outer halves; hollow temples and fuller nose."""
    strokes: tuple[Stroke, ...] = (
        ((4.2, -8.2, -0.6), (1.4, 1.2, 2.0), (0.12, -0.3, 0.12)),
        ((2.6, -6.9, 1.3), (0.7, 0.7, 1.5), (0.0, -0.14, 0.0)),
        ((4.6, 1.9, 0.5), (1.3, 0.8, 2.0), (0.0, -0.16, 0.0)),
        ((3.6, -2.6, 0.8), (1.3, 1.0, 1.8), (0.0, -0.16, -0.12)),
        ((6.4, 2.0, -3.0), (1.3, 1.5, 2.0), (-0.15, 0.0, 0.0)),
        ((0.0, -3.6, 3.6), (1.2, 0.9, 1.5), (0.0, -0.16, 0.04)),
    )
    return _strokes(points, strokes)


def _lid_modes(mesh: HeadMesh) -> tuple[np.ndarray, np.ndarray]:
    """Open the eyes wider, and tilt them: the outer corners up, within the lids' clearance of the eyeball."""
    movements = Movements(mesh)
    wider = -0.13 * (movements.shape("eyeBlinkLeft") + movements.shape("eyeBlinkRight"))
    points = mesh.vertices[mesh.parents]
    tilt = np.zeros_like(points)
    for side in (1, -1):
        away = points - EYE_CENTRE * [side, 1, 1]
        near = 1 - smooth_step((np.linalg.norm(away, axis=1) - 1.4) / 1.6)
        near = np.where(mesh.parts == PARTS.index("eyeball"), 0, near)
        angle = side * 0.05 * near
        tilt += np.column_stack([-angle * away[:, 1], angle * away[:, 0], 0 * angle])
    return wider, tilt


def _random_fields(points: np.ndarray) -> list[np.ndarray]:
    """Sums of low waves in space with a fixed seed, about a millimetre strong on the face."""
    generator = np.random.Generator(np.random.PCG64(20))
    fields = []
    for _ in range(RANDOM_MODES):
        waves = generator.standard_normal((6, 3)) * 0.32
        phases = generator.uniform(0, 2 * np.pi, 6)
        pulls = generator.standard_normal((6, 3)) * 0.035
        fields.append(np.sin(points @ waves.T + phases) @ pulls)
    return fields


def _rigid(mesh: HeadMesh, field: np.ndarray) -> np.ndarray:
    """Let eyeballs and what is in the mouth move as wholes: they keep their form, and lids and lips stay fitted."""
    field = field.copy()
    points = mesh.vertices
    for side in (1, -1):
        centre = EYE_CENTRE * [side, 1, 1]
        eye = (mesh.parts == PARTS.index("eyeball")) & (points[:, 0] * side > 0)
        away = np.linalg.norm(points - centre, axis=1)
        whole = field[eye].mean(0)
        # Lids that touch the ball go along with it, and are themselves again a centimetre further out.
        share = (1 - smooth_step((away - 1.65) / 1.3)) * (points[:, 2] > -3)
        field += share[:, None] * (whole - field)
        field[eye] = whole
    follows = mesh.parents != np.arange(len(points))
    field[follows] = field[mesh.parents[follows]]
    return field


def _symmetric(field: np.ndarray, mesh: HeadMesh, name: str) -> np.ndarray:
    """Make the two halves mirror images exactly; random fields keep a third of their asymmetry, as faces do."""
    image = field[mesh.mirror] * [-1, 1, 1]
    if name.startswith("random"):
        return (field + image) / 2 + 0.35 * (field - image) / 2
    return (field + image) / 2
