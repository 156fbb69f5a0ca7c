"""Which device and which precision to use."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from emoaug import EmoaugError, check_least

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["auto", "32-true", "bf16-mixed"]
Device = Literal["auto", "cpu", "cuda"]

MOST_CHANNELS_LAST = 5_000_000
"""Parameters up to which networks are laid out channels last on a CPU. Of a training step of LSSL's compact ones that
takes a twentieth off, of a translation a twentieth to a quarter with most systems; with StarGAN's 50 million it adds
more than half to a step, most of it copies of weights between layouts."""


@dataclass(frozen=True)
class Machines:
    """How many devices train together, each in a process of its own with its share of every batch."""

    devices: int = 1
    """Devices of each machine that train together; with `--device cpu`, processes. A batch is shared among them, so
    that its size is a multiple of their number, and the result is that of one device but for the rounding of sums."""
    nodes: int = 1
    """Machines that train together. Data and run folder lie on a disk that all of them see. Give the command on each,
    with torchrun (`torchrun --nnodes 2 --nproc-per-node 4 --node-rank 0 --master-addr HOST --master-port 29500 -m
    pipelines.cli train --nodes 2 --devices 4 ...`), or as it is with NODE_RANK (0 for the first), MASTER_ADDR and
    MASTER_PORT set; SLURM's variables are read too."""

    def __post_init__(self) -> None:
        check_least(self, 1, "devices", "nodes")

    @property
    def ranks(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes


def has_fast_bfloat16(device: str) -> bool:
    """Whether bf16 is quicker than float32 here: on CUDA, and on CPUs that multiply matrices of bf16."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # With AMX or AVX512-BF16 these networks run 2 to 4 times faster in bf16; elsewhere it is emulated and slower.
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("amx_tile") or capabilities.get("avx512_bf16"))


def choose_device(device: Device) -> str:
    """`cpu` or `cuda`; EmoaugError when CUDA is asked for and absent."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise EmoaugError(
            "the device is to be cuda, and no CUDA device is available here; use cpu or auto (--device, in gain and "
            "compare --training.device)"
        )
    return device


def choose_precision(precision: Precision, device: str) -> Literal["32-true", "bf16-mixed"]:
    """The precision itself, or for `auto` the one that suits the device."""
    if precision != "auto":
        return precision
    return "bf16-mixed" if has_fast_bfloat16(device) else "32-true"


def slow_precision(precision: Precision, device: str) -> str | None:
    """What to tell somebody who asks for numbers that the device is slow with; None where it is not."""
    if precision != "bf16-mixed" or has_fast_bfloat16(device):
        return None
    return "bf16-mixed is emulated on this machine, and several times slower than 32-true"


def memory_format(network: nn.Module, device: str) -> torch.memory_format:
    """Channels last, where that is quicker: not on a CPU for networks whose weights outweigh their maps."""
    count = sum(parameter.numel() for parameter in network.parameters())
    return torch.contiguous_format if device == "cpu" and count > MOST_CHANNELS_LAST else torch.channels_last


def upload(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Copy a tensor to a device. CUDA fetches it by itself, from pinned memory, while this thread goes on."""
    if torch.device(device).type == "cuda" and not tensor.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def compile_options(device: str) -> dict[str, Any]:
    """How `torch.compile` is asked to compile networks: on CUDA into graphs, for batches that are always as large.

    Raises:
        EmoaugError: on a CPU, where its code is C++, there is no compiler.
    """
    if device == "cpu" and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")))):
        raise EmoaugError("--compile needs a C++ compiler, and none is here; install g++ or leave --compile out")
    return {"mode": "reduce-overhead" if device == "cuda" else "default", "dynamic": False}


def make_fabric(device: Device, precision: Precision, machines: Machines | None = None) -> Fabric:
    """A Lightning Fabric for one device, or for one of several that train together.

    Raises:
        EmoaugError: there are not as many devices, or not as many processes were started from without.
    """
    from lightning_fabric import Fabric

    # It announces the precision each time; the run's settings say it once.
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    chosen, machines = choose_device(device), machines or Machines()
    if chosen == "cuda" and machines.devices > torch.cuda.device_count():
        raise EmoaugError(f"--devices {machines.devices}: there are {torch.cuda.device_count()} CUDA devices here")
    started = int(os.environ["WORLD_SIZE"]) if torch.distributed.is_torchelastic_launched() else machines.ranks
    if started != machines.ranks:
        raise EmoaugError(
            f"torchrun started {started} processes, and {machines.devices} devices on each of {machines.nodes} "
            f"machines are {machines.ranks}; make --devices and --nodes fit"
        )
    return Fabric(
        accelerator=chosen,
        devices=machines.devices,
        num_nodes=machines.nodes,
        strategy="ddp" if machines.ranks > 1 else "auto",
        precision=choose_precision(precision, chosen),
    )


@contextmanager
def explained_memory(wanted: str) -> Iterator[None]:
    """Turn the errors of a device or a machine whose memory is full into EmoaugError.

    Args:
        wanted: what the memory was for, and what to do, such as "for 64 faces at a time; lower --batch-size".
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # On a CPU torch has no error of its own for it.
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(words in str(error) for words in ("allocate memory", "not enough memory")):
            raise
        raise EmoaugError(f"too little memory {wanted}. The same command goes on from what is done") from error


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch computes with one thread: how sums are split over threads changes their last bits."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def seed_from(*parts: int | str) -> int:
    """A seed, 0 to 2^63 - 1, that depends on every part and on nothing else."""
    digest = hashlib.blake2b("\0".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
