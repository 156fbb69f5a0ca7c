"""Put chunks of faces through a network from several threads, so that each chunk's result is the same to the bit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from augment.devices import compile_options, memory_format, upload
from augment.systems.base import Translator
from emoaug import EmoaugError

CHUNK = {"cpu": 16, "cuda": 128}
"""Faces of up to 128 pixels that go through the network together, by kind of device; of larger ones there are fewer.

Of one size always as many, and each at the place that its row number gives it: the kernels that libraries choose, and
with them the last bits of a result, depend on the batch size, and the files must not. A core is as quick with 16 as
with more; a GPU would spend its time on beginning kernels.
"""

_ONE_CHUNK = threading.Lock()
"""Held while a chunk's kernels are queued on a GPU, so that its memory holds what one chunk needs, not one a thread."""


class ChunkTranslator:
    """Puts chunks of pictures through a network; made by `reproducible`, called from several threads at once.

    Args:
        translator: the system, on its device.
        device: cpu or cuda.
        precision: 32-true or bf16-mixed.
        compiled: whether `torch.compile` makes code for it, with the first chunk.
    """

    def __init__(self, translator: Translator, device: str, precision: str, compiled: bool) -> None:
        self.name, self.device, self.precision = translator.name, device, precision
        self._layout = memory_format(translator, device)
        self._translate, self._recombine = translator.translate, translator.recombine
        if compiled:
            options = compile_options(device)
            self._translate = torch.compile(translator.translate, **options)
            self._recombine = torch.compile(translator.recombine, **options)
        # CUDA graphs belong to the thread that recorded them.
        self._alone = ThreadPoolExecutor(1) if compiled and device == "cuda" else None

    def __call__(self, pictures: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Translate one chunk of pictures, or recombine it with as many exemplars.

        Args:
            pictures: uint8 RGB, (chunk, size, size, 3).
            asked: conditions, (chunk, K) float32 in [0, 1]; or exemplars, uint8 RGB, (chunk, size, size, 3).

        Returns:
            Pictures, uint8 RGB (chunk, size, size, 3), and which of them are finite, (chunk,) bool.

        Raises:
            EmoaugError: the system gave another shape.
        """
        given = torch.from_numpy(pictures), torch.from_numpy(asked)
        made, usable = self._on_gpu(*given) if self.device == "cuda" else self._translated(*given)
        return made.numpy(), usable.numpy()

    def close(self) -> None:
        """End what it runs beside the threads that call it."""
        if self._alone is not None:
            self._alone.shutdown()

    def _translated(self, pictures: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        half = self.precision == "bf16-mixed"
        with torch.inference_mode(), torch.autocast(self.device, dtype=torch.bfloat16, enabled=half):
            faces, shown = self._faces(pictures), asked.dtype == torch.uint8
            made = self._recombine(faces, self._faces(asked)) if shown else self._translate(faces, asked)
            if made.shape != faces.shape:
                raise EmoaugError(
                    f"{self.name} gave faces of shape {tuple(made.shape)} for {tuple(faces.shape)}; "
                    f"its {'recombine' if shown else 'translate'}() must keep the shape"
                )
            # As pictures lie in memory, and as networks leave them: nothing is copied from here on.
            made = made.float().permute(0, 2, 3, 1).contiguous()
            # What is not a number counts as lowest and as highest; asking every pixel takes ten times as long.
            usable = (made.flatten(1).amax(1) - made.flatten(1).amin(1)).isfinite()
            return made.mul(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8), usable

    def _faces(self, pictures: Tensor) -> Tensor:
        """Pictures, uint8 (N, H, W, 3), as a system takes them, float32 (N, 3, H, W) in [-1, 1]."""
        return pictures.permute(0, 3, 1, 2).to(torch.float32, memory_format=self._layout).div_(127.5).sub_(1)

    def _on_gpu(self, pictures: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Translate on CUDA: copies go beside the network, so that it waits for none of them.

        The network's own work is in one queue, whichever thread it comes from; while it computes one chunk, the next
        ones are uploaded and queued, and other threads read and write pictures.
        """
        copies, done = torch.cuda.Stream(), torch.cuda.Event(blocking=True)
        with torch.cuda.stream(copies):
            there = [upload(tensor, "cuda") for tensor in (pictures, asked)]
        copies.synchronize()
        with _ONE_CHUNK:
            if self._alone is None:
                made = self._translated(*there)
            else:
                made = self._alone.submit(self._translated, *there).result()
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
def reproducible(
    translator: Translator, device: str, precision: str = "32-true", compiled: bool = False
) -> Iterator[ChunkTranslator]:
    """Within, a translator is on a device and computes the same bits in every run; torch is left as it was found.

    On a CPU every thread must have called `torch.set_num_threads(1)`: how sums are split over cores would change their
    last bits.
    """
    chunks = ChunkTranslator(translator, device, precision, compiled)
    threads, training = torch.get_num_threads(), translator.training
    translator.to(device).eval()
    translator.to(memory_format=memory_format(translator, device))
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield chunks
    finally:
        chunks.close()
        torch.set_num_threads(threads)
        translator.to(memory_format=torch.contiguous_format).train(training)
