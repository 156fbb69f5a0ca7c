"""The built-in head is a sound mesh, mirrors itself, has human measures, and its movements keep their promises."""

import numpy as np
import pytest
import torch

from augment.simulation.eyeballs import eye_centre
from augment.simulation.head import built_in_head
from augment.simulation.head_mesh import HeadMesh, build_mesh
from augment.simulation.head_scaffold import EYE_RADIUS, Skin, scaffold, to_map
from augment.simulation.morphable import EXPRESSION_NAMES, PARTS, FaceModel, load_face_model

SIDED = [name for name in EXPRESSION_NAMES if name.endswith("Left")]


@pytest.fixture(scope="module")
def mesh() -> HeadMesh:
    return build_mesh()


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return built_in_head()


def moved(head: FaceModel, asked: dict[str, float], identity: torch.Tensor | None = None) -> np.ndarray:
    expression = torch.tensor([[asked.get(name, 0.0) for name in head.expression_names]])
    shape = head.shape(torch.zeros(1, 0) if identity is None else identity, expression)
    return shape[0].double().numpy()


def is_part(head: FaceModel, name: str) -> np.ndarray:
    return (head.parts == PARTS.index(name)).numpy()


def test_the_skin_passes_through_its_scaffold():
    points = scaffold()
    assert np.abs(Skin()(to_map(points)) - points).max() < 0.03


def test_the_head_has_the_promised_size_and_parts(head):
    assert 4_000 <= len(head.vertices) <= 9_000
    assert len(head.identity) >= 30
    assert head.expression_names == EXPRESSION_NAMES
    here = {PARTS[k] for k in head.parts.tolist()}
    assert here == {"skin", "eyeball", "teeth", "gums", "tongue", "mouth", "lashes"}
    assert load_face_model(None) is head
    for tensor in (head.vertices, head.identity, head.expression, head.texture_coordinates):
        assert tensor.dtype == torch.float32
        assert tensor.isfinite().all()


def test_neighbouring_triangles_agree_on_their_outside(head):
    triangles = head.triangles.numpy()
    # Lashes are seen from both sides: each of their triangles is there twice, once turned over.
    triangles = triangles[~is_part(head, "lashes")[triangles].any(1)]
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)


def test_outsides_are_outside_and_the_mouths_lining_is_seen_from_within(head):
    vertices, triangles = head.vertices.double().numpy(), head.triangles.numpy()
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    normal, middle = np.cross(b - a, c - a), (a + b + c) / 3

    def outward(part: str, centre: tuple[float, float, float], x: float = 0) -> float:
        chosen = is_part(head, part)[triangles].all(1) & (middle[:, 0] * x >= 0)
        return float((((middle - centre) * normal).sum(1)[chosen] > 0).mean())

    assert outward("skin", (0, -2, -8)) > 0.9
    assert outward("mouth", (0, -6.7, -1)) < 0.05
    assert outward("tongue", (0, -7.4, -2.2)) == 1
    for side in (1, -1):
        assert outward("eyeball", (3.15 * side, 0, -1.1), side) == 1


def test_no_triangle_is_degenerate_at_rest_or_in_any_movement(head):
    triangles = head.triangles.numpy()

    def areas(vertices: np.ndarray) -> np.ndarray:
        a, b, c = vertices[triangles].transpose(1, 0, 2)
        return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2

    assert areas(moved(head, {})).min() > 1e-3
    for name in head.expression_names:
        assert areas(moved(head, {name: 1.0})).min() > 1e-7, name


def test_the_halves_mirror_each_other_exactly(head, mesh):
    mirror = torch.from_numpy(mesh.mirror)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    assert torch.equal(head.vertices[mirror] * flip, head.vertices)
    names = head.expression_names
    for name in SIDED:
        left, right = (head.expression[names.index(n)] for n in (name, name.removesuffix("Left") + "Right"))
        assert torch.equal(left[mirror] * flip, right), name
    for name in set(names) - {n for n in names if n.endswith(("Left", "Right"))}:
        field = head.expression[names.index(name)]
        assert torch.equal(field[mirror] * flip, field), name
    images = torch.tensor([*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)])
    assert torch.equal(mirror[head.landmarks[:36]], head.landmarks[images])


