"""The built-in head: a procedural face model, made by this project as code."""

import functools

import numpy as np
import torch

from augment.simulation.eyeballs import eye_coordinates
from augment.simulation.head_expressions import expression_shapes
from augment.simulation.head_identity import identity_modes
from augment.simulation.head_mesh import HeadMesh, build_mesh
from augment.simulation.head_scaffold import BROW, CHIN, JAW, NOSE_BASE, NOSE_RIDGE
from augment.simulation.mesh_points import SHIPPED, embed, read_points
from augment.simulation.morphable import PARTS, FaceModel, wrapped_coordinates


@functools.cache
def built_in_head() -> FaceModel:
    """Build the head: about 6,500 vertices with skin, eyeballs, lashes, teeth, gums, tongue and ears.

    Returns:
        The model, the same one at each call. It has all movements of `EXPRESSION_NAMES` and knows where MediaPipe's
        points lie.
    """
    return embed(bare_head(), read_points(SHIPPED))


def bare_head() -> FaceModel:
    """Build the head without MediaPipe's points."""
    mesh = build_mesh()
    landmarks = landmark_vertices(mesh)
    origin = mesh.vertices[landmarks[36:48]].mean(0) * [0, 1, 1]
    vertices = torch.from_numpy(mesh.vertices - origin)
    parts = torch.from_numpy(mesh.parts)
    texture = wrapped_coordinates(vertices)
    for side in (vertices[:, 0] > 0, vertices[:, 0] < 0):
        eye = side & (parts == PARTS.index("eyeball"))
        texture[eye] = eye_coordinates(vertices[eye])
    shapes = expression_shapes(mesh)
    return FaceModel(
        name="built-in",
        vertices=vertices.float(),
        triangles=torch.from_numpy(mesh.triangles),
        identity=torch.from_numpy(np.stack(list(identity_modes(mesh).values()))).float(),
        expression=torch.from_numpy(np.stack(list(shapes.values()))).float(),
        expression_names=tuple(shapes),
        parts=parts,
        landmarks=torch.from_numpy(landmarks),
        texture_coordinates=texture.float(),
    )


def landmark_vertices(mesh: HeadMesh) -> np.ndarray:
    """Find the 68 points of the Multi-PIE mark-up: R. Gross et al., "Multi-PIE", Image and Vision Computing 2010.

    Args:
        mesh: the head.

    Returns:
        (68,): jaw from the viewer's left to right, brows, nose, eyes, outer lips, inner lips.
    """
    skin = np.flatnonzero(mesh.parts == PARTS.index("skin"))
    skin = skin[mesh.parents[skin] == skin]

    def near(places: tuple[tuple[float, ...], ...]) -> np.ndarray:
        return np.array([skin[np.linalg.norm(mesh.vertices[skin] - place, axis=1).argmin()] for place in places])

    def other(numbers: np.ndarray) -> np.ndarray:
        return mesh.mirror[numbers]

    jaw, brow, base = near(JAW), near(BROW), near(NOSE_BASE)
    upper, lower = mesh.upper_lid, mesh.lower_lid
    # From the inner corner over the upper lid to the outer corner and back below.
    left_eye = upper[[0, 6, 11, 16]], lower[[11, 5]]
    eye = np.r_[left_eye[0], left_eye[1]]
    top = near(((0.0, -5.88, 2.98), (0.5, -5.8, 2.97), (1.5, -6.22, 2.3)))
    bottom = near(((0.0, -7.66, 2.55), (0.75, -7.6, 2.42), (1.6, -7.24, 1.9)))
    slit_up, slit_down = mesh.upper_lip, mesh.lower_lip
    corner = slit_up[[-1]]
    outer = np.r_[other(corner), other(top[[2, 1]]), top, corner, bottom[::-1], other(bottom[1:])]
    inside = np.r_[
        *(other(slit_up[[-2]]), other(slit_up[[5]]), slit_up[[0, 5, -2]]),
        *(slit_down[[5, 0]], other(slit_down[[5]])),
    ]
    return np.r_[
        *(other(jaw), near((CHIN,)), jaw[::-1]),
        *(other(brow[::-1]), brow),
        *(near(NOSE_RIDGE), other(base[[2, 1]]), base),
        *(other(eye[[3, 2, 1, 0, 5, 4]]), eye),
        *(outer, inside),
    ]
