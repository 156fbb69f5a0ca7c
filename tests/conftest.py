"""How the tests run: one computing thread a process, long tests first."""

import os

import pytest
from hypothesis import settings

# Time is not what tests are about, and a first import takes some of it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Two processes with two threads each on two cores wait for one another.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is slow: a long test that comes last keeps one process, while the others have nothing to do."""
    items.sort(key=minutes, reverse=True)


def minutes(item: pytest.Item) -> float:
    """About how long a test takes: what its mark says, `slow(minutes=4)`, or a little, or nothing to speak of."""
    slow = item.get_closest_marker("slow")
    return 0 if slow is None else slow.kwargs.get("minutes", 0.2)
