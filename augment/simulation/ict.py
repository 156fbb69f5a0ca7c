"""ICT-FaceKit, the morphable face of the USC Institute for Creative Technologies, read from what they publish.

Source: Li et al., "Learning Formation of Physically-Based Face Attributes", CVPR 2020; files at
https://github.com/USC-ICT/ICT-FaceKit (MIT), which hold one OBJ file for the mean, one for each of 100 identity modes
and one for each expression shape.
"""

import hashlib
import io
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from augment.models import cache_folder
from augment.pictures import write_bytes
from augment.simulation.eyeballs import eye_coordinates, gaze_displacement
from augment.simulation.morphable import (
    EXPRESSION_NAMES,
    PARTS,
    FaceModel,
    wrapped_coordinates,
)
from emoaug import EmoaugError

NPZ_NAME = "ict_facekit_light.npz"
"""Name of the converted file."""
ADDRESS = "https://github.com/USC-ICT/ICT-FaceKit"
"""Where the publisher has it."""


@dataclass(frozen=True)
class Layout:
    """What the OBJ files do not say: which vertices make up what."""

    parts: tuple[tuple[str, int, int], ...]
    """Name, first vertex and one past the last, in order and without gaps."""
    landmarks: tuple[int, ...]
    """Vertices of the 68 points of the Multi-PIE mark-up."""


LIGHT = Layout(
    parts=(
        ("face", 0, 9409),
        ("head_and_neck", 9409, 11248),
        ("mouth_socket", 11248, 13294),
        ("eye_socket_left", 13294, 13678),
        ("eye_socket_right", 13678, 14062),
        ("gums_and_tongue", 14062, 17039),
        ("teeth", 17039, 21451),
        ("sclera_left", 21451, 22221),
        ("iris_left", 22221, 23021),
        ("sclera_right", 23021, 23791),
        ("iris_right", 23791, 24591),
        ("lacrimal_left", 24591, 24795),
        ("lacrimal_right", 24795, 24999),
        ("eye_blend_left", 24999, 25023),
        ("eye_blend_right", 25023, 25047),
        ("eye_occlusion_left", 25047, 25199),
        ("eye_occlusion_right", 25199, 25351),
        ("eyelashes_left", 25351, 26035),
        ("eyelashes_right", 26035, 26719),
    ),
    landmarks=(
        *(1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443),  # jaw
        *(268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509),  # brows
        *(978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360),  # nose
        *(1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732),  # eyes
        *(5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841),  # outer lips
        *(5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966),  # inner lips
    ),
)
"""The "light" model of 26,719 vertices, from the publisher's README.md and `vertex_indices.json`."""

# Part of ours, and the side in cm of the cells that its vertices are gathered in; 0 keeps all. Teeth and cavity are
# seen through the lips only, a few pixels at a time. What is not named is never seen, or is glass.
_KEPT = {
    "face": ("skin", 0.0),
    "head_and_neck": ("skin", 0.0),
    "mouth_socket": ("mouth", 0.6),
    "gums_and_tongue": ("gums", 0.35),
    "teeth": ("teeth", 0.0),
    "sclera_left": ("eyeball", 0.0),
    "sclera_right": ("eyeball", 0.0),
    "eyelashes_left": ("lashes", 0.0),
    "eyelashes_right": ("lashes", 0.0),
}

_BROWS = slice(17, 27)
# The published brow points lie on the forehead's side of the ridge. With hair painted there MediaPipe's landmarker
# reads every face as surprised (mean browInnerUp 0.75 at rest, browDown 0.00 whatever the shapes do); this much lower
# it reads faces at rest as it reads photographs of them.
_BROW_DROP = 0.8
"""cm."""
# Where the hair grows the published shapes of the brow move it by 3 to 7 mm, and MediaPipe's scores hardly follow; they
# do when it moves by a centimetre or more: a brow that is all down then scores 0.5, as frowns on photographs do.
_BROW_GAIN = {"browDown": 3.0, "browInnerUp": 2.1, "browOuterUp": 1.6}


