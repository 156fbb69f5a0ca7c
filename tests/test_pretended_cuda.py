"""The pretended card notices what a real one would not allow, or would have to be waited for."""

import pytest
import torch
from torch import nn

from tests.pretended_cuda import CUDA, DeviceMismatch, pretended_cuda


@pytest.mark.parametrize(
    "mixed",
    [
        lambda far: far + torch.ones(3),
        lambda far: torch.cat([far, torch.ones(3)]),
        lambda far: torch.where(far > 0, far, torch.zeros(3)),
        lambda far: torch.rand(3, device=CUDA, generator=torch.Generator()),
        lambda far: torch.rand(3, generator=torch.Generator(CUDA)),
        lambda far: nn.Linear(3, 2)(far),
    ],
)
def test_two_devices_in_one_operation_are_an_error(mixed):
    with pretended_cuda(), pytest.raises(DeviceMismatch):
        mixed(torch.ones(3, device=CUDA))


@pytest.mark.parametrize(
    "waiting",
    [
        lambda far: bool(far.all()),
        lambda far: far.sum().item(),
        lambda far: far[far > 0],
        lambda far: far[:, [0, 1]],
        lambda far: far.nonzero(),
        lambda far: far.cpu(),
        lambda far: far.new_tensor([1.0, 2.0]),
        lambda far: torch.ones(3).to(CUDA, non_blocking=True),
        lambda far: torch.linalg.cholesky(far),
        lambda far: torch.linalg.pinv(far),
    ],
)
@pytest.mark.parametrize("inference", [False, True])
def test_what_the_host_waits_for_is_noted_with_its_line(waiting, inference):
    with pretended_cuda() as card, torch.inference_mode(inference):
        waiting(torch.eye(2, device=CUDA))
    assert card.waits
    assert "tests/test_pretended_cuda.py" in card.waits[0]


def test_what_nobody_waits_for_is_not_noted():
    with pretended_cuda() as card:
        far = torch.ones(3).pin_memory().to(CUDA, non_blocking=True)
        far[far > 0] = 2.0
        far = torch.where(far > 1, far, 0.0) + torch.arange(3, device=CUDA)
        made = far[torch.randperm(3, device=CUDA)]
        torch.empty(3, pin_memory=True).copy_(made, non_blocking=True)
    assert card.waits == []


def test_values_and_gradients_are_those_of_the_cpu():
    torch.manual_seed(0)
    network, seen = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True)), torch.rand(2, 3, 8, 8)
    network(seen).square().sum().backward()
    expected = network[0].weight.grad.clone()
    with pretended_cuda():
        network.zero_grad()
        network.to(CUDA)
        network(seen.to(CUDA)).square().sum().backward()
        gradient = network[0].weight.grad.cpu()
    assert torch.equal(gradient, expected)


def test_autocast_chooses_what_it_chooses_on_cuda():
    with pretended_cuda(casts=True), torch.autocast("cuda", torch.bfloat16):
        far = torch.ones(2, 8, device=CUDA)
        product = far @ far.T
        # On a CPU autocast leaves these as they are.
        assert (product.dtype, product.exp().dtype, product.sum().dtype) == (torch.bfloat16, *[torch.float32] * 2)
