"""The smallest training, of LSSL on drawn faces, for tests of the trainer."""

from dataclasses import replace

import torch
from safetensors.torch import load_file

from augment.systems import get_system
from augment.training import TrainingSettings

SYSTEM = replace(
    get_system("lssl").configurations["compact"],
    size=32,
    width=8,
    depth=2,
    widest=16,
    residual_blocks=1,
    critic_width=8,
)
SETTINGS = TrainingSettings(
    steps=12, batch_size=4, sample_every=6, save_every=4, device="cpu", precision="32-true", learning_rate=1e-3
)


def weights(run):
    return load_file(run / "checkpoint" / "weights.safetensors")


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
