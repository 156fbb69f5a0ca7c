"""Where work is done: on this machine, or on the machines of a Ray cluster.

A task whose worker or machine is lost is done again by another. Everything that all tasks need, such as a system's
weights, goes into the cluster's object store once.
"""

from __future__ import annotations

import os
import platform
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import torch

from augment.devices import Device
from augment.runs import FolderInUse
from augment.workers import Engine, Result, Task, as_they_finish, cores
from emoaug import EmoaugError, __version__

RETRIES = 5
"""How often a task is begun anew whose worker was lost; one that fills the memory of every machine must end."""

PATIENCE = 60.0
"""Seconds that a task waits for a folder in use: a worker that is cut off may not have noticed yet."""


@dataclass(frozen=True)
class EngineSettings:
    """Where the work is done."""

    engine: Literal["local", "ray"] = "local"
    """This machine, or a Ray cluster (pip install "ray>=2.40"), whose machines see the data under the same path. The
    files are the same."""
    address: str | None = None
    """With --engine ray: HOST:PORT of a cluster that this machine belongs to, or auto; without it, RAY_ADDRESS, or a
    cluster of this machine alone, which ends with the command."""

    def __post_init__(self) -> None:
        if self.address is not None and self.engine != "ray":
            raise EmoaugError(f"--address {self.address} is for --engine ray; the engine is {self.engine}")


@contextmanager
def open_engine(settings: EngineSettings, device: Device = "auto") -> Iterator[Engine | None]:
    """Connect to where the work is to be done; the connection ends with the context.

    Args:
        settings: where.
        device: what the tasks compute on; unless it is the CPU, each takes a GPU of a cluster that has any.

    Yields:
        An engine for other machines; None for this one.

    Raises:
        EmoaugError: Ray is not installed, there is no cluster, or it has no GPU though one is asked for.
    """
    if settings.engine == "local":
        yield None
        return
    address = settings.address or os.environ.get("RAY_ADDRESS") or "local"
    with private_ray() if address == "local" else nullcontext():
        try:
            import ray
        except ImportError:
            raise EmoaugError('--engine ray needs Ray, which is not here: pip install "ray>=2.40"') from None
        connected = ray.is_initialized()
        if not connected:
            _connect(address)
    try:
        gpus = int(device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1)
        if device == "cuda" and not gpus:
            raise EmoaugError(f"--device cuda: the Ray cluster at {address} has no GPU; use --device cpu or auto")
        yield RayEngine(gpus)
    finally:
        if not connected:
            ray.shutdown()


@contextmanager
def private_ray() -> Iterator[None]:
    """Within, Ray is imported and begun so that it listens to this machine only, and reports nothing to anybody."""
    nobody = "http://127.0.0.1:9"
    values = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # What keeps a cluster to the loopback address, on every system, whatever the name says.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # Without reports, too, Ray asks the address where clouds tell a machine what it is.
        **dict.fromkeys(("http_proxy", "https_proxy"), nobody),
        "no_proxy": "",
        # A task that takes no GPU chooses its device as it would without Ray.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # Ray lets its workers wait for every other process, which starves them on a busy machine.
        "RAY_worker_niceness": "0",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _connect(address: str) -> None:
    """Connect this process to a cluster, or begin one of this machine alone."""
    import ray

    alone = {"num_cpus": cores(), "include_dashboard": False} if address == "local" else {}
    try:
        if address not in ("local", "auto"):
            # Ray itself would ask for minutes.
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(address, log_to_driver=False, logging_level="error", **alone)
    except Exception as error:  # Ray raises its very base class when a machine does not begin in time
        reason = str(error).strip().partition("\n")[0]
        raise EmoaugError(
            f"no Ray cluster at {address} ({reason}); give HOST:PORT of one that this machine belongs to, begin one "
            "with `ray start --head`, or leave --address out"
        ) from error