def test_a_movement_of_one_side_leaves_the_other_side_alone(head):
    far = head.vertices[:, 0] < -1.5
    for name in SIDED:
        if name not in ("jawLeft", "mouthLeft"):
            assert head.expression[head.expression_names.index(name)][far].norm(dim=1).max() < 0.03, name


def test_the_mean_face_has_human_measures(head):
    """Means of young adult women and men, and what three standard deviations of one of them allow (Farkas 1994)."""
    points = head.vertices[head.landmarks].double()
    for first, second, mean, allowed in (
        (39, 42, 3.3, 0.7),  # between the inner corners of the eyes
        (36, 45, 8.9, 0.9),  # between their outer corners
        (48, 54, 5.1, 0.9),  # the mouth's width
        (27, 33, 5.2, 0.9),  # the nose's length
        (33, 30, 1.9, 0.5),  # its depth
        (27, 8, 11.9, 1.5),  # nasion to chin
        (33, 8, 6.7, 1.2),  # nose to chin
        (0, 16, 13.6, 1.5),  # the face's width
    ):
        assert float((points[first] - points[second]).norm()) == pytest.approx(mean, abs=allowed), (first, second)
    eyes = head.vertices[is_part(head, "eyeball")]
    assert float(2 * eyes[eyes[:, 0] > 0][:, 0].mean()) == pytest.approx(6.3, abs=0.4)
    np.testing.assert_allclose(points[36:48].mean(0), 0, atol=1e-6)


def test_people_differ_as_much_as_people_do(head):
    """Standard deviations of measures over random identities, against those of young adults (Farkas 1994), cm."""
    identity = torch.randn(500, len(head.identity), generator=torch.Generator().manual_seed(0))
    points = head.vertices[head.landmarks] + torch.einsum("ni,ilc->nlc", identity, head.identity[:, head.landmarks])
    for first, second, deviation in (
        *((39, 42, 0.27), (36, 45, 0.42), (48, 54, 0.38), (27, 33, 0.36), (31, 35, 0.26), (27, 8, 0.65), (0, 16, 0.5)),
        *((4, 12, 0.6), (33, 51, 0.22)),
    ):
        found = float((points[:, first] - points[:, second]).norm(dim=1).std())
        assert deviation / 1.6 < found < 1.6 * deviation, (first, second, found)


def test_the_skin_stays_in_front_of_the_eyeballs_however_the_lids_move(head, mesh):
    own = torch.from_numpy(mesh.parents == np.arange(len(mesh.parents)))
    skin = (head.parts == PARTS.index("skin")) & own
    triangles = head.triangles[skin[head.triangles].all(1)].numpy()
    eye = head.vertices[(head.parts == PARTS.index("eyeball")) & (head.vertices[:, 0] > 0)].double()
    centre, radius = eye_centre(eye)
    assert radius == pytest.approx(EYE_RADIUS, abs=1e-3)
    for name in (
        "eyeBlinkLeft",
        "eyeSquintLeft",
        "cheekSquintLeft",
        "eyeWideLeft",
        "eyeLookDownLeft",
        "eyeLookUpLeft",
        "browDownLeft",
    ):
        for intensity in (0.0, 0.25, 0.5, 0.75, 1.0):
            vertices = moved(head, {name: intensity}) - centre.numpy()
            middles = vertices[triangles].mean(1)
            for points in (vertices[skin.numpy()], middles):
                in_front = points[points[:, 2] > 0]
                assert np.linalg.norm(in_front, axis=1).min() > EYE_RADIUS + 0.01, (name, intensity)


def test_a_blink_closes_the_lids_and_half_a_blink_closes_them_half(head, mesh):
    def gap(intensity: float) -> np.ndarray:
        vertices = moved(head, {"eyeBlinkLeft": intensity})
        upper, lower = vertices[mesh.upper_lid], vertices[mesh.lower_lid]
        return upper[:, 1] - np.interp(upper[:, 0], lower[:, 0], lower[:, 1])

    assert np.abs(gap(1.0)).max() < 0.1
    assert gap(0.0).max() == pytest.approx(1.08, abs=0.05)
    np.testing.assert_allclose(gap(0.5), gap(0.0) / 2, atol=0.05)


