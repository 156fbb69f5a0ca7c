"""Points tied to a surface lie on it, where a slow search finds them, and the shipped ones fit the built-in head."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from augment.landmarks import FACE_49, REGIONS
from augment.simulation.correspondence import with_landmarks
from augment.simulation.head import built_in_head
from augment.simulation.mesh_points import IRISES, SHIPPED, closest_weights, embed
from augment.simulation.morphable import PARTS


@given(st.integers(0, 10_000))
def test_the_closest_point_of_a_triangle_is_what_an_optimiser_finds(seed):
    generator = np.random.default_rng(seed)
    corners, point = generator.normal(size=(3, 3)), generator.normal(size=3) * 2
    weights = closest_weights(torch.from_numpy(point), torch.from_numpy(corners)).numpy()
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    found = min(
        minimize(
            lambda w: ((np.array([1 - w[0] - w[1], w[0], w[1]]) @ corners - point) ** 2).sum(),
            start,
            bounds=[(0, 1), (0, 1)],
            constraints={"type": "ineq", "fun": lambda w: 1 - w.sum()},
            method="SLSQP",
            options={"ftol": 1e-12},
        ).fun
        for start in ((0.3, 0.3), (0.9, 0.05))
    )
    assert ((weights @ corners - point) ** 2).sum() == pytest.approx(found, abs=1e-5)


@pytest.fixture(scope="module")
def head():
    return built_in_head()


def test_points_on_the_surface_stay_where_they_are(head):
    generator = torch.Generator().manual_seed(0)
    front = (head.vertices[:, 2] > -2)[head.triangles].all(1)
    parts = head.parts[head.triangles]

    def some(name: str, count: int) -> torch.Tensor:
        numbers = (front & (parts == PARTS.index(name)).all(1)).nonzero().squeeze(1)
        chosen = head.triangles[numbers[torch.randint(len(numbers), (count,), generator=generator)]]
        weights = torch.rand(count, 3, generator=generator)
        return (head.vertices[chosen] * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1)

    points = torch.cat([some("skin", IRISES.start), some("eyeball", IRISES.stop - IRISES.start)])
    tied = embed(head, points)
    torch.testing.assert_close(tied.landmarks478(head.vertices[None])[0], points, atol=1e-4, rtol=0)


def test_the_shipped_points_lie_on_skin_and_eyeballs_of_the_built_in_head(head):
    with np.load(SHIPPED) as file:
        points = torch.from_numpy(file["points"])
    assert points.shape == (478, 3)
    tied = head.landmarks478(head.vertices[None])[0]
    # Medians over many people need not lie on the surface, but near it.
    assert (tied - points).norm(dim=1).max() < 0.25
    on = head.parts[head.triangles[head.mesh_triangles]]
    assert (on[IRISES] == PARTS.index("eyeball")).all()
    assert (on[: IRISES.start] == PARTS.index("skin")).all()
    assert with_landmarks(head) is head


def test_the_shipped_points_agree_with_the_mark_up_where_both_name_the_same_place(head):
    points = head.landmarks478(head.vertices[None])[0]
    marks = head.vertices[head.landmarks]
    # Tip of the nose, corners of the eyes and the mouth, chin, lips' middles.
    for mesh, mark, allowed in (
        *((4, 30, 0.7), (33, 36, 0.5), (133, 39, 0.5), (362, 42, 0.5), (263, 45, 0.5), (61, 48, 0.5), (291, 54, 0.5)),
        *((152, 8, 0.9), (0, 51, 0.5), (17, 57, 0.5), (13, 62, 0.4), (14, 66, 0.4)),
    ):
        assert float((points[mesh] - marks[mark]).norm()) < allowed, (mesh, mark)
    left_iris = points[468:478, 0] > 0
    assert left_iris.sum() == 5
    eyes = points[torch.tensor(REGIONS["eyes"][0])]
    assert eyes[:, 0].max() < 0
    assert len(points[list(FACE_49)].unique(dim=0)) == 49


def test_points_follow_the_face(head):
    names = head.expression_names
    expression = torch.zeros(2, len(names))
    expression[1, names.index("jawOpen")] = 1
    rest, opened = head.landmarks478(head.shape(torch.zeros(2, 0), expression))
    gap = (opened[13] - opened[14]).norm()
    assert 2.0 < float(gap) < 3.5
    assert float((rest[13] - rest[14]).norm()) < 0.5
    assert torch.equal(rest[10], opened[10])