def load_ict(path: Path) -> FaceModel:
    """Load ICT-FaceKit from `ict_facekit_light.npz` or from the published folder.

    Args:
        path: the npz; a folder that has it; or the folder with `FaceXModel` in it, or `FaceXModel` itself.

    Returns:
        The face as `FaceModel`, centred, in MediaPipe's spelling, without what is never seen.

    Raises:
        EmoaugError: the path is none of these, or a file is damaged or missing.
    """
    wanted = f"Give {NPZ_NAME}, or the folder of ICT-FaceKit as {ADDRESS} has it, with FaceXModel in it."
    if path.is_dir():
        meshes = path / "FaceXModel" if (path / "FaceXModel").is_dir() else path
        if (path / NPZ_NAME).is_file():
            path = path / NPZ_NAME
        elif (meshes / "generic_neutral_mesh.obj").is_file():
            path = _converted(meshes)
        else:
            raise EmoaugError(f"{path}: no face model in this folder. {wanted}")
    if not path.is_file():
        raise EmoaugError(f"{path}: no such face model. {wanted}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return face_model(arrays)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise EmoaugError(f"{path}: not a converted ICT-FaceKit ({error}). {wanted}") from error


def face_model(arrays: dict[str, np.ndarray]) -> FaceModel:
    """Make a face model of a conversion's arrays.

    Args:
        arrays: as `read_meshes` gives them.

    Returns:
        The model.
    """
    ranges = dict(zip(arrays["part_names"].tolist(), arrays["part_ranges"].tolist(), strict=True))
    points = arrays["vertices"].astype(np.float32)
    # Each vertex stays, goes (-1), or is gathered into another that stands for its neighbourhood.
    stands_for = np.full(len(points), -1)
    # Upper and lower teeth touch at rest and must not be gathered into one: they part when the jaw opens.
    opened = arrays["expression"][arrays["expression_names"].tolist().index("jawOpen"), :, 1].astype(np.float32)
    parts = np.zeros(len(points), np.int64)
    for name, (part, cell) in _KEPT.items():
        first, last = ranges[name]
        numbers = np.arange(first, last)
        parts[first:last] = PARTS.index(part)
        if part == "eyeball":
            # The hinder half lies in the skull, however the eye turns.
            numbers = numbers[points[first:last, 2] > points[first:last, 2].mean() - 0.2]
        stands_for[numbers] = numbers[gather(points[numbers], cell, opened[numbers] < -0.5)] if cell else numbers
    landmarks = arrays["landmarks68"].astype(np.int64)
    stands_for[landmarks] = landmarks
    triangles = stands_for[arrays["triangles"]]
    a, b, c = triangles.T
    triangles = triangles[(triangles >= 0).all(1) & (a != b) & (b != c) & (c != a)]
    kept, triangles = np.unique(triangles, return_inverse=True)
    renumbered = np.full(len(points), -1)
    renumbered[kept] = np.arange(len(kept))

    vertices = torch.from_numpy(points[kept] - points[landmarks[36:48]].mean(0))
    kind = torch.from_numpy(parts[kept])
    landmarks = renumbered[landmarks]
    landmarks[_BROWS] = _lowered(vertices.numpy(), (kind == PARTS.index("skin")).numpy(), landmarks[_BROWS])
    texture = wrapped_coordinates(vertices)
    names, shapes = _arkit_shapes(arrays["expression_names"].tolist(), arrays["expression"][:, kept])
    expression = torch.from_numpy(shapes)
    for side in (vertices[:, 0] < 0, vertices[:, 0] > 0):
        eye = side & (kind == PARTS.index("eyeball"))
        texture[eye] = eye_coordinates(vertices[eye])
        # The published shapes of a glance move the lids and leave the eye as it is.
        for number, name in enumerate(names):
            if name.startswith("eyeLook"):
                expression[number, eye] = gaze_displacement(vertices[eye], name)
    return FaceModel(
        name="ict",
        vertices=vertices,
        triangles=torch.from_numpy(triangles.reshape(-1, 3).astype(np.int64)),
        identity=torch.from_numpy(arrays["identity"][:, kept].astype(np.float32)),
        expression=expression,
        expression_names=names,
        parts=kind,
        landmarks=torch.from_numpy(landmarks),
        texture_coordinates=texture,
    )


def _lowered(vertices: np.ndarray, skin: np.ndarray, brows: np.ndarray) -> np.ndarray:
    """Give the vertices of the skin that lie `_BROW_DROP` below those of the brows."""
    found = []
    for place in vertices[brows]:
        # The back of the head lies behind the brows, seen from the front.
        numbers = np.flatnonzero(skin & (np.abs(vertices[:, 2] - place[2]) < 3))
        away = vertices[numbers, :2] - place[:2] + [0, _BROW_DROP]
        found.append(numbers[np.hypot(*away.T).argmin()])
    return np.array(found)


def gather(points: np.ndarray, cell: float, group: np.ndarray) -> np.ndarray:
    """Thin a mesh by vertex clustering: of the vertices in each cell of a grid, the one nearest to their mean stays.

    Args:
        points: (V, 3), cm.
        cell: side of a cell, cm.
        group: only vertices of the same group are gathered, (V,).

    Returns:
        Number of the vertex that stands for each, (V,) int64.

    Source: Rossignac and Borrel, "Multi-resolution 3D approximations for rendering complex scenes", 1993.
    """
    keys = np.column_stack([np.floor(points / cell), group])
    cells, index, count = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    index = index.reshape(-1)
    mean = np.zeros((len(cells), 3))
    np.add.at(mean, index, points)
    distance = np.linalg.norm(points - (mean / count[:, None])[index], axis=1)
    # Sorted by cell and then by distance, the first of each cell is the nearest to its mean.
    order = np.lexsort((distance, index))
    nearest = order[np.r_[0, np.cumsum(count)[:-1]]]
    return nearest[index]


def _arkit_shapes(names: list[str], shapes: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Rename ICT's shapes to MediaPipe's, add the sides of those that MediaPipe knows as one, drop what it lacks, and
    strengthen the brows."""
    given = {name: shape.astype(np.float32) for name, shape in zip(names, shapes, strict=True)}
    found: dict[str, np.ndarray] = {}
    for name in EXPRESSION_NAMES:
        theirs = name.replace("Left", "_L").replace("Right", "_R") if name not in given else name
        if theirs in given:
            found[name] = given[theirs]
        elif f"{name}_L" in given:
            found[name] = given[f"{name}_L"] + given[f"{name}_R"]
    for name in found:
        found[name] = _BROW_GAIN.get(name.removesuffix("Left").removesuffix("Right"), 1.0) * found[name]
    return tuple(found), np.stack(list(found.values()))


def read_meshes(folder: Path, layout: Layout = LIGHT) -> dict[str, np.ndarray]:
    """Read the published OBJ files.

    Args:
        folder: with `generic_neutral_mesh.obj`, `identity000.obj` and so on, and one file an expression shape.
        layout: which vertices are what.

    Returns:
        vertices (V, 3) float32; triangles (T, 3) int32; identity (I, V, 3) and expression (E, V, 3) float16
        displacements; expression_names (E,); part_names (P,), part_ranges (P, 2) int32; landmarks68 (68,) int32.

    Raises:
        EmoaugError: a file is missing, damaged, or has another number of vertices than the mean.
    """
    vertices, triangles = read_obj(folder / "generic_neutral_mesh.obj")
    if len(vertices) != layout.parts[-1][2]:
        raise EmoaugError(
            f"{folder / 'generic_neutral_mesh.obj'}: {len(vertices):,} vertices; ICT-FaceKit light has "
            f"{layout.parts[-1][2]:,}. Take the files of {ADDRESS}"
        )
    identity: dict[str, np.ndarray] = {}
    expression: dict[str, np.ndarray] = {}
    for file in sorted(folder.glob("*.obj")):
        if file.name == "generic_neutral_mesh.obj":
            continue
        points, _ = read_obj(file, faces=False)
        if len(points) != len(vertices):
            raise EmoaugError(f"{file}: {len(points):,} vertices; the mean face beside it has {len(vertices):,}.")
        modes = identity if file.stem.startswith("identity") else expression
        modes[file.stem] = (points - vertices).astype(np.float16)
    if not identity or not expression:
        raise EmoaugError(f"{folder}: identity*.obj or the expression shapes are missing. Take all files of {ADDRESS}")
    return {
        "vertices": vertices,
        "triangles": triangles,
        "identity": np.stack(list(identity.values())),
        "expression": np.stack(list(expression.values())),
        "expression_names": np.array(list(expression)),
        "part_names": np.array([name for name, _, _ in layout.parts]),
        "part_ranges": np.array([bounds for _, *bounds in layout.parts], np.int32),
        "landmarks68": np.array(layout.landmarks, np.int32),
    }


def read_obj(path: Path, faces: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Read positions and faces of a Wavefront OBJ file; polygons are cut into fans of triangles.

    Args:
        path: the file.
        faces: read the faces too; without them it is faster.

    Returns:
        Vertices (V, 3) float32 and triangles (T, 3) int32, counted from 0; no triangles without `faces`.

    Raises:
        EmoaugError: the file cannot be read or is damaged.
    """
    points: list[str] = []
    triangles: list[tuple[int, int, int]] = []
    try:
        for line in path.read_text().splitlines():
            if line.startswith("v "):
                points.append(line[2:])
            elif faces and line.startswith("f "):
                first, *others = (int(corner.split("/")[0]) - 1 for corner in line[2:].split())
                triangles += [(first, b, c) for b, c in itertools.pairwise(others)]
        vertices = np.array(" ".join(points).split(), np.float32).reshape(len(points), -1)[:, :3]
    except (OSError, ValueError) as error:
        raise EmoaugError(f"{path}: not a readable OBJ file ({error}). Take it again from {ADDRESS}") from error
    corners = np.array(triangles, np.int32).reshape(-1, 3)
    if vertices.shape[1:] != (3,) or (len(corners) and (corners.min() < 0 or corners.max() >= len(vertices))):
        raise EmoaugError(f"{path}: a face names a vertex that the file does not have. Take it again from {ADDRESS}")
    return vertices, corners


def _converted(folder: Path) -> Path:
    """Convert the published files into the cache folder, once for each state of them."""
    files = sorted(folder.glob("*.obj"))
    state = "\n".join(f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
    target = cache_folder() / f"ict-{hashlib.sha256(state.encode()).hexdigest()[:16]}" / NPZ_NAME
    if not target.is_file():
        print(f"emoaug: converting {len(files)} OBJ files of {folder} to {target}", file=sys.stderr)
        arrays = read_meshes(folder)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, buffer.getvalue())
    return target
