"""A morphable face: a mean head, identity modes and expression shapes under ARKit's names, behind one class.

Space: centimetres, x to the viewer's right (the person's left), y up, z toward the viewer; the origin is the mean of
the mean face's twelve eye landmarks.
"""

import functools
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.action_units import BLENDSHAPE_NAMES
from emoaug import EmoaugError

PARTS = ("skin", "eyeball", "teeth", "gums", "tongue", "mouth", "lashes", "glasses", "hair")
"""What a vertex belongs to. "mouth" is the lining of the mouth's cavity; models bring no "glasses" and no "hair"."""

EXPRESSION_NAMES = BLENDSHAPE_NAMES[1:]
"""The 51 movements that MediaPipe scores, as it spells them and in its order. Left is the person's left, x > 0."""

AXIS_DEPTH = -7.5
"""z, cm, of the vertical axis that the skin's texture is wrapped around."""
TEXTURE_TOP = 12.0
"""y, cm, of the skin texture's upper edge."""
TEXTURE_BOTTOM = -14.0
"""y, cm, of the skin texture's lower edge."""


@dataclass(frozen=True, eq=False)
class FaceModel:
    """A linear face: mean + identity modes + expression shapes. V vertices, T triangles, I modes, E shapes."""

    name: str
    """"built-in" or "ict"."""
    vertices: Tensor
    """Mean shape, cm, (V, 3) float32."""
    triangles: Tensor
    """Vertex numbers, counter-clockwise seen from outside, (T, 3) int64."""
    identity: Tensor
    """Displacement of one standard deviation of each mode, cm, (I, V, 3) float32."""
    expression: Tensor
    """Displacement at full intensity of each shape, cm, (E, V, 3) float32."""
    expression_names: tuple[str, ...]
    """Names of the E shapes, as in `EXPRESSION_NAMES`; what a model cannot do is absent."""
    parts: Tensor
    """Number in `PARTS` of what each vertex belongs to, (V,) int64."""
    landmarks: Tensor
    """Vertices of the 68 points of the Multi-PIE mark-up, (68,) int64."""
    texture_coordinates: Tensor
    """(V, 2) in [0, 1]. Of eyeballs `eyeballs.eye_coordinates`, of all else `wrapped_coordinates`."""
    mesh_triangles: Tensor | None = None
    """Triangle that each of MediaPipe's 478 points lies on, (478,) int64; None where nobody has looked yet."""
    mesh_weights: Tensor | None = None
    """Barycentric weights of the 478 points in their triangles, (478, 3) float32."""

    def shape(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Give people their faces.

        Args:
            identity: how far along each of the first modes, standard deviations, (N, up to I).
            expression: intensity of each shape, 0 to 1 (beyond is allowed), (N, E).

        Returns:
            Vertices, cm, (N, V, 3).
        """
        modes = self.identity[: identity.shape[1]]
        basis = torch.cat([modes, self.expression]).flatten(1)
        moved = torch.cat([identity, expression], 1) @ basis
        return self.vertices + moved.view(len(identity), *self.vertices.shape)

    def landmarks478(self, vertices: Tensor) -> Tensor:
        """Place MediaPipe's 478 points on moved vertices, without MediaPipe.

        Args:
            vertices: (N, V, 3), in any space that is affine to the model's.

        Returns:
            (N, 478, 3), in the same space.

        Raises:
            ValueError: the model has no `mesh_triangles`; `augment.simulation.correspondence` finds them.
        """
        if self.mesh_triangles is None or self.mesh_weights is None:
            raise ValueError(f"the face model {self.name} does not know where MediaPipe's points lie")
        corners = vertices[:, self.triangles[self.mesh_triangles]]
        return (corners * self.mesh_weights[..., None]).sum(2)

    def to(self, device: torch.device | str) -> "FaceModel":
        """Give the same model on another device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)


def wrapped_coordinates(vertices: Tensor) -> Tensor:
    """Wrap a texture around a head like a label around a bottle; every model uses the same bottle.

    Args:
        vertices: cm, (..., 3).

    Returns:
        (..., 2) in [0, 1]: u = 0.5 + atan2(x, z - `AXIS_DEPTH`) / 2π, so the nose is in the middle and the person's
        left is at larger u; v runs from 0 at y = `TEXTURE_TOP` downwards to 1 at y = `TEXTURE_BOTTOM`.
    """
    x, y, z = vertices.unbind(-1)
    u = 0.5 + torch.atan2(x, z - AXIS_DEPTH) / (2 * math.pi)
    v = (TEXTURE_TOP - y) / (TEXTURE_TOP - TEXTURE_BOTTOM)
    return torch.stack([u, v], -1).clamp(0, 1)


@functools.lru_cache(maxsize=4)
def load_face_model(path: Path | None = None) -> FaceModel:
    """Load a face model.

    Args:
        path: None for the built-in head; `ict_facekit_light.npz`, or a folder that has it; or ICT-FaceKit as published
            (the folder with `FaceXModel` in it, or that folder), which is converted once into the cache folder.

    Returns:
        The model, on the CPU. The same one when asked again in one process.

    Raises:
        EmoaugError: the path is none of these, or something in it is damaged. Where MediaPipe's points must be found
            and cannot be, a line on stderr says so and the model is without them.
    """
    # Imported here: both build models and therefore import this module.
    if path is None:
        from augment.simulation.head import built_in_head

        return built_in_head()
    from augment.simulation.correspondence import with_landmarks
    from augment.simulation.ict import load_ict

    model = load_ict(path)
    try:
        return with_landmarks(model)
    except EmoaugError as error:
        print(f"emoaug: faces of {path} will have no landmarks ({error})", file=sys.stderr)
        return model