class RayEngine:
    """Does tasks on a Ray cluster, to which this process is connected; see `augment.workers.Engine`.

    With 0 workers, everything that the cluster has is used. Paths mean what they mean here: every machine must see the
    same folders.

    Args:
        gpus: GPUs that a task takes, besides one core.

    Raises:
        EmoaugError: a machine has another version of emoaug or torch, or tasks were lost again and again.
    """

    def __init__(self, gpus: int) -> None:
        import ray

        self._each = {"GPU": gpus} if gpus else {"CPU": 1}
        self._remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_do)

    def __call__(
        self,
        tasks: Sequence[Task],
        workers: int,
        start: Callable[[], Callable[[Task], Result]],
        done: Callable[[Task, Result], None],
    ) -> None:
        """Do the tasks; those that are begun when anything is raised are ended at once."""
        import ray

        if not tasks:
            return
        # In a list, because Ray unpacks an argument itself for every task anew.
        home, store = _Home(uuid.uuid4().hex, str(Path.cwd()), _versions()), [ray.put(start)]
        running: dict[Future[Result], Any] = {}

        def submit(task: Task) -> Future[Result]:
            reference = self._remote.remote(home, store, task)
            future: Future[Result] = reference.future()
            running[future] = reference
            future.add_done_callback(running.pop)
            return future

        try:
            for finished in as_they_finish(tasks, submit, workers or 4 * self._slots()):
                for task, result in finished:
                    done(task, result)
        except BaseException as error:
            for reference in list(running.values()):
                ray.cancel(reference, force=True)
            raise _explained(error) from error

    def _slots(self) -> int:
        """Tasks that the cluster can do at a time now; it may grow."""
        import ray

        has = ray.cluster_resources()
        return max(1, *(int(has.get(name, 0) / count) for name, count in self._each.items()))


@dataclass(frozen=True)
class _Home:
    """What a worker must share with the process whose work it does."""

    run: str
    """A name of its own for every call of an engine."""
    folder: str
    """Where relative paths begin."""
    versions: dict[str, str]


_WORK: dict[str, Callable[[Any], Any]] = {}
"""What does a task, by the run that it belongs to; the latest run only."""


def _do(home: _Home, store: list[Any], task: Any) -> Any:
    """What a worker of the cluster does with a task."""
    if home.run not in _WORK:
        import ray

        here = _versions()
        if here != home.versions:
            raise EmoaugError(
                f"{socket.gethostname()} has {_words(here)}, where the command was given there is "
                f"{_words(home.versions)}; install the same on all machines of the cluster"
            )
        # Before what does the work is imported, with the progress bars that nobody sees.
        os.environ["TQDM_DISABLE"] = "1"
        with suppress(OSError):
            os.chdir(home.folder)
        cv2.setNumThreads(1)
        _WORK.clear()
        _WORK[home.run] = ray.get(store[0])()
    return patiently(_WORK[home.run], task)


def patiently(work: Callable[[Task], Result], task: Task) -> Result:
    """Do a task, and wait a while where it finds its folder in use: perhaps by the lost worker that had it before."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return work(task)
        except FolderInUse:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def _explained(error: BaseException) -> BaseException:
    """A worker's own error as it was raised there; Ray's as EmoaugError."""
    from ray.exceptions import RayError, RayTaskError

    if isinstance(error, RayTaskError):
        if isinstance(error.cause, EmoaugError | OSError):
            return error.cause
        if "failed to import on the worker" in str(error):
            return EmoaugError(
                f"a machine of the Ray cluster has no emoaug; install emoaug {__version__} on all of them"
            )
        return error
    if isinstance(error, RayError):
        first = str(error).strip().partition(". ")[0]
        return EmoaugError(
            f"workers of the Ray cluster were lost {RETRIES + 1} times with the same task, perhaps for want of memory "
            f"({type(error).__name__}: {first}); what is done is kept, and the same command goes on"
        )
    return error


def _versions() -> dict[str, str]:
    """What must be the same everywhere, so that the same files are made."""
    return {"emoaug": __version__, "torch": torch.__version__.partition("+")[0], "python": platform.python_version()}


def _words(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
