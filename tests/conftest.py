"""How the tests run: one computing thread a process, long tests first."""

import os

import pytest

# Two processes with two threads each on two cores wait for one another.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is slow: a long test that comes last keeps one process, while the others have nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
