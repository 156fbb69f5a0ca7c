"""A graphics card that is not there: tensors that say they are on it and compute on the CPU.

What only a real card would show is noticed without one: tensors of both devices in one operation, generators of the
other device, and every moment in which the host waits for the card, such as a number that is asked for, a mask whose
true entries are counted, or a copy out of memory that is not pinned. Values are real, so that what depends on them runs
too, and so do gradients and their gradients.

What it cannot notice: kernels that a card has not got or that compute otherwise, streams, graphs, memory, and what
torch itself asks of a driver.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from augment import landmarks

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")
_HERE = Path(__file__).name
_ROOT = Path(__file__).parents[1]
aten, prim = torch.ops.aten, torch.ops.prim

_WAITS = {
    aten._local_scalar_dense.default,
    aten.is_nonzero.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_consecutive.default,
    aten.unique_dim.default,
    aten.bincount.default,
    aten.equal.default,
    aten.repeat_interleave.Tensor,
    aten._linalg_check_errors.default,
    # These look at the errors of their solver.
    aten._linalg_svd.default,
    aten._linalg_eigh.default,
    aten.linalg_eig.default,
    aten.linalg_lstsq.default,
    aten.linalg_pinv.atol_rtol_tensor,
}
"""Operations that end when the card has done what it was asked for."""

_MIXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
"""Operations that fetch whole numbers from the other device."""


class DeviceMismatch(AssertionError):
    """Tensors, or a tensor and a generator, of two devices."""


class Far(Tensor):
    """A tensor on the pretended card; `near` has its values. For torch's own code it is on the device "meta"."""

    near: Tensor
    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        # A view of a tensor that gradients know is known to them in inference mode too.
        with torch.inference_mode(near.is_inference()):
            shape = torch.empty_strided(near.shape, near.stride(), dtype=near.dtype, device="meta")
            if PretendedCuda.casts:
                far = Tensor._make_subclass(cls, shape, False, dispatch_device=True, device_for_backend_keys=CUDA)
            else:
                far = Tensor._make_subclass(cls, shape, False)
        far.near = near
        return far

    def new_tensor(self, data: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=CUDA)

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_with_tensors(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_with_tensors(index), value)

    # torch's modules exchange the parameters of such a class instead of changing what these hold.
    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["near"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], meta: None, size: Any, stride: Any) -> Far:
        return Far(inner["near"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is prim.device.default:
            return CUDA
        raise AssertionError(f"{func} on the pretended card outside of pretended_cuda()")


def _with_tensors(index: Any) -> Any:
    """Lists in an index as the tensors that torch would copy to the card."""
    if isinstance(index, tuple):
        return tuple(map(_with_tensors, index))
    return torch.tensor(index, device=CUDA) if isinstance(index, list) else index


_Plain = torch.Generator
_far_generators: list[FarGenerator] = []
"""Kept, because torch hands on another object for the same generator: they are known by where they lie in memory."""


class Generator(_Plain):
    """In the place of `torch.Generator`: one that says it is on the pretended card, or a plain one."""

    def __new__(cls, device: torch.device | str = CPU) -> Any:
        if torch.device(device).type != "cuda":
            return _Plain.__new__(_Plain)
        _far_generators.append(_Plain.__new__(FarGenerator))
        return _far_generators[-1]


class FarGenerator(_Plain):
    """A generator that says it is on the pretended card."""

    device = property(lambda self: CUDA)


def _is_far(generator: _Plain) -> bool:
    return any(generator._cdata == known._cdata for known in _far_generators)


class PretendedCuda(TorchDispatchMode):
    """Within, the device cuda:0 is the pretended card."""

    casts = False
    """Whether autocast reaches the tensors made now, which torch's automatic gradients then do not."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        """Where the host waited for the card: the operation, and the line of this project that asked for it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here, and only the import of the compiler would take long.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is prim.device.default:
            return CUDA
        kwargs = dict(kwargs or {})
        # In inference mode, what is made of other operations comes here as a whole.
        with self:
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor | _Plain)]
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        far = any(isinstance(tensor, Far) for tensor in tensors)
        self._check(func, tensors, far)
        result_far = far
        if kwargs.get("device") is not None:
            # The card is "meta" where torch asks a tensor for its device itself.
            result_far = torch.device(kwargs["device"]).type != "cpu"
            kwargs["device"] = CPU
        for leaf in leaves:
            if isinstance(leaf, _Plain) and _is_far(leaf) != result_far:
                raise DeviceMismatch(f"{func} with a generator of the other device")
        if self._waits(func, args, kwargs, far, result_far):
            self.waits.append(f"{func} at {_place()}")
        pinned = kwargs.pop("pin_memory", False) or func is aten._pin_memory.default
        near_args, near_kwargs = tree_map_only(Far, lambda tensor: tensor.near, (args, kwargs))
        result = near_args[0].clone() if func is aten._pin_memory.default else func(*near_args, **near_kwargs)
        if not result_far:
            if pinned:
                result.pinned = True
            return result
        known = {id(tensor.near): tensor for tensor in tensors if isinstance(tensor, Far)}
        # What is changed in place is given back as itself.
        return tree_map_only(Tensor, lambda tensor: known[id(tensor)] if id(tensor) in known else Far(tensor), result)

    def _check(self, func: Any, tensors: list[Tensor], far: bool) -> None:
        if not far or func in _MIXING or func is aten.copy_.default:
            return
        pointwise = torch.Tag.pointwise in func.tags
        for tensor in tensors:
            if not isinstance(tensor, Far) and not (pointwise and tensor.ndim == 0):
                raise DeviceMismatch(f"{func} of tensors on cuda:0 and on the CPU")

    def _waits(self, func: Any, args: Any, kwargs: Any, far: bool, result_far: bool) -> bool:
        if func is aten._to_copy.default and far != result_far:
            return not (kwargs.get("non_blocking") and getattr(args[0], "pinned", False))
        if func is aten.copy_.default:
            here = [tensor for tensor in args[:2] if not isinstance(tensor, Far)]
            crosses = len(here) == 1 and here[0].ndim > 0
            return crosses and not (args[2:] == (True,) and getattr(here[0], "pinned", False))
        if not far:
            return False
        if func in _MIXING:
            given = [index for index in args[1] if index is not None]
            masks = [index for index in given if index.dtype in (torch.bool, torch.uint8)]
            # One mask with one value is filled, without a look at how much of it is true.
            filled = func is not aten.index.Tensor and len(given) == 1 and args[2].numel() == 1
            return any(not isinstance(index, Far) for index in given) or (bool(masks) and not filled)
        return func in _WAITS or (bool(kwargs.get("check_errors")))


