"""Ways of moving the built-in head's vertices: strokes of the skin, lips, lids along the eyeball, the jaw's turn."""

from collections.abc import Callable

import numpy as np

from augment.simulation.head_mesh import HeadMesh
from augment.simulation.head_scaffold import EYE_CENTRE, LID_RADIUS
from augment.simulation.morphable import PARTS

JAW_JOINT = np.array([0.0, -1.3, -7.3])
"""A point on the axis through both jaw joints, just in front of and below the ear's opening, cm."""
JAW_DEGREES = 16.0
"""How far the jaw turns for `jawOpen` at full intensity: the lips come 3 cm apart."""
JAW_SLIDE = np.array([0.0, -0.25, 0.6])
"""How far its joints slide forward and down meanwhile, cm, as they do in everyone who opens wide."""
LIP_CORNER = np.array([2.52, -6.7, 1.3])
"""Left corner of the mouth, cm."""


def smooth_step(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and a cubic between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def bump(points: np.ndarray, centre: tuple[float, float, float], reach: tuple[float, float, float]) -> np.ndarray:
    """A Gaussian around a centre with a standard deviation along each axis, cm; (P,) in (0, 1]."""
    return np.exp(-0.5 * (((points - centre) / reach) ** 2).sum(-1))


class Fields:
    """Ways of moving a head's vertices; each gives displacements, (V, 3), cm."""

    def __init__(self, mesh: HeadMesh) -> None:
        self.mesh = mesh
        # What is attached to the skin moves as the skin does where it is attached.
        self.points = mesh.vertices[mesh.parents]
        self.skin = np.isin(mesh.parts, [PARTS.index("skin"), PARTS.index("lashes")])
        self._left = smooth_step((self.points[:, 0] + 0.5) / 1.0)
        self.upper = self._upper_lip_share()
        self.jaw = self._jaw_share()

    def mirrored(self, field: np.ndarray) -> np.ndarray:
        """Give the mirror image of displacements, (V, 3)."""
        return field[self.mesh.mirror] * [-1, 1, 1]

    def _upper_lip_share(self) -> np.ndarray:
        """1 above the mouth's slit, 0 below it, and a smooth passage around the corners; (V,)."""
        points = self.points
        x, y = (
            LIP_CORNER[0] - np.abs(points[:, 0]),
            points[:, 1]
            - np.interp(
                np.abs(points[:, 0]),
                self.mesh.vertices[self.mesh.upper_lip, 0],
                self.mesh.vertices[self.mesh.upper_lip, 1] - 0.012,
            ),
        )
        angle = np.abs(np.arctan2(y, x)) / np.pi
        share = 1 - 0.5 * smooth_step((angle - 0.3) / 0.7)
        near = smooth_step(np.hypot(x, y) / 0.9)
        share = 0.5 + (share - 0.5) * near
        share = np.where(y >= 0, share, 1 - share)
        both = np.zeros(len(points), bool)
        both[self.mesh.upper_lip[-1]] = True
        both[self.mesh.mirror[self.mesh.upper_lip[-1]]] = True
        return np.where(both[self.mesh.parents], 0.5, share)

    def _jaw_share(self) -> np.ndarray:
        """How much each vertex turns with the jaw; (V,) in [0, 1]."""
        x, y, z = self.points.T
        x = np.abs(x)
        lower = 1 - self.upper
        # From the corner of the mouth to below the ear the cheek is stretched between the skull and the jaw.
        height = -6.3 + 0.9 * smooth_step((x - 2.5) / 3.5)
        cheek = smooth_step((height + 1.3 - y) / 3.2)
        near_mouth = np.exp(-(((x / 3.0) ** 4) + ((y + 6.9) / 2.2) ** 4)) * smooth_step((z + 1.0) / 1.5)
        jaw = near_mouth * lower + (1 - near_mouth) * cheek
        # The throat follows a little, the neck does not.
        below = -10.6 + 0.55 * np.clip(-z, 0, 9)
        throat = smooth_step((below - y + 1.6) / 3.0) * smooth_step((0.2 - z) / 5.0)
        behind = smooth_step((-5.5 - z) / 3.0)
        jaw = jaw * (1 - throat) * (1 - behind)
        return np.where(np.isnan(self.mesh.jaw), jaw, np.nan_to_num(self.mesh.jaw))

    def stroke(
        self,
        centre: tuple[float, float, float],
        reach: tuple[float, float, float],
        pull: tuple[float, float, float],
        left_only: bool = True,
    ) -> np.ndarray:
        """Pull the skin of the left side, or of the middle, in one direction; (V, 3)."""
        weight = bump(self.points, centre, reach) * self.skin
        if left_only:
            weight = weight * self._left
        return weight[:, None] * np.array(pull)

    def both(
        self, centre: tuple[float, float, float], reach: tuple[float, float, float], pull: tuple[float, float, float]
    ) -> np.ndarray:
        """A stroke and its mirror image."""
        stroke = self.stroke(centre, reach, pull)
        return stroke + self.mirrored(stroke)

    def lips(self, pull: Callable[[np.ndarray, np.ndarray], np.ndarray], reach: float = 1.0) -> np.ndarray:
        """Move the region of the mouth.

        Args:
            pull: of |x| / (half the mouth's width), (V,), and of the share of the upper lip, (V,); gives (V, 3) for the
                left half, mirrored here for the right.
            reach: how far the movement goes beyond the lips, cm.
        """
        x, y, z = self.points.T
        outside = np.hypot(np.clip(np.abs(x) - LIP_CORNER[0], 0, None), np.clip(np.abs(y + 6.72) - 0.85, 0, None))
        weight = np.exp(-0.5 * (outside / reach) ** 2) * smooth_step((z + 1.5) / 2.5) * self.skin
        field = pull(np.abs(x) / LIP_CORNER[0], self.upper) * weight[:, None]
        field[:, 0] *= np.sign(x)
        return field

    def lids(self, upper: float, lower: float) -> np.ndarray:
        """Move the left eye's lids along the eyeball.

        Args:
            upper: how far the upper lid's edge goes toward where the lids meet; negative opens.
            lower: the same of the lower lid.
        """
        points, mesh = self.points, self.mesh
        above, below = mesh.vertices[mesh.upper_lid], mesh.vertices[mesh.lower_lid]
        # Closed lids meet low: the upper one does most of the way.
        meeting = 0.14 * above[:, :2] + 0.86 * _at(below[:, :2], above[:, 0])
        x, y, _ = points.T
        rise = np.interp(x, above[:, 0], meeting[:, 1])
        top, bottom = np.interp(x, above[:, 0], above[:, 1]), np.interp(x, below[:, 0], below[:, 1])
        distance_above, distance_below = np.clip(y - top, 0, None), np.clip(bottom - y, 0, None)
        is_upper = y > (top + bottom) / 2
        beside = np.exp(-0.5 * (np.clip(np.abs(x - 3.17) - 1.45, 0, None) / 0.3) ** 2)
        moved = (
            np.where(
                is_upper,
                upper * (rise - top) * (1 - smooth_step(distance_above / 1.25)),
                lower * (rise - bottom) * (1 - smooth_step(distance_below / 1.4)),
            )
            * beside
        )
        near = self.skin & (points[:, 0] > 0) & (np.linalg.norm(points - EYE_CENTRE, axis=1) < 3.2)
        target = points + np.where(near, moved, 0)[:, None] * [0, 1, 0]
        away = target - EYE_CENTRE
        # Where the lid slides over the ball it keeps its distance from the centre, and is a little thicker when closed.
        start = np.linalg.norm(points - EYE_CENTRE, axis=1)
        on_ball = smooth_step((LID_RADIUS + 0.55 - start) / 0.45) * near
        kept = np.maximum(start, LID_RADIUS) + 0.03 * (np.abs(moved) > 0.02)
        flat = np.hypot(away[:, 0], away[:, 1])
        depth = np.sqrt(np.maximum(kept**2 - flat**2, 0.04))
        z = EYE_CENTRE[2] + depth
        target[:, 2] += np.where(np.abs(moved) > 1e-6, on_ball, 0) * (z - target[:, 2])
        return target - points

    def turn(self, degrees: float) -> np.ndarray:
        """Where the jaw's turn takes every point, (V, 3)."""
        angle = np.radians(degrees)
        away = self.points - JAW_JOINT
        free = self.mesh.vertices - JAW_JOINT
        away = np.where(self.skin[:, None], away, free)
        y = np.cos(angle) * away[:, 1] - np.sin(angle) * away[:, 2]
        z = np.sin(angle) * away[:, 1] + np.cos(angle) * away[:, 2]
        slide = JAW_SLIDE * degrees / JAW_DEGREES
        return np.column_stack([0 * y, y - away[:, 1], z - away[:, 2]]) + slide


def _at(curve: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Points of a curve, (P, 2) with growing x, at other x; (Q, 2)."""
    return np.column_stack([x, np.interp(x, curve[:, 0], curve[:, 1])])
