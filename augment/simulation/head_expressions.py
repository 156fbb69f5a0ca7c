"""What the built-in head can do with its face: a displacement field for each of ARKit's movements.

Skin moves by smooth strokes (a centre, a reach, a pull), lids by a rule that carries their edges along the eyeball, the
jaw by a turn about its joints. What a muscle pulls where follows the action units of P. Ekman, W. V. Friesen and J. C.
Hager, "Facial Action Coding System", 2002, and the descriptions of Apple's ARKit (ARFaceAnchor.BlendShapeLocation); how
far it pulls was set so that MediaPipe's scores follow.
"""

import numpy as np
import torch

from augment.simulation.eyeballs import gaze_displacement
from augment.simulation.head_fields import JAW_DEGREES, LIP_CORNER, Fields, smooth_step
from augment.simulation.head_mesh import HeadMesh
from augment.simulation.morphable import EXPRESSION_NAMES, PARTS


def expression_shapes(mesh: HeadMesh) -> dict[str, np.ndarray]:
    """Give the displacement of every movement in `EXPRESSION_NAMES` at full intensity, (V, 3), cm."""
    movements = Movements(mesh)
    return {name: movements.shape(name) for name in EXPRESSION_NAMES}


class Movements(Fields):
    """The movements of one head: one method each, for the left side where there are two."""

    def shape(self, name: str) -> np.ndarray:
        """Give the displacement of one of `EXPRESSION_NAMES` at full intensity, (V, 3), cm."""
        if name.endswith("Right"):
            return self.mirrored(self.shape(name.removesuffix("Right") + "Left"))
        field = getattr(self, "_" + "".join("_" + c.lower() if c.isupper() else c for c in name))()
        # A stroke's tail has no end; what moves by less than a thousandth of a millimetre stays.
        field = np.where(np.abs(field) < 1e-4, 0.0, field)
        return field if name.endswith("Left") else (field + self.mirrored(field)) / 2

    # Lids and eyes

    def _eye_blink_left(self) -> np.ndarray:
        return self.lids(1.0, 1.0) + self.stroke((3.3, 2.0, 1.2), (1.2, 0.5, 2.0), (0, -0.06, 0))

    def _eye_wide_left(self) -> np.ndarray:
        return self.lids(-0.34, -0.5)

    def _eye_squint_left(self) -> np.ndarray:
        cheek = self.stroke((3.4, -1.3, 0.8), (1.3, 0.6, 2.0), (0, 0.18, 0.08))
        return self.lids(0.15, 1.4) + cheek

    def _glance(self, name: str, upper: float, lower: float) -> np.ndarray:
        field = self.lids(upper, lower)
        eye = (self.mesh.parts == PARTS.index("eyeball")) & (self.mesh.vertices[:, 0] > 0)
        field[eye] = gaze_displacement(torch.from_numpy(self.mesh.vertices[eye]), name).numpy()
        return field

    def _eye_look_up_left(self) -> np.ndarray:
        return self._glance("eyeLookUpLeft", -0.22, 0.3)

    def _eye_look_down_left(self) -> np.ndarray:
        return self._glance("eyeLookDownLeft", 0.42, -0.9)

    def _eye_look_in_left(self) -> np.ndarray:
        return self._glance("eyeLookInLeft", 0.0, 0.0)

    def _eye_look_out_left(self) -> np.ndarray:
        return self._glance("eyeLookOutLeft", 0.0, 0.0)

    # Brows, cheeks, nose

    def _brow_down_left(self) -> np.ndarray:
        inner = self.stroke((1.4, 1.7, 1.7), (1.0, 0.8, 2.0), (-0.38, -0.7, 0.18))
        outer = self.stroke((4.0, 1.9, 1.2), (1.8, 0.75, 2.0), (-0.2, -1.0, 0.2))
        # The fold above the eye is pushed down and narrows it.
        return inner + outer + self.lids(0.05, 0.2)

    def _brow_inner_up(self) -> np.ndarray:
        return self.both((1.4, 2.0, 1.8), (1.35, 1.3, 2.5), (0.0, 1.0, 0.06))

    def _brow_outer_up_left(self) -> np.ndarray:
        outer = self.stroke((4.6, 2.0, 0.6), (1.5, 1.2, 2.5), (0.0, 1.0, -0.14))
        middle = self.stroke((2.9, 2.3, 1.4), (1.1, 1.2, 2.5), (0.0, 0.34, 0.0))
        return outer + middle

    def _cheek_puff(self) -> np.ndarray:
        cheek = self.both((4.0, -5.8, 0.6), (1.7, 1.7, 2.6), (0.75, 0.0, 0.75))
        lips = self.lips(lambda x, up: np.column_stack([0 * x, 0.05 * (2 * up - 1), 0.22 + 0 * x]), 1.0)
        return cheek + lips

    def _cheek_squint_left(self) -> np.ndarray:
        return self.lids(0.06, 0.8) + self.stroke((3.7, -1.9, 0.6), (1.5, 0.9, 2.2), (0.05, 0.42, 0.22))

    def _nose_sneer_left(self) -> np.ndarray:
        wing = self.stroke((1.5, -3.5, 2.1), (0.75, 1.1, 1.4), (0.1, 0.42, 0.02))
        fold = self.stroke((2.1, -3.4, 1.4), (0.9, 1.2, 1.5), (0.0, 0.22, 0.12))
        lip = self.stroke((1.4, -5.9, 2.4), (0.9, 0.8, 1.2), (0.05, 0.32, 0.08)) * self.upper[:, None]
        root = self.stroke((0.8, 0.9, 1.2), (0.7, 0.9, 1.2), (-0.03, -0.2, 0.08))
        return wing + fold + lip + root

    # Jaw

    def _jaw_open(self) -> np.ndarray:
        opened = self.turn(JAW_DEGREES) * self.jaw[:, None]
        # The corners come in a little, the cheeks with them, as the ring around the mouth becomes round.
        return opened + self.both((3.0, -7.2, 1.0), (1.2, 1.6, 1.6), (-0.28, 0.0, 0.05))

    def _jaw_forward(self) -> np.ndarray:
        return self.jaw[:, None] * np.array([0, 0, 0.7])

    def _jaw_left(self) -> np.ndarray:
        return self.jaw[:, None] * np.array([0.85, 0, 0])

    # Mouth

    def _mouth_close(self) -> np.ndarray:
        """Bring the lips together over an open jaw: half of what it opened from each side."""
        opened = self._jaw_open()
        x, y, z = self.points.T
        lip = np.exp(-0.5 * (np.clip(np.abs(y + 6.7) - 0.5, 0, None) / 0.7) ** 2) * np.exp(-((np.abs(x) / 3.2) ** 6))
        lip = lip * self.skin * smooth_step((z + 0.5) / 1.5)
        middle = self.turn(JAW_DEGREES)[self.mesh.lower_lip[0]]
        meeting = 0.4 * middle * (1 - 0.25 * (np.abs(x[:, None]) / LIP_CORNER[0]) ** 2)
        return (meeting - opened) * lip[:, None]

    def _mouth_smile_left(self) -> np.ndarray:
        corner = self.stroke((2.55, -6.6, 1.5), (0.95, 0.85, 1.8), (0.75, 0.95, -0.55))
        middle = self.stroke((1.3, -6.6, 2.2), (0.7, 0.9, 1.5), (0.22, 0.1, -0.22))
        cheek = self.stroke((3.8, -3.2, 0.8), (1.5, 1.5, 2.2), (0.12, 0.42, 0.3))
        fold = self.stroke((3.3, -5.0, 1.0), (0.9, 1.0, 1.8), (0.3, 0.35, 0.05))
        return corner + middle + cheek + fold + self.lids(0.03, 0.25)

    def _mouth_frown_left(self) -> np.ndarray:
        corner = self.stroke((2.6, -6.8, 1.3), (0.8, 0.75, 1.6), (0.3, -0.85, -0.2))
        below = self.stroke((2.8, -8.0, 0.9), (0.9, 1.0, 1.6), (0.1, -0.25, 0.05))
        chin = self.stroke((0.0, -8.6, 2.0), (1.3, 1.0, 1.8), (0, 0.12, 0.05)) / 2
        return corner + below + chin

    def _mouth_dimple_left(self) -> np.ndarray:
        return self.stroke((2.7, -6.6, 1.3), (0.8, 0.7, 1.6), (0.42, 0.18, -0.5))

    def _mouth_stretch_left(self) -> np.ndarray:
        corner = self.stroke((2.6, -6.8, 1.4), (1.0, 0.9, 1.8), (0.85, -0.35, -0.55))
        neck = self.stroke((3.6, -8.8, 0.0), (1.4, 1.2, 2.2), (0.3, -0.2, -0.1))
        return corner + neck

    def _mouth_upper_up_left(self) -> np.ndarray:
        lip = self.stroke((1.2, -6.3, 2.6), (0.95, 0.8, 1.6), (0.04, 0.85, 0.06)) * self.upper[:, None]
        fold = self.stroke((2.2, -4.4, 1.6), (1.0, 1.1, 1.6), (0.1, 0.3, 0.12))
        return lip + fold

    def _mouth_lower_down_left(self) -> np.ndarray:
        lip = self.stroke((1.4, -7.1, 2.3), (1.1, 0.8, 1.6), (0.2, -0.95, 0.0)) * (1 - self.upper)[:, None]
        return lip + self.stroke((1.4, -8.4, 1.6), (1.0, 0.7, 1.5), (0.05, -0.2, 0.05))

    def _mouth_press_left(self) -> np.ndarray:
        up = (2 * self.upper - 1)[:, None]
        pressed = self.stroke((1.3, -6.7, 2.3), (1.0, 0.6, 1.5), (0, 1, 0)) * -0.16 * up
        back = self.stroke((1.3, -6.7, 2.3), (1.0, 0.45, 1.5), (0.05, 0, -0.16))
        corner = self.stroke((2.6, -6.7, 1.3), (0.6, 0.6, 1.4), (0.12, 0.1, -0.15))
        return pressed + back + corner

    def _mouth_pucker(self) -> np.ndarray:
        return self.lips(
            lambda x, up: np.column_stack(
                [
                    -1.25 * np.minimum(x, 1.2) * smooth_step(x / 0.9) ** 0.5,
                    0.12 * (2 * up - 1) * (1 - np.minimum(x, 1) ** 2),
                    0.75 - 0.1 * np.minimum(x, 1.3),
                ]
            ),
            0.85,
        )

    def _mouth_funnel(self) -> np.ndarray:
        return self.lips(
            lambda x, up: np.column_stack(
                [
                    -0.95 * np.minimum(x, 1.2) * smooth_step(x / 0.9) ** 0.5,
                    0.42 * (2 * up - 1) * np.clip(1 - x**2, 0, 1),
                    0.75 - 0.1 * np.minimum(x, 1.3),
                ]
            ),
            0.85,
        )

    def _mouth_left(self) -> np.ndarray:
        x = self.points[:, 0]
        weight = self.lips(lambda a, up: np.column_stack([0 * a, 0 * a, 1 + 0 * a]), 1.2)[:, 2]
        side = smooth_step((x + 3.2) / 6.4)
        return weight[:, None] * np.column_stack([0.75 + 0.35 * side, 0.1 * side, -0.25 * x / LIP_CORNER[0]])

    def _roll(self, lower: bool) -> np.ndarray:
        """Draw the red of a lip in over the teeth."""
        share = (1 - self.upper) if lower else self.upper
        y = self.points[:, 1]
        border = -7.65 if lower else -5.85
        direction = 1.0 if lower else -1.0
        red = np.exp(-0.5 * ((y + 6.7 + 0.45 * direction) / 0.45) ** 2)
        skin = np.exp(-0.5 * ((y - border + 0.1 * direction) / 0.55) ** 2)

        def pull(x: np.ndarray, _: np.ndarray) -> np.ndarray:
            middle = np.clip(1 - x**2, 0, 1) ** 0.5 * smooth_step((share - 0.5) * 2)
            return np.column_stack([0 * x, direction * 0.32 * skin * middle, -(0.42 * red + 0.12 * skin) * middle])

        return self.lips(pull, 0.7)

    def _mouth_roll_lower(self) -> np.ndarray:
        return self._roll(lower=True)

    def _mouth_roll_upper(self) -> np.ndarray:
        return self._roll(lower=False)

    def _mouth_shrug_lower(self) -> np.ndarray:
        lip = self.both((0.9, -7.4, 2.4), (1.2, 0.7, 1.6), (0.0, 0.36, 0.2)) * (1 - self.upper)[:, None]
        chin = self.stroke((0.0, -9.6, 2.1), (1.6, 0.9, 1.8), (0, 0.4, 0.1), left_only=False)
        return lip + chin

    def _mouth_shrug_upper(self) -> np.ndarray:
        return self.both((0.9, -6.2, 2.7), (1.3, 0.75, 1.6), (0.0, 0.36, 0.12)) * self.upper[:, None]
