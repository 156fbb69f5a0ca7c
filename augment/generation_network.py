"""Put chunks of faces through a network from several threads, so that each chunk's result is the same to the bit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from augment.systems.base import Translator
from emoaug import EmoaugError

CHUNK = {"cpu": 16, "cuda": 128}
"""Faces that go through the network together, by kind of device.

Always as many, and each at the place that its row number gives it: the kernels that libraries choose, and with them
the last bits of a result, depend on the batch size, and the files must not. A core is as quick with 16 as with more;
a GPU would spend its time on beginning kernels.
"""

_ONE_CHUNK = threading.Lock()
"""Held while a chunk's kernels are queued on a GPU, so that its memory holds what one chunk needs, not one a thread."""


def translate_chunk(
    translator: Translator, pictures: np.ndarray, asked: np.ndarray, device: str, precision: str
) -> tuple[np.ndarray, np.ndarray]:
    """Translate one chunk of pictures, or recombine it with as many exemplars.

    Args:
        translator: the system, on its device, in `reproducible`.
        pictures: uint8 RGB, (chunk, size, size, 3).
        asked: conditions, (chunk, K) float32 in [0, 1]; or exemplars, uint8 RGB, (chunk, size, size, 3).
        device: cpu or cuda.
        precision: 32-true or bf16-mixed.

    Returns:
        Pictures, uint8 RGB (chunk, size, size, 3), and which of them are finite, (chunk,) bool.

    Raises:
        EmoaugError: the system gave another shape.
    """
    given = torch.from_numpy(pictures), torch.from_numpy(asked)
    if device == "cuda":
        made, usable = _on_gpu(translator, *given, precision)
    else:
        made, usable = _translated(translator, *given, device, precision)
    return made.numpy(), usable.numpy()


def _translated(
    translator: Translator, pictures: Tensor, asked: Tensor, device: str, precision: str
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
        faces = _faces(pictures)
        shown = asked.dtype == torch.uint8
        made = translator.recombine(faces, _faces(asked)) if shown else translator.translate(faces, asked)
        if made.shape != faces.shape:
            raise EmoaugError(
                f"{translator.name} gave faces of shape {tuple(made.shape)} for {tuple(faces.shape)}; "
                f"its {'recombine' if shown else 'translate'}() must keep the shape"
            )
        made = made.float()
        # What is not a number counts as lowest and as highest; asking every pixel takes ten times as long.
        usable = (made.flatten(1).amax(1) - made.flatten(1).amin(1)).isfinite()
        pixels = made.nan_to_num(0).mul_(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous(), usable


def _faces(pictures: Tensor) -> Tensor:
    """Pictures, uint8 (N, H, W, 3), as a system takes them, float32 (N, 3, H, W) in [-1, 1]."""
    return pictures.permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)


def _on_gpu(translator: Translator, pictures: Tensor, asked: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """Translate on CUDA: copies go beside the network, so that it waits for none of them.

    The network's own work is in one queue, whichever thread it comes from; while it computes one chunk, the next ones
    are uploaded and queued, and other threads read and write pictures.
    """
    copies, done = torch.cuda.Stream(), torch.cuda.Event(blocking=True)
    with torch.cuda.stream(copies):
        # From pinned memory, which the GPU reads by itself.
        there = [tensor.pin_memory().to("cuda", non_blocking=True) for tensor in (pictures, asked)]
    copies.synchronize()
    with _ONE_CHUNK:
        made = _translated(translator, there[0], there[1], "cuda", precision)
        done.record()
    # Until here no memory is given back, so that neither queue gets what the other one still uses.
    done.synchronize()
    with torch.cuda.stream(copies):
        back = [torch.empty_like(tensor, device="cpu", pin_memory=True) for tensor in made]
        for here, tensor in zip(back, made, strict=True):
            here.copy_(tensor, non_blocking=True)
    copies.synchronize()
    return back[0], back[1]


@contextmanager
def reproducible(translator: Translator, device: str) -> Iterator[None]:
    """Within, a translator is on a device and computes the same bits in every run; torch is left as it was found.

    On a CPU every thread must have called `torch.set_num_threads(1)`: how sums are split over cores would change their
    last bits.
    """
    threads, training = torch.get_num_threads(), translator.training
    translator.to(device).eval()
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)
        translator.train(training)
