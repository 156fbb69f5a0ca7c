"""Processes that train together, one a device, each with its share of every batch.

They compute what one process computes for the whole batch, but for the rounding of sums: random numbers are drawn as
for the whole batch and each process (a rank) keeps those of its own rows; what a loss counts or averages over the batch
in any other way than as a mean over samples goes through `mean_over_ranks`; batch norms see the whole batch; and
gradients are averaged.

Outside `sharing` there is one process, and every function here gives back what it is given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from emoaug import EmoaugError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Share:
    """Which part of every batch is this process's own."""

    rank: int
    """Number of this process, from 0."""
    ranks: int
    """Processes that train together."""
    rows: int
    """Samples of a batch that each process has."""


_share: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """Within, batches are shared with other processes, which must all be within too; None is one process alone."""
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)


def mine(whole: Tensor) -> Tensor:
    """This process's samples of one batch, or of several whose wholes were put behind one another: (k N, ...)."""
    share = _share.get()
    if share is None:
        return whole
    return whole.unflatten(0, (-1, share.ranks, share.rows))[:, share.rank].flatten(0, 1)


def drawn(draw: Callable[..., Tensor], shape: tuple[int, ...], **options: Any) -> Tensor:
    """Draw random numbers for samples, the same ones for a sample whoever has it.

    Args:
        draw: such as `torch.rand`; is called with the shape and the options.
        shape: of this process's draws; the first entry is its samples, once or several times over.
        options: such as `generator` and `device`.
    """
    share = _share.get()
    ranks = 1 if share is None else share.ranks
    return mine(draw((shape[0] * ranks, *shape[1:]), **options))


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of a tensor over the processes; gradients flow through it to all of them."""
    share = _share.get()
    return value if share is None else _Mean.apply(value, share.ranks)


def least_count() -> float:
    """What one sample of the whole batch counts in a count that went through `mean_over_ranks`."""
    share = _share.get()
    return 1.0 if share is None else 1.0 / share.ranks


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, ranks: int) -> Tensor:
        ctx.ranks = ranks
        total = value.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total / ranks

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # The loss of the whole is the mean of the processes' losses, so that its gradient is a mean too.
        return _Mean.apply(gradient, ctx.ranks), None


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batches of all processes; torch's own `SyncBatchNorm` is for graphics cards alone."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, ...)."""
        share = _share.get()
        if share is None or not self.training:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            x = input.float()
            dims = [0, *range(2, x.ndim)]
            shape = (1, -1, *[1] * (x.ndim - 2))
            mean = mean_over_ranks(x.mean(dims))
            apart = x - mean.view(shape)
            variance = mean_over_ranks(apart.square().mean(dims))
            self._follow(mean.detach(), variance.detach(), share.ranks * x.numel() // x.shape[1])
            result = apart * (variance + self.eps).rsqrt().view(shape)
            if self.affine:
                result = result * self.weight.view(shape) + self.bias.view(shape)
        return result.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * count / (count - 1), weight)


def share_batch_norms(module: nn.Module) -> None:
    """Put `SharedBatchNorm` in the place of every batch norm within a module, with the same parameters."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            shared = SharedBatchNorm(
                child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
            )
            shared._parameters, shared._buffers = child._parameters, child._buffers
            setattr(module, name, shared.train(child.training))
        else:
            share_batch_norms(child)


# What the processes do together outside of a loss


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace gradients by their means over the processes, in one message.

    torch's `DistributedDataParallel` is no help here: it watches one call of one module and takes no gradients of
    gradients, while a phase calls parts of several networks, trains some of them, and may hold a gradient's norm.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    whole = mean_over_ranks(torch.cat([g.reshape(-1) for g in gradients]))
    for gradient, mean in zip(gradients, whole.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view(gradient.shape))


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Give tensors the values that rank 0 has."""
    for tensor in tensors:
        sent = tensor.detach().contiguous()
        distributed.broadcast(sent, 0)
        tensor.copy_(sent)


def decided(fabric: Fabric, decide: Callable[[], bool]) -> bool:
    """What rank 0 decides, for all; where it fails, it alone says why, and the others end."""
    if fabric.world_size == 1:
        return decide()
    answer = torch.tensor(-1, device=fabric.device)
    try:
        if fabric.is_global_zero:
            answer.fill_(int(decide()))
    finally:
        distributed.broadcast(answer, 0)
    if int(answer) < 0:
        sys.exit(2)
    return bool(answer)


_joined = False
"""Whether this process has been one of several."""


@contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """Start the other processes, or join them; those but rank 0 end at the end of this block.

    So what follows it happens once. What goes wrong in all of them is said by rank 0.
    """
    global _joined
    if _joined:
        raise EmoaugError("a process trains on several devices once; begin a new one for the next training")
    fabric.launch()
    if fabric.world_size == 1:
        yield
        return
    _joined = True
    try:
        yield
    except KeyboardInterrupt:
        if fabric.is_global_zero:
            raise
        sys.exit(130)
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        if fabric.is_global_zero:
            raise EmoaugError(
                "another process of this training has ended; what it says tells why. The same command goes on from "
                "the last saved state"
            ) from error
        sys.exit(2)
    finally:
        # Left to the interpreter, its threads end in no order. Fabric takes care of NCCL's.
        if distributed.get_backend() == "gloo":
            distributed.destroy_process_group()
    if not fabric.is_global_zero:
        sys.exit(0)