def _place() -> str:
    """The line of this project that asked, without what the tests add."""
    stack = traceback.extract_stack()
    # A virtual environment may lie in the project's folder.
    own = [f for f in stack if str(_ROOT) in f.filename and "site-packages" not in f.filename]
    own = [f for f in own if Path(f.filename).name != _HERE]
    return f"{Path(own[-1].filename).relative_to(_ROOT)}:{own[-1].lineno} {own[-1].line}" if own else "?"


class _Queue:
    """A stream or an event of the pretended card, which is never behind."""

    def __init__(self, **_: object) -> None:
        pass

    def synchronize(self) -> None:
        """Wait for nothing."""

    def record(self) -> None:
        """Note nothing."""


@contextmanager
def pretended_cuda(casts: bool = False) -> Iterator[PretendedCuda]:
    """Within, tensors can be on cuda:0; what is made there is of no use afterwards.

    Args:
        casts: autocast does what it does on CUDA; then there are no gradients, and parameters must not ask for any.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        for name in ("Stream", "Event"):
            patch.setattr(torch.cuda, name, _Queue)
        patch.setattr(torch.cuda, "stream", nullcontext)
        patch.setattr(torch, "Generator", Generator)
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        patch.setattr(PretendedCuda, "casts", casts)
        # As torch's own fake tensors do: who asks for the current device is told 0.
        torch._C._ensureCUDADeviceGuardSet()
        lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        try:
            # Kernels of cuDNN are none that a CPU could stand in for.
            with torch.backends.cudnn.flags(enabled=False), torch.set_grad_enabled(not casts), PretendedCuda() as mode:
                yield mode
        finally:
            torch._C._set_only_lift_cpu_tensors(lifted)
            _far_generators.clear()
            # Kept for as long as the process runs, and no use to what comes later.
            landmarks._index.cache_clear()
