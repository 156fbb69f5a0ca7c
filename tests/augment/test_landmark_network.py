import pytest
import torch
from torch.nn import functional as F

from augment.landmark_network import LandmarkNetwork
from augment.landmarks import REGIONS, heat_maps


@pytest.mark.parametrize("size", [32, 48, 64])
def test_it_draws_a_heat_map_of_the_face_and_parts_at_half_the_side(size):
    heat, parts = LandmarkNetwork()(torch.rand(2, 3, size, size) * 2 - 1)
    assert heat.shape == (2, 1, size, size)
    assert heat.abs().max() <= 1
    assert parts.shape == (2, 1 + len(REGIONS), size // 2, size // 2)


def test_it_learns_where_spots_lie_and_finds_them_in_pictures_it_never_saw():
    torch.manual_seed(0)
    points = torch.rand(72, 3, 2) * 1.4 - 0.7
    spots = heat_maps(points, 32, 0.08, True)
    wanted = heat_maps(points, 32, 0.03, True)
    faces = 0.5 * spots.expand(-1, 3, -1, -1) + 0.2 * torch.randn(72, 3, 32, 32)
    network = LandmarkNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for step in range(160):
        batch = torch.arange(8) + 8 * (step % 8)
        loss = F.mse_loss(network(faces[batch])[0], wanted[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        drawn = network(faces[64:])[0]
    blank = F.mse_loss(wanted[64:].mean().expand_as(drawn), wanted[64:])
    assert F.mse_loss(drawn, wanted[64:]) < 0.5 * blank
