"""ICT-FaceKit's published files are read as they are laid out, on a tiny folder of the same layout."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import augment.simulation.ict as ict
from augment.simulation.ict import LIGHT, Layout, face_model, gather, load_ict, read_meshes, read_obj
from augment.simulation.morphable import PARTS
from emoaug import EmoaugError

EACH = 12
"""Vertices of each part."""
TINY = Layout(
    parts=tuple((name, k * EACH, (k + 1) * EACH) for k, (name, _, _) in enumerate(LIGHT.parts)),
    landmarks=tuple(k % EACH for k in range(68)),
)


def write_obj(path, vertices, faces=()):
    lines = [
        "# a comment",
        "mtllib none.mtl",
        *(f"v {x} {y} {z}" for x, y, z in vertices.tolist()),
        "vt 0 0",
        "vn 0 0 1",
    ]
    lines += ["f " + " ".join(f"{corner + 1}/1/1" for corner in face) for face in faces]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path):
    """A folder in the published form: three identities and the movements that differ in spelling."""
    generator = np.random.default_rng(0)
    vertices = generator.uniform(-1, 1, (len(TINY.parts) * EACH, 3)).astype(np.float32).round(3)
    for name, first, last in TINY.parts:
        if name.endswith(("_left", "_right")):
            vertices[first:last, 0] = np.abs(vertices[first:last, 0]) * (1 if name.endswith("left") else -1) + 0.001
    faces = [tuple(range(first, first + 4)) for _, start, end in TINY.parts for first in range(start, end - 3)]
    meshes = tmp_path / "FaceXModel"
    meshes.mkdir()
    write_obj(meshes / "generic_neutral_mesh.obj", vertices, faces)
    moved = {}
    for name in (
        *("identity000", "identity001", "identity002", "browDown_L", "browDown_R", "browInnerUp_L", "browInnerUp_R"),
        *("cheekPuff_L", "cheekPuff_R", "cheekRaiser_L", "eyeLookOut_L", "jawOpen", "mouthLeft", "PupilDilate_L"),
    ):
        moved[name] = generator.normal(size=vertices.shape).astype(np.float32).round(3)
        write_obj(meshes / f"{name}.obj", vertices + moved[name])
    return tmp_path, vertices, moved


def test_polygons_are_cut_into_triangles_of_the_same_turn(tmp_path):
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]])
    write_obj(tmp_path / "a.obj", square, [(0, 1, 2, 3), (0, 2, 1)])
    vertices, triangles = read_obj(tmp_path / "a.obj")
    np.testing.assert_array_equal(vertices, square)
    np.testing.assert_array_equal(triangles, [[0, 1, 2], [0, 2, 3], [0, 2, 1]])


def test_published_movements_get_mediapipes_names(folder):
    path, vertices, moved = folder
    arrays = read_meshes(path / "FaceXModel", TINY)
    assert arrays["vertices"].shape == vertices.shape
    assert arrays["identity"].shape == (3, *vertices.shape)
    np.testing.assert_allclose(arrays["identity"][1], moved["identity001"], atol=2e-3)
    model = face_model(arrays)
    assert model.expression_names == (
        *("browDownLeft", "browDownRight", "browInnerUp", "cheekPuff", "eyeLookOutLeft", "jawOpen", "mouthLeft"),
    )
    # Vertices of the face itself are all kept, in order, at the front.
    face = model.expression[:, :EACH].numpy()
    np.testing.assert_allclose(face[3], (moved["cheekPuff_L"] + moved["cheekPuff_R"])[:EACH], atol=5e-3)
    np.testing.assert_allclose(face[5], moved["jawOpen"][:EACH], atol=5e-3)
    brows = face[2] / (moved["browInnerUp_L"] + moved["browInnerUp_R"])[:EACH]
    np.testing.assert_allclose(brows, np.median(brows), atol=0.05)
    origin = vertices[list(TINY.landmarks[36:48])].mean(0)
    np.testing.assert_allclose(model.vertices[:EACH], vertices[:EACH] - origin, atol=1e-5)


def test_what_is_never_seen_is_left_out_and_the_rest_knows_its_part(folder):
    path, _, _ = folder
    model = face_model(read_meshes(path / "FaceXModel", TINY))
    counts = {PARTS[k]: int((model.parts == k).sum()) for k in set(model.parts.tolist())}
    assert counts["skin"] == 2 * EACH
    assert counts["teeth"] == EACH
    assert set(counts) <= {"skin", "teeth", "gums", "mouth", "eyeball", "lashes"}
    assert model.triangles.max() < len(model.vertices)
    assert not {"tongue", "glasses", "hair"} & set(counts)


def test_the_published_folder_is_converted_once_and_a_changed_one_again(folder, tmp_path, monkeypatch, capsys):
    path, _, _ = folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ict, "read_meshes", lambda meshes: read_meshes(meshes, TINY))
    first = load_ict(path)
    assert "converting 15 OBJ files" in capsys.readouterr().err
    again = load_ict(path / "FaceXModel")
    assert capsys.readouterr().err == ""
    assert torch.equal(first.vertices, again.vertices)
    write_obj(path / "FaceXModel" / "jawForward.obj", read_obj(path / "FaceXModel" / "jawOpen.obj")[0])
    assert "jawForward" in load_ict(path).expression_names


@given(st.integers(0, 999), st.floats(0.1, 2))
def test_thinned_vertices_stand_in_for_neighbours_of_their_own_group(seed, cell):
    generator = np.random.default_rng(seed)
    points, group = generator.normal(size=(60, 3)), generator.integers(0, 2, 60)
    stands = gather(points, cell, group)
    assert (stands[stands] == stands).all()
    assert (group[stands] == group).all()
    assert (np.floor(points[stands] / cell) == np.floor(points / cell)).all()
    cells = {
        (*place, g)
        for place, g in zip(np.floor(points / cell).tolist(), group.tolist(), strict=True)
        for place in [tuple(place)]
    }
    assert len(set(stands.tolist())) == len(cells)


def test_damaged_and_foreign_files_are_one_line_errors(folder, tmp_path):
    path, vertices, _ = folder
    meshes = path / "FaceXModel"
    with pytest.raises(EmoaugError, match=r"228 vertices; ICT-FaceKit light has 26,719"):
        read_meshes(meshes)
    write_obj(meshes / "browDown_L.obj", vertices[:-1])
    with pytest.raises(EmoaugError, match=r"browDown_L\.obj: 227 vertices; the mean face beside it has 228"):
        read_meshes(meshes, TINY)
    (meshes / "browDown_L.obj").write_text("v 1 2 three\n")
    with pytest.raises(EmoaugError, match="not a readable OBJ file"):
        read_meshes(meshes, TINY)
    write_obj(meshes / "browDown_L.obj", vertices, [(0, 1, 999)])
    with pytest.raises(EmoaugError, match="a vertex that the file does not have"):
        read_obj(meshes / "browDown_L.obj")
    other = tmp_path / "other.npz"
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    other.write_bytes(buffer.getvalue())
    with pytest.raises(EmoaugError, match="not a converted ICT-FaceKit") as error:
        load_ict(other)
    assert "\n" not in str(error.value)
    other.write_bytes(b"nothing")
    with pytest.raises(EmoaugError, match="not a converted ICT-FaceKit"):
        load_ict(other)