def test_an_open_jaw_parts_the_lips_by_three_centimetres_and_takes_lower_teeth_and_tongue_along(head, mesh):
    rest, opened = moved(head, {}), moved(head, {"jawOpen": 1.0})
    middle = [mesh.upper_lip[0], mesh.lower_lip[0]]
    assert np.linalg.norm(rest[middle[0]] - rest[middle[1]]) < 0.05
    assert np.linalg.norm(opened[middle[0]] - opened[middle[1]]) == pytest.approx(3.0, abs=0.15)
    shift = opened - rest
    teeth = is_part(head, "teeth")
    upper, lower = teeth & (mesh.jaw == 0), teeth & (mesh.jaw == 1)
    assert not shift[upper].any()
    front = lower & (rest[:, 2] > 0)
    assert shift[front, 1].max() < -1.5
    assert shift[is_part(head, "tongue"), 1].max() < -0.5
    # A turn about an axis through the joints keeps the teeth's distances to each other nearly as they are.
    a, b = rest[lower], opened[lower]
    before, after = (np.linalg.norm(p[:, None] - p[None], axis=2) for p in (a, b))
    assert np.abs(before - after).max() < 0.05 * before.max()


def test_closing_the_lips_over_an_open_jaw_brings_them_together(head, mesh):
    vertices = moved(head, {"jawOpen": 0.5, "mouthClose": 0.5})
    apart = np.linalg.norm(vertices[mesh.upper_lip[:12]] - vertices[mesh.lower_lip[:12]], axis=1)
    opened = moved(head, {"jawOpen": 0.5})
    before = np.linalg.norm(opened[mesh.upper_lip[:12]] - opened[mesh.lower_lip[:12]], axis=1)
    assert apart.max() < 0.25 * before.max()


@pytest.mark.parametrize(
    ("name", "landmark", "axis", "least"),
    [
        ("mouthSmileLeft", 54, (1, 1, -1), 0.5),  # out, up and back
        ("mouthFrownLeft", 54, (0, -1, 0), 0.6),
        ("mouthStretchLeft", 54, (1, -1, -1), 0.2),
        ("mouthPucker", 54, (-1, 0, 1), 0.4),
        ("browDownLeft", 22, (-1, -1, 0), 0.2),
        ("browInnerUp", 22, (0, 1, 0), 0.6),
        ("browOuterUpLeft", 25, (0, 1, 0), 0.7),
        ("noseSneerLeft", 35, (0, 1, 0), 0.15),
        ("mouthUpperUpLeft", 52, (0, 1, 0), 0.4),
        ("mouthLowerDownLeft", 56, (0, -1, 0), 0.4),
        ("jawForward", 8, (0, 0, 1), 0.5),
        ("jawLeft", 8, (1, 0, 0), 0.6),
        ("jawRight", 8, (-1, 0, 0), 0.6),
        ("mouthLeft", 51, (1, 0, 0), 0.6),
        ("mouthRight", 51, (-1, 0, 0), 0.6),
        ("mouthShrugLower", 57, (0, 1, 0), 0.15),
        ("mouthShrugUpper", 51, (0, 1, 0), 0.2),
    ],
)
def test_movements_pull_where_their_muscles_pull(head, name, landmark, axis, least):
    shift = head.expression[head.expression_names.index(name)][head.landmarks[landmark]]
    for component, direction in zip(shift.tolist(), axis, strict=True):
        if direction:
            assert component * direction >= least, (name, shift)


def test_eyeballs_keep_their_form_in_every_person_and_turn_in_no_movement_but_glances(head):
    eye = is_part(head, "eyeball") & (head.vertices[:, 0] > 0).numpy()
    modes = head.identity[:, eye]
    np.testing.assert_allclose(modes - modes.mean(1, keepdim=True), torch.zeros_like(modes), atol=1e-5)
    for name, field in zip(head.expression_names, head.expression, strict=True):
        assert bool(field[eye].any()) == (name.startswith("eyeLook") and name.endswith("Left")), name


def test_no_movement_reaches_the_crown_or_the_back_of_the_head(head):
    far = (head.vertices[:, 1] > 8) | (head.vertices[:, 2] < -13)
    assert head.expression[:, far].abs().max() < 0.02
